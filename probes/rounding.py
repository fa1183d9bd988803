"""How far rounding may move an answer: by sums in another order, or by what a model makes of its input's last bit."""

from __future__ import annotations

from typing import TYPE_CHECKING

from probes.runtimes import UnavailableError

if TYPE_CHECKING:
    from probes.runtimes import Model, Trace
    from probes.subject import Subject

AMPLIFIED = 20  # rounding happens at every step of the way, the perturbation only at its start
_DRAWS = 3


def tolerance(subject: Subject, trace: Trace) -> float:
    """Return what equal sums may differ by: scaled by the spread of the logits, which scales it too."""
    return subject.runtime.rounding * max(1.0, trace.spread)


def allowed(subject: Subject, row: list[int], trace: Trace) -> float:
    """Return the tolerance, widened for a model that amplifies the last bit of its input."""
    try:
        moved = perturbation(subject.model, row, subject.model.forward(row))
    except UnavailableError:
        return tolerance(subject, trace)
    return max(tolerance(subject, trace), AMPLIFIED * moved)


def perturbation(model: Model, row: list[int], still: Trace) -> float:
    """Return how far the answer moves, at most, when the last bit of every embedding does."""
    return max(still.distance(model.perturb(row)) for _ in range(_DRAWS))
