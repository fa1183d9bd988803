"""Rung 8: a model trains, whole and through an adapter, and the adapter survives saving and merging."""

from __future__ import annotations

import functools
import math
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from probes.catalogue import check
from probes.events import Answer, failed, few, passed, skipped
from probes.runtimes import Trace
from probes.subject import AMPLIFIED, TOO_SENSITIVE, Subject, perturbation

if TYPE_CHECKING:
    from probes.runtimes.training import Coverage, Trainee, TrainingResult

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


@_check("trains.gradients")
def gradients(subject: Subject) -> Answer:
    """Every parameter that the loss depends on gets a finite gradient."""
    trainee = _trainee(subject)
    gradients = trainee.gradients()
    endless = gradients.endless()
    if endless or not math.isfinite(gradients.loss):
        message = f"the loss is {gradients.loss:.3g}, the gradient of {few(endless)} is not finite"
        return failed("gradient-not-finite", message, endless=endless[:_SHOWN])
    silent = gradients.silent()
    if len(silent) >= len(gradients):
        return failed("no-gradient", "no parameter gets a gradient", loss=gradients.loss)
    detached, asked = trainee.detached(silent)
    evidence = {
        "loss": gradients.loss,
        "parameters": len(gradients),
        "frozen": trainee.frozen()[:_SHOWN],
        "silent": [str(parameter) for parameter in silent][:_SHOWN],
        "silent_in_all": len(silent),
        "silent_asked": asked,
    }
    if detached:
        message = f"the loss depends on {few(detached)}, which gets no gradient"
        return failed("no-gradient", message, detached=detached[:_SHOWN], **evidence)
    # such as a tower for images, an expert that no token chose, a part that only chooses positions
    rest = f"; {len(silent)} on which this loss does not smoothly depend get none" if silent else ""
    return passed(f"{len(gradients)} parameters train{rest}", **evidence)


@_check("trains.checkpointing", after=("trains.gradients",))
def checkpointing(subject: Subject) -> Answer:
    """Gradient checkpointing gives the same loss and the same gradients."""
    trainee = _trainee(subject)
    plain = trainee.gradients()
    trainee.checkpoint()
    subject.runtime.seed(subject.seed)  # the same units dropped out
    repeated = trainee.gradients()
    evidence = {"loss": plain.loss, "loss_checkpointed": repeated.loss, "calls": [plain.calls, repeated.calls]}
    if repeated.calls <= plain.calls:
        message = "gradient checkpointing is switched on, and nothing is computed a second time: it saves no memory"
        return failed("checkpointing-ignored", message, **evidence)
    apart, where = plain.distance(repeated)
    if not abs(plain.loss - repeated.loss) <= _SAME_GRADIENT * abs(plain.loss):
        message = f"the loss is {repeated.loss:.6g} with gradient checkpointing, {plain.loss:.6g} without"
        return failed("checkpointing-differs", message, **evidence)
    if not apart <= _SAME_GRADIENT:
        message = f"the gradient of {where} differs by {apart:.3g} of its size with gradient checkpointing"
        return failed("checkpointing-differs", message, distance=apart, **evidence)
    return passed("the same gradients with and without checkpointing", distance=apart, **evidence)


@_check("trains.overfits")
def overfits(subject: Subject) -> Answer:
    """The loss of one batch falls well below that of random guessing."""
    wanted = _guessing(subject, _LEARNED)
    return _judged(_trainee(subject).train_steps(_STEPS, wanted, _PATIENCE_S), wanted, "does-not-learn")


@_check("trains.lora", fault="adapter-error")
def lora(subject: Subject) -> Answer:
    """A LoRA on all linear layers finds its layers, and the loss falls."""
    adapted = subject.runtime.adapted(subject.folder, subject.config, subject.config_json, _rows(subject))
    covered = adapted.coverage()
    evidence = {**covered._asdict(), "targets": covered.targets[:_SHOWN], "targets_in_all": len(covered.targets)}
    if not covered.targets:
        return failed("adapter-targets", "all-linear puts an adapter on no layer", **evidence)
    wanted = _guessing(subject, _ADAPTED)
    answer = _judged(adapted.train_steps(_STEPS, wanted, _PATIENCE_S), wanted, "adapter-does-not-learn")
    answer.evidence.update(evidence)
    if answer.outcome != "passed":
        return answer
    subject.adapted = adapted
    return answer._replace(message=f"{answer.message}; {_coverage_text(covered)}")


