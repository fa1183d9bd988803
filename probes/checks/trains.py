"""Rung 8: a model can be trained, whole and through an adapter, and what was learned survives saving and merging."""

from __future__ import annotations

import functools
import math
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from probes.catalogue import check
from probes.events import Answer, failed, passed, skipped
from probes.rounding import AMPLIFIED, perturbation

if TYPE_CHECKING:
    from collections.abc import Iterator

    from probes.runtimes import Trace, Trainee
    from probes.runtimes.training import Coverage, TrainingResult
    from probes.subject import Subject

_check = functools.partial(check, needs="training", after=("loads.tensors",), fault="training-error")
_ROWS, _LENGTH = 2, 32
_SAME_GRADIENT = 1e-4  # of a gradient's own size
_STEPS = 60  # at most: as soon as the loss is low enough it is over, mostly after three
_PATIENCE_S = 10.0
_LEARNED = 0.5  # of what guessing costs
_ADAPTED = 0.9  # of the same: an adapter alone moves a model with small logits slowly
_MOVED = 1e-2  # nat: an adapter that moves the answer by less proves nothing when it is saved and merged
_SAME = 1e-5  # per unit of the logits' spread
_LOST = 0.1  # of what the adapter moved: below that it may be rounding, in a model that makes much of it
_SHOWN = 12
_MERGED = "merged"


@_check("trains.gradients", "every parameter that the loss depends on gets a finite gradient")
def gradients(subject: Subject) -> Answer:
    trainee = _trainee(subject)
    found = trainee.gradients()
    endless = found.endless()
    if endless or not math.isfinite(found.loss):
        told = f"the loss is {found.loss:.3g}, the gradient of {_few(endless)} is not finite"
        return failed("gradient-not-finite", told, endless=endless[:_SHOWN])
    silent = found.silent()
    if len(silent) >= len(found):
        return failed("no-gradient", "no parameter gets a gradient", loss=found.loss)
    detached, asked = trainee.detached(silent)
    evidence = {
        "loss": found.loss,
        "parameters": len(found),
        "frozen": trainee.frozen()[:_SHOWN],
        "silent": [str(one) for one in silent][:_SHOWN],
        "silent_in_all": len(silent),
        "silent_asked": asked,
    }
    if detached:
        told = f"the loss depends on {_few(detached)}, which gets no gradient"
        return failed("no-gradient", told, detached=detached[:_SHOWN], **evidence)
    # a tower for images, an expert that no token chose, a part that only chooses positions
    rest = f"; {len(silent)} on which this loss does not smoothly depend get none" if silent else ""
    return passed(f"{len(found)} parameters train{rest}", **evidence)


@_check(
    "trains.checkpointing",
    "gradient checkpointing gives the same loss and the same gradients",
    after=("trains.gradients",),
)
def checkpointing(subject: Subject) -> Answer:
    trainee = _trainee(subject)
    plain = trainee.gradients()
    trainee.checkpoint()
    subject.runtime.seed(subject.seed)  # the same units dropped out
    again = trainee.gradients()
    evidence = {"loss": plain.loss, "loss_checkpointed": again.loss, "calls": [plain.calls, again.calls]}
    if again.calls <= plain.calls:
        told = "gradient checkpointing is switched on, and nothing is computed again: it saves no memory"
        return failed("checkpointing-ignored", told, **evidence)
    apart, where = plain.distance(again)
    if not abs(plain.loss - again.loss) <= _SAME_GRADIENT * abs(plain.loss):
        told = f"the loss is {again.loss:.6g} with gradient checkpointing, {plain.loss:.6g} without"
        return failed("checkpointing-differs", told, **evidence)
    if not apart <= _SAME_GRADIENT:
        told = f"the gradient of {where} differs by {apart:.3g} of its size with gradient checkpointing"
        return failed("checkpointing-differs", told, distance=apart, **evidence)
    return passed("the same gradients with and without checkpointing", distance=apart, **evidence)


@_check("trains.overfits", "the loss of one batch falls well below what guessing costs")
def overfits(subject: Subject) -> Answer:
    wanted = _guessing(subject, _LEARNED)
    return _judged(_trainee(subject).train_steps(_STEPS, wanted, _PATIENCE_S), wanted, "does-not-learn")


@_check("trains.lora", "a LoRA on all linear layers finds its layers, and the loss falls", fault="adapter-error")
def lora(subject: Subject) -> Answer:
    adapted = subject.runtime.adapted(subject.folder, subject.config, subject.config_json, _rows(subject))
    covered = adapted.coverage()
    evidence = {**covered._asdict(), "targets": covered.targets[:_SHOWN], "targets_in_all": len(covered.targets)}
    if not covered.targets:
        return failed("adapter-targets", "all-linear puts an adapter on no layer", **evidence)
    wanted = _guessing(subject, _ADAPTED)
    answer = _judged(adapted.train_steps(_STEPS, wanted, _PATIENCE_S), wanted, "adapter-does-not-learn")
    answer.evidence.update(evidence)
    if answer.outcome == "passed":
        subject.adapted = adapted
        answer.message += f"; {_told(covered)}"
    return answer


