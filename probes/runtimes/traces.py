"""Log-probabilities by position, in torch tensors or as plain numbers, and generation along given tokens."""

from __future__ import annotations

import functools
import math
from statistics import fmean, pstdev
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from probes.runtimes import Trace


class TorchTrace:
    def __init__(self, logits: Any) -> None:
        import torch

        self.logits = logits.float()
        self.finite = bool(torch.isfinite(self.logits).all())
        self.spread = float(self.logits.std(-1).mean()) if self.finite else float("nan")

    def __len__(self) -> int:
        return int(self.logits.shape[0])

    def __getitem__(self, positions: slice) -> Trace:
        return TorchTrace(self.logits[positions])

    def distance(self, other: Any) -> float:
        if self.logits.shape != other.logits.shape:
            return float("inf")
        return float((self.logits.log_softmax(-1) - other.logits.log_softmax(-1)).abs().max())

    def top(self, count: int) -> list[list[list[Any]]]:
        values, ids = self.logits.log_softmax(-1).topk(min(count, self.logits.shape[-1]))
        rounded = [[round(value, 6) for value in row] for row in values.tolist()]
        return [list(pair) for pair in zip(ids.tolist(), rounded)]

    def at(self, ids: Sequence[Sequence[int]]) -> list[list[float | None]]:
        known = self.logits.log_softmax(-1)
        return [known[place, list(row)].tolist() for place, row in enumerate(ids)]


class PlainTrace:
    """Rows of id to log-probability, for runtimes that answer with numbers: all of the vocabulary, or its likeliest."""

    def __init__(self, rows: Sequence[dict[int, float]]) -> None:
        self.rows = list(rows)
        self.finite = all(math.isfinite(value) for row in self.rows for value in row.values())
        self.spread = fmean(pstdev(row.values()) for row in self.rows) if self.finite and self.rows else float("nan")

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, positions: slice) -> Trace:
        return PlainTrace(self.rows[positions])

    def distance(self, other: Any) -> float:
        """Return the largest difference; an id that one side does not name lies below all that it names."""
        if len(self.rows) != len(other.rows):
            return float("inf")
        if not (self.finite and other.finite):
            return float("nan")
        return max((_row_distance(ours, theirs) for ours, theirs in zip(self.rows, other.rows)), default=0.0)

    def top(self, count: int) -> list[list[list[Any]]]:
        ranked = [sorted(row.items(), key=lambda pair: (-pair[1], pair[0]))[:count] for row in self.rows]
        return [[[name for name, _ in row], [round(value, 6) for _, value in row]] for row in ranked]

    def at(self, ids: Sequence[Sequence[int]]) -> list[list[float | None]]:
        return [[row.get(name) for name in wanted] for row, wanted in zip(self.rows, ids)]


class AskedTrace:
    """The same for a runtime that is asked for one position at a time: only those that somebody looks at."""

    def __init__(self, ask: Callable[[int], dict[int, float]], places: Sequence[int]) -> None:
        self._ask = ask
        self._places = places

    @functools.cached_property
    def _whole(self) -> PlainTrace:
        return PlainTrace([self._ask(place) for place in self._places])

    @property
    def rows(self) -> list[dict[int, float]]:
        return self._whole.rows

    @functools.cached_property
    def finite(self) -> bool:
        return self._whole.finite

    @functools.cached_property
    def spread(self) -> float:
        return self._whole.spread

    def __len__(self) -> int:
        return len(self._places)

    def __getitem__(self, positions: slice) -> Trace:
        return AskedTrace(self._ask, self._places[positions])

    def distance(self, other: Any) -> float:
        return self._whole.distance(other)

    def top(self, count: int) -> list[list[list[Any]]]:
        return self._whole.top(count)

    def at(self, ids: Sequence[Sequence[int]]) -> list[list[float | None]]:
        return self._whole.at(ids)


def _row_distance(ours: dict[int, float], theirs: dict[int, float]) -> float:
    if not ours or not theirs:
        return 0.0 if ours == theirs else float("inf")
    floors = min(ours.values()), min(theirs.values())
    apart = [abs(value - theirs[name]) for name, value in ours.items() if name in theirs]
    apart += [value - floors[1] for name, value in ours.items() if name not in theirs]
    apart += [value - floors[0] for name, value in theirs.items() if name not in ours]
    return max(apart)


class Forced:
    """A logits processor that makes each row continue as written down."""

    def __init__(self, rows: tuple[tuple[int, ...], ...], width: int) -> None:
        self._rows = rows
        self._width = width

    def __call__(self, input_ids: Any, scores: Any) -> Any:
        import torch

        step = input_ids.shape[1] - self._width
        forced = torch.full_like(scores, float("-inf"))
        for place, row in enumerate(self._rows):
            forced[place, row[step]] = 0.0
        return forced
