"""What several adapters share: log-probabilities by position, and what torch and transformers need anywhere."""

from __future__ import annotations

import contextlib
import functools
import math
import os
from collections.abc import Callable, Iterator, Sequence
from statistics import fmean, pstdev
from typing import Any

from probes.runtimes import Adapter, Trace


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
        return [known[position, list(row)].tolist() for position, row in enumerate(ids)]


class PlainTrace:
    """Rows of id to log-probability, for runtimes that answer with numbers: all of the vocabulary, or its likeliest."""

    def __init__(self, rows: Any) -> None:
        self.rows = rows

    @functools.cached_property
    def finite(self) -> bool:
        return all(math.isfinite(value) for row in self.rows for value in row.values())

    @functools.cached_property
    def spread(self) -> float:
        return fmean(pstdev(row.values()) for row in self.rows) if self.finite and len(self) else float("nan")

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, positions: slice) -> Trace:
        return PlainTrace(self.rows[positions])

    def distance(self, other: Any) -> float:
        """Return the largest difference; an id that one side does not name lies below all that it names."""
        if len(self) != len(other):
            return float("inf")
        if not (self.finite and other.finite):
            return float("nan")
        return max((_row_distance(*pair) for pair in zip(self.rows, other.rows)), default=0.0)

    def top(self, count: int) -> list[list[list[Any]]]:
        ranked = [sorted(row.items(), key=lambda pair: (-pair[1], pair[0]))[:count] for row in self.rows]
        return [[[name for name, _ in row], [round(value, 6) for _, value in row]] for row in ranked]

    def at(self, ids: Sequence[Sequence[int]]) -> list[list[float | None]]:
        return [[row.get(name) for name in wanted] for row, wanted in zip(self.rows, ids)]


class LazyRows:
    """Rows that are computed one by one, and only those that are looked at."""

    def __init__(self, compute: Callable[[int], dict[int, float]], positions: Sequence[int]) -> None:
        self._compute = compute
        self._positions = positions

    def __len__(self) -> int:
        return len(self._positions)

    def __getitem__(self, index: Any) -> Any:
        chosen = self._positions[index]
        return LazyRows(self._compute, chosen) if isinstance(index, slice) else self._compute(chosen)


def _row_distance(left: dict[int, float], right: dict[int, float]) -> float:
    if not left or not right:
        return 0.0 if left == right else float("inf")
    floors = min(left.values()), min(right.values())
    apart = [abs(value - right[name]) for name, value in left.items() if name in right]
    apart += [value - floors[1] for name, value in left.items() if name not in right]
    apart += [value - floors[0] for name, value in right.items() if name not in left]
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
        for position, row in enumerate(self._rows):
            # what is proposed may reach beyond the last step, which is never made
            forced[position, row[min(step, len(row) - 1)]] = 0.0
        return forced


class TorchAdapter(Adapter):
    def after_fork(self) -> None:
        import torch

        # also what makes torch replace its inherited, dead thread pool before several threads race to do so
        torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS") or 1))


@contextlib.contextmanager
def perturbed(modules: Sequence[Any]) -> Iterator[None]:
    """Move what these embeddings return by the last bit of their type, at random."""
    import torch

    def moved(_module: Any, _inputs: Any, embedded: Any) -> Any:
        return embedded * (1 + torch.finfo(embedded.dtype).eps * torch.randn_like(embedded).sign())

    hooks = [module.register_forward_hook(moved) for module in modules]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


class Tokenizer:
    """A tokenizer of transformers, made by it or by vLLM."""

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        self.has_template = bool(getattr(tokenizer, "chat_template", None))

    def encode(self, text: str) -> list[int]:
        return list(self._tokenizer.encode(text, add_special_tokens=False))

    def decode(self, ids: Sequence[int]) -> str:
        return str(self._tokenizer.decode(list(ids), skip_special_tokens=False))

    def specials(self) -> dict[str, Any]:
        specials: dict[str, Any] = {"class": type(self._tokenizer).__name__}
        for name in ("bos", "eos", "pad"):
            token = getattr(self._tokenizer, name + "_token", None)
            specials[name] = getattr(self._tokenizer, name + "_token_id", None)
            specials[name + "_token"] = None if token is None else str(token)
        return specials
