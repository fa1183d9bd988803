"""What a subject leaves out of the published model, so that its other answers are not taken for it."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from probes import forms
from probes.catalogue import check
from probes.events import Answer, failed, passed, skipped
from probes.faults import classify, without_paths
from probes.runtimes import Trace, UnavailableError
from probes.subject import Subject

_ALL = 1 << 30  # of a vocabulary, whatever its size
# of the divergence that the format's rounding makes: below the first it is read rightly, above the second it is not
_NEAR, _FAR = 0.1, 0.5
_NOT_THE_RUNTIMES = ("infra-", "unsupported-on-platform", "missing-dependency")


@check("loads.published", after=("loads.model",), fault="load-error", last=True)
def weights(subject: Subject) -> Answer:
    """The published weights are read in their own format.

    The miniature is written in that format, and once more in plain floats with exactly the values that the format
    holds. What the runtime makes of the first gives the answer of the second, but for the rounding of activations.
    """
    form = subject.golden.get("form")
    if not form or not subject.runtime.loads_forms:
        return _answer(subject, "weights", "the weights that are probed have the published format")
    name = forms.name_of(form)
    with tempfile.TemporaryDirectory() as scratch:
        try:
            made = forms.write(subject.folder, form, Path(scratch))
        except UnavailableError as error:
            return skipped(f"published weights are {name}: {error}: not measured")
        row = subject.row(subject.boundary() + 12, seed=11)
        plain = subject.runtime.form(made.plain, subject).forward(row)
        try:
            answer = subject.runtime.form(made.published, subject).forward(row)
        except Exception as error:
            if _cannot(error, subject):
                return skipped(f"published weights are {name}: {without_paths(str(error))}: not measured")
            raise
    rounding = divergence(plain, subject.model.forward(row))
    return _compared(name, answer, plain, rounding, exact=subject.tolerance(plain), encoded=len(made.encoded))


def _cannot(error: Exception, subject: Subject) -> bool:
    """Return whether a runtime says that it does not take the format here, or we are in its way."""
    if isinstance(error, (NotImplementedError, ImportError, UnavailableError)):
        return True
    fault = classify(error, "loads.published", subject.runtime_name, subject.runtime.phrases)
    return fault.startswith(_NOT_THE_RUNTIMES)


def _compared(name: str, answer: Trace, plain: Trace, rounding: float, *, exact: float, encoded: int) -> Answer:
    """Compare with the plain twin: equal but for sums, or nearer by far than the format's rounding is large."""
    distance, apart = answer.distance(plain), divergence(plain, answer)
    evidence: dict[str, Any] = {"distance": distance, "divergence": apart, "rounding": rounding, "encoded": encoded}
    if not answer.finite:
        return failed("not-finite", f"from {name} the log-probabilities hold NaN or infinity", **evidence)
    if distance <= exact:
        return passed(f"{encoded} tensors in {name} mean what they should: {distance:.2g} apart", **evidence)
    if apart <= _NEAR * rounding:
        return passed(f"{encoded} tensors in {name} mean what they should, but for rounded activations", **evidence)
    message = f"from {name} the answers diverge by {apart:.2g} nat from those of the same values in plain floats"
    if apart <= _FAR * rounding:
        return skipped(f"{message}; the rounding itself makes {rounding:.2g}, which is too near to tell", **evidence)
    return failed("published-differs", f"{message}; the rounding itself makes {rounding:.2g}", **evidence)


def divergence(wanted: Trace, got: Trace) -> float:
    """Return the mean Kullback-Leibler divergence over the positions, over the tokens that both name."""
    top = wanted.top(_ALL)
    others = got.at([names for names, _ in top])
    apart = 0.0
    for (_, values), there in zip(top, others):
        pairs = [(value, other) for value, other in zip(values, there) if other is not None]
        mine, theirs = (_normalised(column) for column in zip(*pairs))
        apart += sum(math.exp(value) * (value - other) for value, other in zip(mine, theirs))
    return apart / max(1, len(top))


def _normalised(values: Sequence[float]) -> list[float]:
    highest = max(values)
    total = highest + math.log(sum(math.exp(value - highest) for value in values))
    return [value - total for value in values]


@check("generates.ahead", after=("loads.model",))
def heads(subject: Subject) -> Answer:
    """Heads for several tokens ahead compute."""
    return _answer(subject, "heads", "the model's configuration names no such heads")


def _answer(subject: Subject, part: str, without: str) -> Answer:
    return skipped((subject.golden.get("not_measured") or {}).get(part) or without)
