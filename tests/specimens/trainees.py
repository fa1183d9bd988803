"""A trainable model in plain Python with one defect each: three numbers that learn one sum, and an adapter on one."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from probes.runtimes import UnavailableError
from probes.runtimes.training import Coverage, Silent, TrainingResult
from tests.specimens.runtimes import PlainModel, PlainRuntime

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from probes.runtimes.traces import PlainTrace

NAMES = ("layers.0.weight", "layers.1.weight", "layers.1.experts.weight")


class PlainGradients:
    def __init__(self, loss: float, values: dict[str, float | None], calls: int) -> None:
        self.loss = loss
        self.values = values
        self.calls = calls

    def __len__(self) -> int:
        return len(self.values)

    def endless(self) -> list[str]:
        return [name for name, value in self.values.items() if value is not None and not math.isfinite(value)]

    def silent(self) -> list[Silent]:
        return [Silent(name) for name, value in self.values.items() if not value]

    def distance(self, other: PlainGradients) -> tuple[float, str]:
        return max((abs((value or 0) - (other.values[name] or 0)), name) for name, value in self.values.items())


class PlainTrainee:
    def __init__(self, defect: str) -> None:
        self.defect = defect
        self.checkpointed = False

    def gradients(self) -> PlainGradients:
        values: dict[str, float | None] = dict.fromkeys(NAMES, 1.0)
        if self.defect in {"detached", "unrouted"}:
            values[NAMES[2]] = None
        if self.defect == "all silent":
            values = dict.fromkeys(NAMES)
        if self.defect == "infinite":
            values[NAMES[1]] = math.inf
        if self.checkpointed and self.defect == "checkpointing":
            values[NAMES[0]] = 0.5
        loss = 6.1 if self.checkpointed and self.defect == "checkpointed loss" else 6.0
        return PlainGradients(loss, values, 20 if self.checkpointed and self.defect != "ignored" else 10)

    def checkpoint(self) -> None:
        if self.defect == "no checkpointing":
            raise UnavailableError("there is no checkpointing")
        self.checkpointed = True

    def frozen(self) -> list[str]:
        return []

    def detached(self, silent: Sequence[Silent]) -> tuple[list[str], int]:
        return [str(one) for one in silent] if self.defect == "detached" else [], len(silent)

    def train_steps(self, steps: int, until: float, patience_s: float) -> TrainingResult:
        if self.defect == "deaf":
            return TrainingResult([6.0] * (steps + 1), 1.0, impatient=False)
        if self.defect == "slow":
            return TrainingResult([6.0, 5.9], patience_s + 1, impatient=True)
        if self.defect == "diverges":
            return TrainingResult([6.0, math.nan], 1.0, impatient=False)
        return TrainingResult([6.0, until + 0.1, until - 0.1], 0.1, impatient=False)


class PlainAdapted(PlainTrainee):
    def __init__(self, defect: str) -> None:
        super().__init__(defect.removeprefix("adapter "))

    def coverage(self) -> Coverage:
        targets = [] if self.defect == "no targets" else ["layers.0"]
        return Coverage(targets, ["out_proj"], 0.05, 0.5, 0.0)

    def model(self) -> AdaptedModel:
        return AdaptedModel(0.0 if self.defect == "moves nothing" else 1.0)

    def save(self, folder: Path) -> None:
        folder.mkdir(exist_ok=True)

    def merged(self) -> AdaptedModel:
        forgets = self.defect in {"merged save", "reload"}
        return AdaptedModel(0.5 if self.defect == "merge" else 1.0, forgets=forgets)


class AdaptedModel(PlainModel):
    """Answers as the plain one does, moved by what the adapter learned."""

    def __init__(self, learned: float, *, forgets: bool = False) -> None:
        super().__init__("", "eager")
        self.learned = learned
        self.forgets = forgets

    def forward(self, row: Sequence[int]) -> PlainTrace:
        trace = super().forward(row)
        return type(trace)([{**values, 0: values[0] + self.learned} for values in trace.rows])

    def save(self, folder: Path) -> None:
        folder.mkdir(exist_ok=True)
        (folder / "learned").write_text(str(0.0 if self.forgets else self.learned), encoding="utf-8")


class TrainingRuntime(PlainRuntime):
    def trainee(self, *_: Any) -> PlainTrainee:
        return PlainTrainee(self.defect)

    def adapted(self, *_: Any) -> PlainAdapted:
        return PlainAdapted(self.defect)

    def reloaded_adapter(self, *_: Any) -> AdaptedModel:
        return AdaptedModel(0.2 if self.defect == "reload of adapter" else 1.0)

    def model(self, folder: Path, config: Any, config_json: dict[str, Any], attention: str) -> PlainModel:
        kept = folder / "learned"
        if kept.is_file():
            return AdaptedModel(float(kept.read_text(encoding="utf-8")))
        return super().model(folder, config, config_json, attention)