@_check("trains.reload", after=("trains.lora",), fault="adapter-error")
def reload(subject: Subject) -> Answer:
    """A trained adapter is the same once it is saved and loaded, merged, and merged and saved."""
    row = subject.row(subject.boundary() + _LENGTH, seed=43)
    adapted = subject.adapted.model()
    before = adapted.forward(row)
    moved = before.distance(subject.model.forward(row))
    if not moved >= _MOVED:
        return failed("adapter-lost", f"the trained adapter moves the answer by {moved:.3g} only", moved=moved)
    allowed = max(_SAME * max(1.0, before.spread), AMPLIFIED * perturbation(adapted, row, before))
    evidence = {"moved": moved, "allowed": allowed}
    for way, answer in _ways(subject, row):
        distance = evidence[way] = before.distance(answer)
        if distance <= allowed:
            continue
        if allowed > _LOST * moved and distance < moved:
            return skipped(TOO_SENSITIVE)
        if way != _MERGED and not _saves(subject, row):
            return skipped("the model without an adapter changes, too, once it is saved and loaded", **evidence)
        message = f"the answer differs by {distance:.3g} once the adapter is {way}"
        return failed("adapter-lost", f"{message}; the adapter had moved it by {moved:.3g}", **evidence)
    return passed("the same once saved and loaded, merged, and merged and saved", **evidence)


def _ways(subject: Subject, row: list[int]) -> Iterator[tuple[str, Trace]]:
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        subject.adapted.save(folder)
        reloaded = subject.runtime.reloaded_adapter(folder, subject.folder, subject.config, subject.config_json)
        yield "saved and loaded", reloaded.forward(row)
    merged = subject.adapted.merged()
    yield _MERGED, merged.forward(row)
    yield "merged and saved", subject.saved_and_loaded(merged, row)[0]


def _saves(subject: Subject, row: list[int]) -> bool:
    """Return whether the model survives saving without an adapter; where it does not, no adapter is lost by it."""
    before = subject.model.forward(row)
    return before.distance(subject.saved_and_loaded(subject.model, row)[0]) <= _SAME * max(1.0, before.spread)


def _rows(subject: Subject) -> list[list[int]]:
    return [subject.row(_LENGTH, seed=1000 + index) for index in range(_ROWS)]


def _trainee(subject: Subject) -> Trainee:
    # a second model: the one that other checks use must not learn
    return subject.runtime.trainee(subject.folder, subject.config, subject.config_json, _rows(subject))


def _guessing(subject: Subject, share: float) -> float:
    """Return a share of the loss that guessing costs."""
    vocabulary = subject.text_config.get("vocab_size") or subject.config_json.get("vocab_size") or 0
    return share * math.log(max(2, vocabulary))


def _judged(result: TrainingResult, wanted: float, fault: str) -> Answer:
    steps, first, last = len(result.losses), result.losses[0], result.losses[-1]
    evidence = {"first": first, "last": last, "steps": steps, "wanted": wanted, "seconds": result.seconds}
    message = f"the loss falls from {first:.3g} to {last:.3g} in {steps} steps"
    if not math.isfinite(last):
        return failed("gradient-not-finite", f"after {steps} steps the loss is {last}", **evidence)
    if last <= wanted and last < first:
        return passed(message, **evidence)
    if result.impatient:
        return failed("infra-time", f"{steps} steps took {result.seconds:.0f} s: too few to judge by", **evidence)
    return failed(fault, f"{message}, and {wanted:.3g} is expected", **evidence)


def _coverage_text(covered: Coverage) -> str:
    message = f"{len(covered.targets)} layers with {covered.share_covered:.0%} of the weights carry it"
    message += f" and it adds {covered.share_trained:.1%}"
    if covered.experts_covered is not None:
        message += f", and {covered.experts_covered:.0%} of the routed experts"
    return message + (f"; refused on purpose: {', '.join(covered.refused)}" if covered.refused else "")
