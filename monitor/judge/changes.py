"""Changed is not broken: what differs from the values pinned at a cell's first working day gets a note; pure."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeAlias

from monitor.words import CellVerdict

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import date

    from monitor.judge.days import Day

    Likeliest: TypeAlias = Mapping[int, float]  # the likeliest tokens of one position, with their log-probabilities
    Prompt: TypeAlias = tuple[tuple[int, ...], int]  # the ids that were asked, and the first position answered
    Logprobs: TypeAlias = Mapping[Prompt, tuple[Likeliest, ...]]

FACT = "logprobs"
# Five releases of transformers (4.56 to 5.24, one torch) differ by 3e-6, a processor with vector instructions from one
# without by 3e-5 at most over 101 miniatures; a window that a release began to apply is 1.6 apart.
TOLERANCE_NAT = 1e-3


@dataclass(frozen=True, slots=True)
class Pinned:
    """What a subject's files answered on the first day that worked; every later answer is held against it."""

    day: date
    version: str
    suite: str
    logprobs: Logprobs


def logprobs_of(value: Any) -> Logprobs | None:
    """Return the fact as a probe records it, None for anything else: it comes out of a container."""
    try:
        found = {
            (tuple(int(token) for token in prompt["ids"]), int(prompt["from"])): tuple(
                {int(token): float(one) for token, one in zip(*position, strict=True)} for position in prompt["top"]
            )
            for prompt in value["prompts"]
        }
    except (TypeError, ValueError, KeyError, OverflowError):
        return None
    finite = all(math.isfinite(one) for rows in found.values() for row in rows for one in row.values())
    return found if found and finite else None


def distance(one: Logprobs, other: Logprobs) -> float | None:
    """Return by how many nats the answers to equal prompts differ at least, None where no prompt is equal.

    A token that only one of them names is not likelier, in the other, than the least likely that is named there.
    """
    found = [
        _between(left, right)
        for prompt in one.keys() & other.keys()
        if len(one[prompt]) == len(other[prompt])
        for left, right in zip(one[prompt], other[prompt], strict=True)
        if left and right
    ]
    return max(found, default=None)


def noted(
    days: Sequence[Day], answers: Mapping[str, Logprobs], pinned: Mapping[str, Pinned] | None = None
) -> tuple[Day, ...]:
    """Return the days, in order, with a note on each that works and answers otherwise than the first that worked.

    ``answers`` is by run; ``pinned``, by the digest of the subject's files, is what earlier days have left. No verdict
    is touched.
    """
    pins = dict(pinned or {})
    done: dict[date, Day] = {}
    for day in days:
        if day.carried_from:
            source = done.get(day.carried_from)  # an earlier one has been noted before
            done[day.day] = replace(day, note=source.note) if source else day
            continue
        said = answers.get(day.run_id) if day.verdict.verdict is CellVerdict.WORKS else None
        pin = pins.get(day.fingerprint.subject)
        if said is not None and pin is None:
            pins[day.fingerprint.subject] = Pinned(day.day, day.version, day.fingerprint.suite, said)
        note = changed(pin, said, day.fingerprint.suite)
        done[day.day] = replace(day, note="; ".join(filter(None, (day.note, note))))
    return tuple(done.values())


def changed(pin: Pinned | None, said: Logprobs | None, suite: str) -> str:
    """Return the note on an answer that differs by more than float noise, "" on any other."""
    apart = distance(pin.logprobs, said) if pin and said else None
    if pin is None or apart is None or apart <= TOLERANCE_NAT:
        return ""
    probes = "" if pin.suite == suite else ", and the probes have changed since"
    return f"log-probabilities differ by {apart:.2g} from {pin.version} ({pin.day}){probes}: changed, not broken"


def _between(left: Likeliest, right: Likeliest) -> float:
    both = [abs(left[token] - right[token]) for token in left.keys() & right.keys()]
    floor_left, floor_right = min(left.values()), min(right.values())
    only = [left[token] - floor_right for token in left.keys() - right.keys()]
    only += [right[token] - floor_left for token in right.keys() - left.keys()]
    return max(0.0, *both, *only)
