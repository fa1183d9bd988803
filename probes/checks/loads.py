"""Rung 2: the model holds everything that is in the checkpoint's files, and survives saving."""

from __future__ import annotations

import math
import shutil
import tempfile
from typing import Any

from probes.catalogue import check
from probes.checkpoint import require_weights
from probes.configuration import metadata_difference
from probes.events import Answer, failed, few, passed, skipped
from probes.runtimes import UnavailableError
from probes.subject import Subject

_SAME = 1e-5  # equal weights at other addresses: vector kernels round the last bit differently
_FLOAT32_BYTES = 4
_QUANTISED = {"q8_0": 1.0, "q4_k_m": 5.0}  # kind -> mean divergence, in nat, that no rounding explains
_ALL = 1 << 30  # of a vocabulary, whatever its size
_PART_TOLERANCE = 0.01  # releases move single scalars between parameters and buffers; a lost part is far more


@check("loads.converts", needs="conversion", after=("knows.architecture",), fault="not-converted")
def converts(subject: Subject) -> Answer:
    """The checkpoint is converted to the runtime's own format."""
    require_weights(subject.folder)
    message = subject.runtime.convert(subject)
    return passed(f"converted by {message['class']}", **message)


@check("loads.metadata", needs="conversion", after=("loads.converts",), fault="not-converted")
def metadata(subject: Subject) -> Answer:
    """The converted file's metadata equal the model's config.json."""
    wrong, _, compared = metadata_difference(subject.text_config, subject.runtime.metadata())
    if wrong:
        named = ", ".join(f"{key} is {pair[1]!r} instead of {pair[0]!r}" for key, pair in wrong.items())
        return failed("wrong-config", named, wrong=wrong, compared=compared)
    if not compared:
        return skipped("no key of the model's config.json has a counterpart in the converted file")
    return passed(f"{compared} values agree", compared=compared)


@check("loads.model", needs="checkpoint", after=("loads.converts",), fault="load-error")
def model(subject: Subject) -> Answer:
    """The checkpoint loads."""
    require_weights(subject.folder)
    try:
        subject.model = subject.runtime.model(subject.folder, subject.config, subject.config_json, "eager")
    except UnavailableError as error:
        return failed("unknown-architecture", str(error))
    return passed(f"loaded as {_class_name(subject)}")


@check("loads.tensors", needs="tensors", after=("loads.model",), fault="load-error")
def tensors(subject: Subject) -> Answer:
    """Every tensor of the checkpoint is really loaded: none missing, unexpected or re-initialised."""
    quantized = any(part.get("quantization_config") for part in (subject.config_json, subject.text_config))
    loading = subject.model.loading(values=not quantized)
    evidence: dict[str, Any] = {"values": "not compared: the checkpoint is quantized"} if quantized else {}
    evidence.update(loading.counts)
    evidence.update((key, value) for key, value in loading._asdict().items() if key != "counts" and value)
    if loading.missing or loading.mismatched:
        names = loading.missing or loading.mismatched
        message = f"{len(names)} not loaded from the files: {few(names)}"
        if loading.mismatched or loading.unexpected or loading.lost:
            return failed("missing-tensors", message, **evidence)
        message += "; everything in the files was loaded"
        # then one of the two is incomplete: the files, unless it is known what they must hold
        return failed("missing-tensors" if subject.golden.get("parts") else "bad-checkpoint", message, **evidence)
    if loading.unexpected:
        message = f"{len(loading.unexpected)} of the files not used: {few(loading.unexpected)}"
        return failed("unexpected-tensors", message, **evidence)
    if loading.lost or loading.invented:
        names = loading.lost or loading.invented
        message = f"reported as loaded, with other values than in the files: {few(names)}"
        return failed("reinitialised-tensors", message, **evidence)
    if quantized:
        return passed(
            "no tensor is missing or left over; the values of a quantized checkpoint are not compared", **evidence
        )
    return passed(f"{loading.counts['in_files']} tensors equal the files", **evidence)


@check("loads.parts", needs="tensors", after=("loads.model",), fault="load-error")
def parts(subject: Subject) -> Answer:
    """Every part of the model has the parameters it should have."""
    counted = subject.model.parts()
    golden = subject.golden.get("parts")
    if not golden:
        return skipped("the number of parameters of each part is not known", parts=counted)
    short = {
        part: [wanted, counted.get(part, 0)]
        for part, wanted in golden.items()
        if abs(counted.get(part, 0) - wanted) > _PART_TOLERANCE * wanted
    }
    if short:
        message = ", ".join(f"{part}: {pair[1]} instead of {pair[0]} parameters" for part, pair in short.items())
        return failed("missing-part", message, parts=counted, golden=golden)
    return passed(", ".join(f"{part} {count}" for part, count in sorted(counted.items())), parts=counted)


@check("loads.reload", needs="tensors", after=("loads.model",), fault="reload-differs")
def reload(subject: Subject) -> Answer:
    """A model that is saved and loaded again is the same."""
    row = subject.row(subject.boundary() + 12, seed=3)  # past the window, or a lost window would not show
    before = subject.model.forward(row)
    if not before.finite:
        return failed("not-finite", "the logits hold NaN or infinity, saved or not")
    needed, free = _FLOAT32_BYTES * sum(subject.model.parts().values()), shutil.disk_usage(tempfile.gettempdir()).free
    if needed > free / 2:
        return skipped(f"saving takes {needed >> 20} MiB, and half of the free disk space is {free >> 21} MiB")
    reloaded, config = subject.saved_and_loaded(subject.model, row)
    distance = before.distance(reloaded)
    if not distance <= _SAME:
        return failed("reload-differs", f"log-probabilities differ by {distance:.3g} after saving", distance=distance)
    was, now = (subject.runtime.effective(each, subject.config_json) for each in (subject.config, config))
    changed = sorted(key for key in was.values if was.values[key] != now.values.get(key) and not _is_bookkeeping(key))
    if changed:
        values = {key: [was.values[key], now.values.get(key)] for key in changed}
        return failed("reload-differs", f"the configuration differs after saving: {few(changed)}", changed=values)
    return passed("the same after saving", distance=distance)


_REWRITTEN = frozenset({"dtype", "torch_dtype", "transformers_version", "architectures", "auto_map"})


def _is_bookkeeping(key: str) -> bool:
    """Return whether the key is the runtime's: published files hold some by accident."""
    return key in _REWRITTEN or key.startswith("_")


def _class_name(subject: Subject) -> str:
    return type(getattr(subject.model, "module", subject.model)).__name__


@check("loads.quantises", needs="conversion", after=("generates.forward",), fault="load-error")
def quantises(subject: Subject) -> Answer:
    """Quantised weights load and compute nearly the same.

    Report how far quantised weights move the answers; only an absurd distance fails.
    """
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
        values_here = answer.at([names for names, _ in plain])
        apart = [_divergence(values, others) for (_, values), others in zip(plain, values_here)]
        same = [names[0] == best[0][0] for (names, _), best in zip(plain, answer.top(1))]
        mean = sum(apart) / len(apart)
        evidence[kind] = {"mean_divergence": mean, "same_top": sum(same) / len(same)}
        if not mean <= ceiling:
            message = f"in {kind} the answers diverge by {mean:.3g} nat on average; above {ceiling:.0f} is absurd"
            return failed("quantised-differs", message, **evidence)
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
