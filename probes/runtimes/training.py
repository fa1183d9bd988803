"""Gradients and steps of a torch model that is trained on one batch, as the checks of rung 8 ask for them."""

from __future__ import annotations

import inspect
import re
import time
from collections.abc import Sequence
from typing import Any, NamedTuple

from probes.runtimes import UnavailableError

_EXPERTS = 3  # axes of a parameter that holds one matrix for each expert
_NUDGE = 1e-2  # of a parameter's own size
_DRAWS = 3
_MOST_ASKED = 8  # each takes a dozen passes at most
_NOTICEABLE = 1e-4  # nat: repeated float32 sums differ by far less
_STRAIGHT = (1.6, 2.5)  # twice the nudge moves a loss with a slope about twice as far; a switch or a valley does not
_RATE = 1e-2
_LEAST = 4  # losses: what is kept from one step to the next shows in the second and third
_LARGEST_NORM = 1.0  # where trainers cut gradients off by default


class Silent(NamedTuple):
    """A parameter, or the part of it that is one expert's, whose gradient is missing or zero."""

    name: str
    expert: int | None = None

    def __str__(self) -> str:
        return self.name if self.expert is None else f"{self.name}[{self.expert}]"


class Coverage(NamedTuple):
    """What an adapter was put on; shares are of the elements of the model's own parameters."""

    targets: list[str]
    refused: list[str]  # kinds of layer that the library takes no adapter on, and says so
    share_trained: float
    share_covered: float
    experts_covered: float | None  # of the routed experts' elements; None where there are none


class TrainingResult(NamedTuple):
    losses: list[float]
    seconds: float
    impatient: bool  # ended by the clock


class Gradients:
    """What one backward pass gave each parameter that trains."""

    def __init__(self, loss: float, values: dict[str, Any], calls: int) -> None:
        self.loss = loss
        self.calls = calls  # of modules: what is computed again while going back counts again
        self._values = values

    def __len__(self) -> int:
        return len(self._values)

    def endless(self) -> list[str]:
        """Return the parameters whose gradient holds NaN or infinity."""
        import torch

        return [name for name, value in self._values.items() if value is not None and not torch.isfinite(value).all()]

    def silent(self) -> list[Silent]:
        silent: list[Silent] = []
        for name, value in self._values.items():
            if value is None or not value.any():
                silent.append(Silent(name))
            elif value.ndim == _EXPERTS and "experts" in name:
                silent += [Silent(name, index) for index, each in enumerate(value) if not each.any()]
        return silent

    def distance(self, other: Gradients) -> tuple[float, str]:
        """Return how far the gradients are apart, as a share of their own size, and where they are furthest."""
        largest = max((float(value.abs().max()) for value in self._values.values() if value is not None), default=0.0)
        furthest = (0.0, "")
        for name, value in self._values.items():
            its = other._values.get(name)
            if value is None or its is None:
                apart = 0.0 if value is its else float("inf")
            else:
                size = max(float(value.abs().max()), 1e-3 * largest)
                apart = float((value - its).abs().max()) / size if size else 0.0
            furthest = max(furthest, (apart, name))
        return furthest


