"""What a subject leaves out of the published model, so that its other answers are not taken for it."""

from __future__ import annotations

from probes.catalogue import check
from probes.events import Answer, skipped
from probes.subject import Subject


@check("loads.published", after=("loads.model",))
def weights(subject: Subject) -> Answer:
    """The published weights are read in their own format."""
    return _answer(subject, "weights", "the weights that are probed have the published format")


@check("generates.ahead", after=("loads.model",))
def heads(subject: Subject) -> Answer:
    """Heads for several tokens ahead compute."""
    return _answer(subject, "heads", "the model's configuration names no such heads")


def _answer(subject: Subject, part: str, without: str) -> Answer:
    return skipped((subject.golden.get("not_measured") or {}).get(part) or without)
