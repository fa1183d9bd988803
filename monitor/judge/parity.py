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

    Compared: TypeAlias = tuple[float | None, ...]  # log-probabilities of the tokens that the reference names, in order

TRACE = "trace"  # the fact with the reference's answer
COMPARED = "heard"  # the fact with another runtime's answer on the same tokens, where it differs
MATCHES = "matches.logprobs"
RECORDS = "matches.trace"  # the check in which the reference records its answer
_MAX_VALUES = 20_000
_SHARE_COMPARED = 0.9  # of the tokens, for two answers to be compared at all


@dataclass(frozen=True, slots=True)
class ParityCause:
    """Why one architecture's numbers differ from the reference's; ``family`` is of runtimes that share their code."""

    family: str
    architecture: str
    explanation: str
    of_reference: bool = False  # the reference is at fault, and not this family

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
        ([int(name) for name in names], [float(value) for value in values]) for names, values in prompt["top"]
    ]
    start = int(prompt["from"])
    whole = start >= 0 and start + len(top) == len(ids) and all(len(names) == len(values) for names, values in top)
    if not whole or not all(math.isfinite(value) for _, values in top for value in values):
        raise ValueError("no whole trace")
    return {"ids": ids, "from": start, "top": top}


def compared_of(value: Any) -> Compared | None:
    """Return a runtime's answer, in order, None where it is not as a probe records it."""
    try:
        answer = tuple(None if nats is None else float(nats) for prompt in value for row in prompt for nats in row)
    except (TypeError, ValueError, OverflowError):
        return None
    finite = all(nats is None or math.isfinite(nats) for nats in answer)
    return answer if answer and finite and len(answer) <= _MAX_VALUES else None


def differs_from_reference(checks: Iterable[CheckResult]) -> bool:
    return any(check.name == MATCHES and check.outcome is Outcome.FAILED for check in checks)


def doubt(answers: Mapping[str, Compared], allowed: float) -> str:
    """Return which two families agree with each other against the reference, "" where no two do."""
    for left, right in combinations(sorted(answers), 2):
        if agree(answers[left], answers[right], allowed):
            return f"{left} and {right} agree with each other"
    return ""


def agree(left: Compared, right: Compared, allowed: float) -> bool:
    """Return whether two answers are the same within ``allowed`` nats wherever both have a value."""
    pairs = [(a, b) for a, b in zip(left, right, strict=False) if a is not None and b is not None]
    if len(left) != len(right) or len(pairs) < _SHARE_COMPARED * len(left):
        return False
    return all(abs(a - b) <= allowed for a, b in pairs)
