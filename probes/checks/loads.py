"""Rung 2: what lies in the checkpoint's files is really in the model, all of it, and survives saving."""

from __future__ import annotations

import math
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from probes.catalogue import check
from probes.checkpoint import weights_problem
from probes.events import Answer, failed, passed, skipped
from probes.metadata import difference
from probes.runtimes import UnavailableError

if TYPE_CHECKING:
    from probes.subject import Subject

_SAME = 1e-5  # equal weights at other addresses: vector kernels round the last bit differently
_FLOAT32_BYTES = 4
_QUANTISED = {"q8_0": 1.0, "q4_k_m": 5.0}  # kind -> mean divergence, in nat, that no rounding explains
_ALL = 1 << 30  # of a vocabulary, whatever its size
_PART_TOLERANCE = 0.01  # releases move single scalars between parameters and buffers; a lost part is far more


@check(
    "loads.converts",
    "the checkpoint is converted to the runtime's own format",
    needs="conversion",
    after=("knows.architecture",),
    fault="not-converted",
)
def converts(subject: Subject) -> Answer:
    """Convert into the runtime's own format, with the converter of the same day."""
    problem = weights_problem(subject.folder)
    if problem is not None:
        return problem
    told = subject.runtime.convert(subject)
    return passed(f"converted by {told['class']}", **told)


@check(
    "loads.metadata",
    "the converted file says of the model what its config.json says",
    needs="conversion",
    after=("loads.converts",),
    fault="not-converted",
)
def metadata(subject: Subject) -> Answer:
    said = subject.runtime.metadata()
    found = difference(subject.text_config, said)
    if found.wrong:
        named = ", ".join(f"{key} is {pair[1]!r} instead of {pair[0]!r}" for key, pair in found.wrong.items())
        return failed("wrong-config", named, wrong=found.wrong, compared=found.compared)
    if not found.compared:
        return skipped("no key of the model's config.json has a counterpart in the converted file")
    return passed(f"{found.compared} values agree", compared=found.compared)


@check("loads.model", "the checkpoint loads", needs="checkpoint", after=("loads.converts",), fault="load-error")
def model(subject: Subject) -> Answer:
    problem = weights_problem(subject.folder)
    if problem is not None:
        return problem
    try:
        subject.model = subject.runtime.model(subject.folder, subject.config, subject.config_json, "eager")
    except UnavailableError as error:
        return failed("unknown-architecture", str(error))
    return passed(f"loaded as {_class_name(subject)}")


@check(
    "loads.tensors",
    "every tensor of the checkpoint is really loaded: none missing, unexpected or re-initialised",
    needs="tensors",
    after=("loads.model",),
    fault="load-error",
)
def tensors(subject: Subject) -> Answer:
    quantized = any(part.get("quantization_config") for part in (subject.config_json, subject.text_config))
    found = subject.model.loading(values=not quantized)
    evidence: dict[str, Any] = {"values": "not compared: the checkpoint is quantized"} if quantized else {}
    evidence = {
        **evidence,
        **found.counts,
        **{key: value for key, value in found._asdict().items() if key != "counts" and value},
    }
    if found.missing or found.mismatched:
        names = found.missing or found.mismatched
        told = f"{len(names)} not loaded from the files: {_few(names)}"
        if found.mismatched or found.unexpected or found.lost:
            return failed("missing-tensors", told, **evidence)
        told += "; everything that is in the files was loaded"
        # then one of the two is incomplete: the files, unless it is known what they must hold
        return failed("missing-tensors" if subject.golden.get("parts") else "bad-checkpoint", told, **evidence)
    if found.unexpected:
        told = f"{len(found.unexpected)} of the files not used: {_few(found.unexpected)}"
        return failed("unexpected-tensors", told, **evidence)
    if found.lost or found.invented:
        names = found.lost or found.invented
        told = f"reported as loaded, but other values than in the files: {_few(names)}"
        return failed("reinitialised-tensors", told, **evidence)
    if quantized:
        return passed("no tensor is missing or left over; the checkpoint is quantized, so no values", **evidence)
    return passed(f"{found.counts['in_files']} tensors are the files' own", **evidence)


