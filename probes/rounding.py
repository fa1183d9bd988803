"""What rounding may do to an answer: what equal sums differ by, or what a model makes of the last bit of its input."""

from __future__ import annotations

from typing import TYPE_CHECKING

from probes.runtimes import UnavailableError

if TYPE_CHECKING:
    from probes.runtimes import Model, Trace
    from probes.subject import Subject

AMPLIFIED = 20  # rounding happens at every step of the way, trembling only at its start
_DRAWS = 3


def tolerance(subject: Subject, trace: Trace) -> float:
    """Return what equal sums may differ by: scaled by the spread of the logits, which scales it too."""
    return subject.runtime.rounding * max(1.0, trace.spread)


def allowed(subject: Subject, row: list[int], trace: Trace) -> float:
    """Return the tolerance, widened for a model that makes much of the last bit of what it is given."""
    try:
        perturbed = perturbation(subject.model, row, subject.model.forward(row))
    except UnavailableError:
        return tolerance(subject, trace)
    return max(tolerance(subject, trace), AMPLIFIED * perturbed)


def perturbation(model: Model, row: list[int], still: Trace) -> float:
    """Return how far the answer moves, at most, when the last bit of every embedding does."""
    return max(still.distance(model.perturb(row)) for _ in range(_DRAWS))
