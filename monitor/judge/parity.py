"""Whether the reference is to be trusted: two independent families that agree against it put it in doubt; pure."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING, Any, TypeAlias

from monitor.domain import Outcome, Runtime

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from monitor.domain import CheckResult

    Heard: TypeAlias = tuple[float | None, ...]  # what is said of the tokens that the reference names, in order

TRACE = "trace"  # the fact with what the reference says
HEARD = "heard"  # the fact with what another says of the same tokens, where it differs
MATCHES = "matches.logprobs"
_MAX_VALUES = 20_000
_MOST_TOLD = 0.9  # of the tokens, for two answers to be compared at all


@dataclass(frozen=True, slots=True)
class ParityCause:
    """Why one architecture's numbers differ from the reference's; ``family`` is of runtimes that share their code."""

    family: str
    architecture: str
    found: str

    @property
    def runtimes(self) -> tuple[Runtime, ...]:
        return tuple(runtime for runtime in Runtime if runtime.record.family == self.family)


def trace_of(value: Any) -> dict[str, Any] | None:
    """Return a trace as a probe records it, None for anything else: it comes out of a container."""
    try:
        prompts = [_prompt(prompt) for prompt in value["prompts"]]
        numbers = [float(value["spread"]), float(value["trembling"])]
    except (TypeError, ValueError, KeyError, OverflowError):
        return None
    sane = all(math.isfinite(number) and number >= 0 for number in numbers)
    if not prompts or not sane or sum(map(_size, prompts)) > _MAX_VALUES:
        return None
    return {"prompts": prompts, "spread": numbers[0], "trembling": numbers[1]}


def _size(prompt: Any) -> int:
    return len(prompt["ids"]) + sum(len(names) for names, _ in prompt["top"])


def _prompt(prompt: Any) -> dict[str, Any]:
    ids = [int(token) for token in prompt["ids"]]
    top: list[tuple[list[int], list[float]]] = [
        ([int(name) for name in names], [float(one) for one in values]) for names, values in prompt["top"]
    ]
    start = int(prompt["from"])
    whole = start >= 0 and start + len(top) == len(ids) and all(len(names) == len(values) for names, values in top)
    if not whole or not all(math.isfinite(one) for _, values in top for one in values):
        raise ValueError("no whole trace")
    return {"ids": ids, "from": start, "top": top}


def heard_of(value: Any) -> Heard | None:
    """Return what a runtime said, in order, None where it is not as a probe records it."""
    try:
        told = tuple(None if one is None else float(one) for prompt in value for row in prompt for one in row)
    except (TypeError, ValueError, OverflowError):
        return None
    finite = all(one is None or math.isfinite(one) for one in told)
    return told if told and finite and len(told) <= _MAX_VALUES else None


def differs_from_reference(checks: Iterable[CheckResult]) -> bool:
    return any(check.name == MATCHES and check.outcome is Outcome.FAILED for check in checks)


def doubt(heard: Mapping[str, Heard], allowed: float) -> str:
    """Return which two families agree with each other against the reference, "" where no two do."""
    for one, other in combinations(sorted(heard), 2):
        if agree(heard[one], heard[other], allowed):
            return f"{one} and {other} agree with each other"
    return ""


def agree(one: Heard, other: Heard, allowed: float) -> bool:
    """Tell whether two answers are the same within ``allowed`` nats wherever both say something."""
    pairs = [(left, right) for left, right in zip(one, other, strict=False) if left is not None and right is not None]
    if len(one) != len(other) or len(pairs) < _MOST_TOLD * len(one):
        return False
    return all(abs(left - right) <= allowed for left, right in pairs)