@check(
    "loads.parts",
    "every part of the model has the parameters it should have",
    needs="tensors",
    after=("loads.model",),
    fault="load-error",
)
def parts(subject: Subject) -> Answer:
    counted = subject.model.parts()
    golden = subject.golden.get("parts")
    if not golden:
        return skipped("nothing is known of how many parameters each part has", parts=counted)
    short = {
        part: [wanted, counted.get(part, 0)]
        for part, wanted in golden.items()
        if abs(counted.get(part, 0) - wanted) > _PART_TOLERANCE * wanted
    }
    if short:
        told = ", ".join(f"{part}: {pair[1]} instead of {pair[0]} parameters" for part, pair in short.items())
        return failed("missing-part", told, parts=counted, golden=golden)
    return passed(", ".join(f"{part} {count}" for part, count in sorted(counted.items())), parts=counted)


@check(
    "loads.reload",
    "saving and loading again gives the same model",
    needs="tensors",
    after=("loads.model",),
    fault="reload-differs",
)
def reload(subject: Subject) -> Answer:
    row = subject.row(subject.boundary() + 12, seed=3)  # past the window, or a lost window would not show
    before = subject.model.forward(row)
    if not before.finite:
        return failed("not-finite", "the logits hold NaN or infinity, saved or not")
    needed, free = _FLOAT32_BYTES * sum(subject.model.parts().values()), shutil.disk_usage(tempfile.gettempdir()).free
    if needed > free / 2:
        return skipped(f"saving takes {needed >> 20} MiB, and half of what is free is {free >> 21} MiB")
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        subject.model.save(folder)
        config = subject.runtime.config(folder)
        again = subject.runtime.model(folder, config, subject.config_json, "eager").forward(row)
    distance = before.distance(again)
    if not distance <= _SAME:
        return failed("reload-differs", f"log-probabilities differ by {distance:.3g} after saving", distance=distance)
    was, now = (subject.runtime.effective(each, subject.config_json) for each in (subject.config, config))
    changed = sorted(key for key in was.values if was.values[key] != now.values.get(key) and not _is_bookkeeping(key))
    if changed:
        told = {key: [was.values[key], now.values.get(key)] for key in changed}
        return failed("reload-differs", f"the configuration differs after saving: {_few(changed)}", changed=told)
    return passed("the same after saving", distance=distance)


_REWRITTEN = frozenset({"dtype", "torch_dtype", "transformers_version", "architectures", "auto_map"})


def _is_bookkeeping(key: str) -> bool:
    """Tell whether the runtime keeps a key for itself: published files hold some by accident."""
    return key in _REWRITTEN or key.startswith("_")


def _class_name(subject: Subject) -> str:
    return type(getattr(subject.model, "module", subject.model)).__name__


def _few(names: list[str]) -> str:
    return ", ".join(names[:3]) + (", …" if len(names) > 3 else "")  # noqa: PLR2004 -- as many as are named


@check(
    "loads.quantises",
    "quantised weights load and compute nearly the same",
    needs="conversion",
    after=("generates.forward",),
    fault="load-error",
)
def quantises(subject: Subject) -> Answer:
    """Quantise, load and compare: how far the answers move is told, and counts only where it is absurd."""
    row = subject.row(12, seed=1)
    plain = subject.model.forward(row).top(_ALL)
    evidence: dict[str, Any] = {}
    for kind, ceiling in _QUANTISED.items():
        try:
            answer = subject.runtime.quantised(subject, kind).forward(row)
        except UnavailableError as error:
            evidence[kind] = str(error)
            continue
        if not answer.finite:
            return failed("not-finite", f"in {kind} the log-probabilities hold NaN or infinity", **evidence)
        told = answer.at([names for names, _ in plain])
        apart = [_divergence(values, others) for (_, values), others in zip(plain, told)]
        same = [names[0] == best[0][0] for (names, _), best in zip(plain, answer.top(1))]
        mean = sum(apart) / len(apart)
        evidence[kind] = {"mean_divergence": mean, "same_top": sum(same) / len(same)}
        if not mean <= ceiling:
            told_so = f"in {kind} the answers diverge by {mean:.3g} nat on average, {ceiling:.0f} would be absurd"
            return failed("quantised-differs", told_so, **evidence)
    measured = [kind for kind in _QUANTISED if isinstance(evidence[kind], dict)]
    if not measured:
        return skipped("; ".join(map(str, evidence.values())))
    text = ", ".join(f"{kind} diverges by {evidence[kind]['mean_divergence']:.2g} nat" for kind in measured)
    return passed(text, **evidence)


def _divergence(wanted: list[float], got: list[float | None]) -> float:
    """Return the Kullback-Leibler divergence of one position, over the tokens that both name."""
    return sum(
        math.exp(config_json) * (config_json - other) for config_json, other in zip(wanted, got) if other is not None
    )