class Trainee:
    """A module in training mode and the one batch it is trained on."""

    def __init__(self, module: Any, rows: Sequence[Sequence[int]]) -> None:
        import torch

        self.module = module.train()
        self._ids = torch.tensor([list(row) for row in rows])
        whole = getattr(module, "get_base_model", lambda: module)()
        # some vision models want to know in training which tokens are text, as their processors pass it
        asked = inspect.signature(whole.forward).parameters
        self._kinds = [name for name in ("token_type_ids", "mm_token_type_ids") if name in asked]

    def loss(self) -> Any:
        import torch

        return self.module(
            input_ids=self._ids,
            attention_mask=torch.ones_like(self._ids),
            labels=self._ids,
            use_cache=False,
            **dict.fromkeys(self._kinds, torch.zeros_like(self._ids)),
        ).loss

    def gradients(self) -> Gradients:
        from torch.nn.modules.module import register_module_forward_pre_hook

        calls: list[None] = []
        self.module.zero_grad(set_to_none=True)
        hook = register_module_forward_pre_hook(lambda _module, _inputs: calls.append(None))
        try:
            loss = self.loss()
            loss.backward()
        finally:
            hook.remove()
        values = {name: value.grad for name, value in self.module.named_parameters() if value.requires_grad}
        self.module.zero_grad(set_to_none=True)
        return Gradients(float(loss.detach()), values, len(calls))

    def checkpoint(self) -> None:
        """Keep less of the way forward and compute it again going back, as the release does it by default."""
        if not getattr(self.module, "supports_gradient_checkpointing", True):
            raise UnavailableError(f"{type(self.module).__name__} says that it supports no gradient checkpointing")
        self.module.gradient_checkpointing_enable()

    def frozen(self) -> list[str]:
        return [name for name, value in self.module.named_parameters() if not value.requires_grad]

    def train_steps(self, steps: int, until: float, patience_s: float) -> TrainingResult:
        """Train with what trainers do by default, and end early once the loss is low enough."""
        import torch

        trained = [value for value in self.module.parameters() if value.requires_grad]
        optimizer = torch.optim.AdamW(trained, lr=_RATE)
        losses: list[float] = []
        began = time.process_time()  # of this process: neighbours on a busy machine cost no patience
        while True:
            loss = self.loss()
            losses.append(float(loss.detach()))
            seconds = time.process_time() - began
            enough = not losses[-1] > until and len(losses) >= _LEAST
            if enough or len(losses) > steps or seconds > patience_s:
                return TrainingResult(losses, seconds, impatient=seconds > patience_s)
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(trained, _LARGEST_NORM)
            optimizer.step()

    def detached(self, silent: Sequence[Silent]) -> tuple[list[str], int]:
        """Return those of the silent on which the loss depends smoothly all the same, and how many were asked.

        Those are cut off. What no token of the batch reaches moves nothing; what only chooses (which experts,
        which positions) moves the loss in steps.
        """
        if not silent or not _moves(self._moved(silent, _NUDGE, 0) - self._moved(silent, -_NUDGE, 0)):
            return [], len(silent)
        asked = _kinds_in_turn(silent)[:_MOST_ASKED]
        return [str(parameter) for parameter in asked if self._has_slope(parameter)], len(asked)

    def _has_slope(self, parameter: Silent) -> bool:
        for draw in range(_DRAWS):
            near = self._moved([parameter], _NUDGE, draw) - self._moved([parameter], -_NUDGE, draw)
            if not _moves(near):
                return False
            far = self._moved([parameter], 2 * _NUDGE, draw) - self._moved([parameter], -2 * _NUDGE, draw)
            if not _STRAIGHT[0] < far / near < _STRAIGHT[1]:
                return False
        return True

    def _moved(self, silent: Sequence[Silent], size: float, draw: int) -> float:
        """Return the loss with the silent moved, each at random; they are put back."""
        import torch

        parameters = dict(self.module.named_parameters())
        generator = torch.Generator().manual_seed(draw)
        kept = []
        with torch.no_grad():
            for parameter in silent:
                value = parameters[parameter.name].data
                value = value if parameter.expert is None else value[parameter.expert]
                kept.append((value, value.clone()))
                # a parameter of zeros has no size of its own
                scale = float(value.abs().max()) or 1.0
                value += size * scale * torch.randn(value.shape, generator=generator)
            torch.manual_seed(0)  # the same units dropped out each time
            loss = float(self.loss())
            for value, original in kept:
                value.copy_(original)
        return loss


def _moves(difference: float) -> bool:
    return abs(difference) > _NOTICEABLE


def _kinds_in_turn(silent: Sequence[Silent]) -> list[Silent]:
    """Order them so that layer after layer of the same kind comes last."""
    seen: dict[str, int] = {}
    ranked = []
    for parameter in silent:
        kind = re.sub(r"\d+", "N", str(parameter))
        seen[kind] = seen.get(kind, 0) + 1
        ranked.append((seen[kind], parameter))
    return [parameter for _, parameter in sorted(ranked, key=lambda pair: pair[0])]
