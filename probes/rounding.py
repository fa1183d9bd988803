"""How far rounding may move an answer: by sums in another order, or by what a model makes of its input's last bit."""

from __future__ import annotations

import contextlib
from typing import Any

from probes.runtimes import Model, Trace, UnavailableError
from probes.subject import Subject

AMPLIFIED = 20  # rounding happens at every step of the way, the perturbation only at its start
TOO_SENSITIVE = "too sensitive to compare: the last bit of the embeddings moves the answer too far"
_CEILING = 0.05  # nat: a larger allowance could hide a bug
_DRAWS = 3


def tolerance(subject: Subject, trace: Trace) -> float:
    """Return what equal sums may differ by: scaled by the spread of the logits, which scales it too."""
    return subject.runtime.rounding * max(1.0, trace.spread)


def beyond(subject: Subject, distance: float, row: list[int], trace: Trace, evidence: dict[str, Any]) -> bool:
    """Return whether rounding does not explain a distance, and write into the evidence what it may explain.

    A model may amplify the last bit of its input; raises UnavailableError where it does so too much to compare.
    """
    allowed = evidence["allowed"] = max(evidence.get("allowed", 0.0), tolerance(subject, trace))
    if distance <= tolerance(subject, trace):
        return False
    with contextlib.suppress(UnavailableError):
        moved = perturbation(subject.model, row, subject.model.forward(row))
        allowed = evidence["allowed"] = max(tolerance(subject, trace), AMPLIFIED * moved)
    if allowed > _CEILING:
        raise UnavailableError(TOO_SENSITIVE, evidence)
    return not distance <= allowed


def perturbation(model: Model, row: list[int], still: Trace) -> float:
    """Return how far the answer moves, at most, when the last bit of every embedding does."""
    return max(still.distance(model.perturb(row)) for _ in range(_DRAWS))