@_check(
    "trains.reload",
    "a trained adapter is the same once it is saved and loaded, merged, and merged and saved",
    after=("trains.lora",),
    fault="adapter-error",
)
def reload(subject: Subject) -> Answer:
    """Compare the trained adapter's answer with that of itself saved and loaded, merged, and merged and saved."""
    row = subject.row(subject.boundary() + _LENGTH, seed=43)
    adapted = subject.adapted.model()
    was = adapted.forward(row)
    moved = was.distance(subject.model.forward(row))
    if not moved >= _MOVED:
        return failed("adapter-lost", f"the trained adapter moves the answer by {moved:.3g} only", moved=moved)
    allowed = max(_SAME * max(1.0, was.spread), AMPLIFIED * perturbation(adapted, row, was))
    evidence = {"moved": moved, "allowed": allowed}
    for way, answer in _ways(subject, row):
        distance = evidence[way] = was.distance(answer)
        if distance <= allowed:
            continue
        if allowed > _LOST * moved and distance < moved:
            return skipped("too sensitive to compare: the last bit of the embeddings moves the answer too far")
        if way != _MERGED and not _saves(subject, row):
            return skipped("this model is not the same either once it is saved and loaded without one", **evidence)
        told = (
            f"the answer differs by {distance:.3g} once the adapter is {way}; the adapter had moved it by {moved:.3g}"
        )
        return failed("adapter-lost", told, **evidence)
    return passed("the same once saved and loaded, merged, and merged and saved", **evidence)


def _ways(subject: Subject, row: list[int]) -> Iterator[tuple[str, Trace]]:
    runtime, folder, config_json = subject.runtime, subject.folder, subject.config_json
    with tempfile.TemporaryDirectory() as scratch:
        kept, merged_folder = Path(scratch, "adapter"), Path(scratch, "merged")
        subject.adapted.save(kept)
        yield "saved and loaded", runtime.reloaded_adapter(kept, folder, subject.config, config_json).forward(row)
        merged = subject.adapted.merged()
        yield _MERGED, merged.forward(row)
        merged.save(merged_folder)
        again = runtime.model(merged_folder, runtime.config(merged_folder), config_json, "eager")
        yield "merged and saved", again.forward(row)


def _saves(subject: Subject, row: list[int]) -> bool:
    """Tell whether the model survives saving without an adapter; where it does not, no adapter is lost by it."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        subject.model.save(folder)
        again = subject.runtime.model(folder, subject.runtime.config(folder), subject.config_json, "eager").forward(row)
    was = subject.model.forward(row)
    return was.distance(again) <= _SAME * max(1.0, was.spread)


def _rows(subject: Subject) -> list[list[int]]:
    return [subject.row(_LENGTH, seed=1000 + place) for place in range(_ROWS)]


def _trainee(subject: Subject) -> Trainee:
    # a model of its own: the one that other checks ask is not to learn anything
    return subject.runtime.trainee(subject.folder, subject.config, subject.config_json, _rows(subject))


def _guessing(subject: Subject, share: float) -> float:
    """Return a share of the loss of one who knows nothing of the batch: that a loss falls to it is no news."""
    vocabulary = subject.text_config.get("vocab_size") or subject.config_json.get("vocab_size") or 0
    return share * math.log(max(2, vocabulary))


def _judged(train_steps: TrainingResult, wanted: float, fault: str) -> Answer:
    steps, first, last = len(train_steps.losses), train_steps.losses[0], train_steps.losses[-1]
    evidence = {"first": first, "last": last, "steps": steps, "wanted": wanted, "seconds": train_steps.seconds}
    told = f"the loss falls from {first:.3g} to {last:.3g} in {steps} steps"
    if not math.isfinite(last):
        return failed("gradient-not-finite", f"after {steps} steps the loss is {last}", **evidence)
    if last <= wanted and last < first:
        return passed(told, **evidence)
    if train_steps.impatient:
        return failed(
            "infra-time", f"{steps} steps took {train_steps.seconds:.0f} s here: too few to judge by", **evidence
        )
    return failed(fault, f"{told}, where {wanted:.3g} was to be reached", **evidence)


def _told(covered: Coverage) -> str:
    told = f"{len(covered.targets)} layers with {covered.share_covered:.0%} of the weights carry it"
    told += f" and it adds {covered.share_trained:.1%}"
    if covered.experts_covered is not None:
        told += f", and {covered.experts_covered:.0%} of the routed experts"
    return told + (f"; refused on purpose: {', '.join(covered.refused)}" if covered.refused else "")


def _few(names: list[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")  # noqa: PLR2004 -- as many as are shown
