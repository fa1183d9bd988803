"""Rungs 1 and 2: the runtime reads the configuration as the model means it, and loads all of the checkpoint's files."""

from __future__ import annotations

import math
import shutil
import tempfile
from typing import Any

from probes.catalogue import check
from probes.checkpoint import makes_text, only_gguf, read_config, require_weights
from probes.configuration import Difference, difference, metadata_difference
from probes.events import Answer, failed, few, passed, skipped
from probes.faults import without_paths
from probes.runtimes import UnavailableError
from probes.subject import Subject

_SAME = 1e-5  # equal weights at other addresses: vector kernels round the last bit differently
_FLOAT32_BYTES = 4
_VECTORS = "the model makes vectors or scores and no text, and these are compared in transformers only: not measured"
_QUANTISED = {"q8_0": 1.0, "q4_k_m": 5.0}  # kind -> mean divergence, in nat, that no rounding explains
_ALL = 1 << 30  # of a vocabulary, whatever its size
# keys that the runtime keeps for itself, as all with an underscore in front; published files hold some by accident
_REWRITTEN = frozenset({"dtype", "torch_dtype", "transformers_version", "architectures", "auto_map"})
_PART_TOLERANCE = 0.01  # releases move single scalars between parameters and buffers; a lost part is far more


@check("knows.architecture", needs="checkpoint")
def architecture(subject: Subject) -> Answer:
    """The architecture is registered."""
    if brought := only_gguf(subject.folder):
        if "conversion" not in subject.runtime.abilities:
            return skipped("the model's files are only GGUF, which this runtime is not asked to load: not measured")
        subject.config = None
        return passed(f"{brought.name} says its architecture itself")
    subject.config_json = read_config(subject.folder)
    model_type = subject.config_json.get("model_type")
    if not isinstance(model_type, str) or not model_type:
        return failed("bad-checkpoint", "config.json has no model_type")
    registered = subject.runtime.registered()
    if not subject.runtime.knows(model_type):
        return _unknown(subject, model_type, registered)
    subject.config = subject.runtime.config(subject.folder)
    return passed(f"{model_type} is registered", model_type=model_type, registered=registered)


def _unknown(subject: Subject, model_type: str, registered: int) -> Answer:
    if subject.config_json.get("auto_map"):
        reason = f"{model_type} is not registered; the model's repository has code for it, which is not run"
        return failed("needs-remote-code", reason, model_type=model_type, registered=registered)
    try:
        subject.runtime.config(subject.folder)
    except Exception as error:  # noqa: BLE001 -- its message is what the user sees
        message = without_paths(str(error)).split("\n\n")[0]
    else:
        message = f"{model_type} is not registered, although the runtime reads its configuration"
    return failed("unknown-architecture", message, model_type=model_type, registered=registered)


@check("knows.config", needs="configuration", after=("knows.architecture", "loads.creates"))
def config(subject: Subject) -> Answer:
    """The effective configuration equals the model's own config.json."""
    outcome = difference(subject.config_json, subject.runtime.effective(subject.config, subject.config_json))
    return _compared(outcome, "the runtime shows no key of the model's config.json", unread=outcome.unread)


def _compared(outcome: Difference, without: str, **evidence: Any) -> Answer:
    if outcome.wrong:
        named = few([f"{key} is {pair[1]!r} instead of {pair[0]!r}" for key, pair in outcome.wrong.items()])
        return failed("wrong-config", named, wrong=outcome.wrong, compared=outcome.compared, **evidence)
    if not outcome.compared:
        return skipped(without, **evidence)
    return passed(f"{outcome.compared} values agree", compared=outcome.compared, **evidence)


@check("loads.converts", needs="conversion", after=("knows.architecture",), fault="not-converted")
def converts(subject: Subject) -> Answer:
    """The checkpoint is converted to the runtime's own format."""
    if _only_vectors(subject):
        return skipped(_VECTORS)
    if not only_gguf(subject.folder):
        require_weights(subject.folder, subject.withheld)
    message = subject.runtime.convert(subject)
    return passed(f"converted by {message['class']}", **message)


@check("loads.metadata", needs="conversion", after=("loads.converts",), fault="not-converted")
def metadata(subject: Subject) -> Answer:
    """The converted file's metadata equal the model's config.json."""
    outcome = metadata_difference(subject.text_config, subject.runtime.metadata())
    return _compared(outcome, "no key of the model's config.json has a counterpart in the converted file")


@check("loads.model", needs="checkpoint", after=("loads.converts",), fault="load-error")
def model(subject: Subject) -> Answer:
    """The checkpoint loads."""
    if _only_vectors(subject):
        return skipped(_VECTORS)
    if not only_gguf(subject.folder):
        require_weights(subject.folder, subject.withheld)
    try:
        subject.model = subject.runtime.model(subject.folder, subject.config, subject.config_json, "eager")
    except UnavailableError as error:
        return failed("unknown-architecture", str(error))
    return passed(f"loaded as {type(getattr(subject.model, 'module', subject.model)).__name__}")


def _only_vectors(subject: Subject) -> bool:
    """Return whether the model generates no text, and this runtime is not asked for vectors."""
    return not makes_text(subject.config_json) and "vectors" not in subject.runtime.abilities


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
        message = "no tensor is missing or left over; the values of a quantized checkpoint are not compared"
        return passed(message, **evidence)
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
    compared = {key: value for key, value in was.values.items() if key not in _REWRITTEN and key[:1] != "_"}
    changed = sorted(key for key, value in compared.items() if value != now.values.get(key))
    if changed:
        values = {key: [was.values[key], now.values.get(key)] for key in changed}
        return failed("reload-differs", f"the configuration differs after saving: {few(changed)}", changed=values)
    return passed("the same after saving", distance=distance)


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
    return sum(math.exp(value) * (value - other) for value, other in zip(wanted, got) if other is not None)
