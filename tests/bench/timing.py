"""Times, taken several times and told with their spread."""

from __future__ import annotations

import os
import statistics
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


@dataclass(frozen=True, slots=True)
class Times:
    seconds: tuple[float, ...]

    @property
    def median(self) -> float:
        return statistics.median(self.seconds)

    def __str__(self) -> str:
        if len(self.seconds) == 1:
            return f"{self.median:.2f} s (once)"
        low, high = min(self.seconds), max(self.seconds)
        return f"{self.median:.2f} s ({low:.2f} to {high:.2f}, {len(self.seconds)} times)"


def timed(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def side_by_side(repeats: int, *works: Callable[[], object]) -> tuple[Times, ...]:
    """Take turns, so that what else the machine does falls on all alike."""
    rounds = [[timed(work) for work in works] for _ in range(repeats)]
    return tuple(Times(tuple(column)) for column in zip(*rounds, strict=True))


def tell(name: str, value: str) -> None:
    print(f"  {name:<58} {value}", flush=True)  # noqa: T201 - the benchmark's answer


def tell_aim(name: str, reached: float, aim: str, *, met: bool) -> None:
    tell(name, f"{reached:.2f}   aim: {aim}: {'met' if met else 'MISSED'}")


def title(text: str) -> None:
    load = os.getloadavg()[0]
    print(f"\n{text}   [load {load:.1f} on {os.cpu_count()} processors]", flush=True)  # noqa: T201 - as above
