"""Log-probabilities in torch tensors, and generation along given tokens; shared by runtimes that stand on torch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
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
