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


@check("generates.images", after=("loads.model",))
def images(subject: Subject) -> Answer:
    """Images of a prompt are taken in."""
    return _answer(subject, "images", "the model takes no images")


@check("generates.sounds", after=("loads.model",))
def sounds(subject: Subject) -> Answer:
    """Sounds of a prompt are taken in."""
    return _answer(subject, "sounds", "the model takes no sounds")


def _answer(subject: Subject, part: str, without: str) -> Answer:
    return skipped((subject.golden.get("not_measured") or {}).get(part) or without)
