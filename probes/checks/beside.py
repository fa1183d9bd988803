"""What a model takes beside text: images change its answer, in their order, and text alone still works."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

from probes.catalogue import check
from probes.events import Answer, failed, passed, skipped
from probes.pictures import FIRST, SECOND

if TYPE_CHECKING:
    from probes.runtimes import Pictured
    from probes.subject import Subject

# what images do is compared with nothing at all, not with rounding: the same computation gives the same numbers
_NOTHING = 1e-6
_WORDS = ("The first:", " and more", " here")
_TAIL = " is the time"

_check = functools.partial(check, fault="image-error")


@_check("generates.images", after=("generates.forward",))
def images(subject: Subject) -> Answer:
    """Images change the answer, two of them in their order, and a prompt of text alone still works."""
    if without := _without(subject, "images"):
        return skipped(without)
    first, second = _asked(subject, 1, FIRST), _asked(subject, 1, SECOND)
    evidence: dict[str, Any] = {"tokens": len(first.ids), "between_images": _last(first, second)}
    if not (first.trace.finite and second.trace.finite):
        return failed("not-finite", "the logits after an image hold NaN or infinity", **evidence)
    if evidence["between_images"] <= _NOTHING:
        return failed("image-ignored", "two different images have the same answer", **evidence)
    return _two(subject, first, second, evidence) or _text_alone(subject, evidence)


def _two(subject: Subject, first: Pictured, second: Pictured, evidence: dict[str, Any]) -> Answer | None:
    """Return what is wrong with two images in one prompt, None where nothing is."""
    both, twice = _asked(subject, 2, FIRST, SECOND), _asked(subject, 2, FIRST, FIRST)
    evidence["second"] = _last(both, twice)
    if not both.trace.finite:
        return failed("not-finite", "the logits after two images hold NaN or infinity", **evidence)
    if evidence["second"] <= _NOTHING:
        return failed("image-ignored", "another second image gives the same answer", **evidence)
    length = len(first.ids)
    if both.ids[:length] != first.ids or len(second.ids) != length:
        evidence["order"] = "not compared: a prompt of two images does not begin as one with the first"
        return None
    # a token sees what is before it: up to the second image, the answer is that for the first one alone
    begun = both.trace[length - 1 : length]
    evidence["as_first"] = begun.distance(first.trace[length - 1 : length])
    evidence["as_second"] = begun.distance(second.trace[length - 1 : length])
    allowed = subject.tolerance(first.trace)
    if evidence["as_second"] <= allowed < evidence["as_first"]:
        return failed("images-swapped", "the first of two images is taken for the second", **evidence)
    return None


def _text_alone(subject: Subject, evidence: dict[str, Any]) -> Answer:
    """Compare text that goes the way of images with the model's own forward pass over the same tokens."""
    plain = subject.model.pictured((_WORDS[0] + _TAIL,), ())
    distance = evidence["text_alone"] = plain.trace.distance(subject.model.forward(plain.ids))
    if subject.beyond(distance, plain.ids, plain.trace, evidence):
        message = f"log-probabilities of text differ by {distance:.3g} where its prompt could have held an image"
        return failed("image-error", message, **evidence)
    return passed("images change the answer, in their order", **evidence)


@_check("generates.image_cache", needs="images", after=("generates.images",))
def image_cache(subject: Subject) -> Answer:
    """After images, generation with the cache equals one pass over all tokens."""
    words = _WORDS[:2]
    begun = subject.model.pictured(words, (FIRST,))
    whole = subject.model.pictured((words[0], words[1] + _TAIL), (FIRST,))
    start = len(begun.ids)
    forced = whole.ids[start:]
    if whole.ids[:start] != begun.ids or not forced:
        return skipped("the tokens of a longer prompt do not begin as those of a shorter one")
    made = subject.model.pictured(words, (FIRST,), forced=forced).trace
    distance = made.distance(whole.trace[start - 1 : start - 1 + len(forced)])
    evidence: dict[str, Any] = {"distance": distance, "steps": len(forced)}
    # what the last bit of the embeddings does is measured on text, and says the same of the layers behind
    if subject.beyond(distance, subject.row(len(whole.ids), seed=41), whole.trace, evidence):
        message = f"log-probabilities after an image differ by {distance:.3g} with the cache"
        return failed("cache-differs", message, **evidence)
    return passed("the same with and without the cache", **evidence)


@check("generates.sounds", after=("loads.model",))
def sounds(subject: Subject) -> Answer:
    """Sounds of a prompt are taken in."""
    return skipped(_sentence(subject, "sounds"))


def _asked(subject: Subject, count: int, *pictures: Any) -> Pictured:
    return subject.model.pictured(_WORDS[: count + 1], pictures)


def _last(first: Pictured, second: Pictured) -> float:
    return first.trace[len(first.ids) - 1 :].distance(second.trace[len(second.ids) - 1 :])


def _without(subject: Subject, part: str) -> str:
    """Return why this part is not asked, "" where it is."""
    takes = part in (subject.golden.get("not_measured") or {})
    if takes and part in subject.runtime.abilities and subject.processors():
        return ""
    return _sentence(subject, part)


def _sentence(subject: Subject, part: str) -> str:
    return (subject.golden.get("not_measured") or {}).get(part) or f"the model takes no {part}"
