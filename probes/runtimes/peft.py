"""Hugging Face peft on transformers: what is trained is the model itself, and an adapter on all its linear layers."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from probes.faults import phrases_in
from probes.runtimes.training import Coverage, Trainee
from probes.runtimes.transformers import Transformers, TransformersModel

_RANK = 8
_REFUSED = re.compile(r"Module '([\w.]+)' is incompatible with Mamba-based models")
_MOST_REFUSALS = 4
# "all-linear" found nothing, or was read as the set of its letters
_PHRASES = phrases_in(
    "adapter-targets: not found in the base model | no modules were targeted | please specify `target_modules`"
)


class Peft(Transformers):
    abilities = ("checkpoint", "configuration", "tensors", "training")
    stands_on = "transformers"
    phrases = _PHRASES

    def load(self) -> dict[str, str]:
        versions = super().load()
        import accelerate
        import peft

        return {**versions, "accelerate": str(accelerate.__version__), "peft": str(peft.__version__)}

    def prime_with(self, folder: Path, config: Any, config_json: dict[str, Any]) -> None:
        super().prime_with(folder, config, config_json)
        plain = self.trainee(folder, config, config_json, [[3, 4, 5]])
        plain.checkpoint()
        plain.gradients()
        adapted = self.adapted(folder, config, config_json, [[3, 4, 5]])
        adapted.train_steps(2, 0.0, 10.0)
        adapted.merged()

    def trainee(self, folder: Path, config: Any, config_json: dict[str, Any], rows: Sequence[Sequence[int]]) -> Trainee:
        # eager: the one way of attending that every architecture has
        return Trainee(self.model(folder, config, config_json, "eager").module, rows)

    def adapted(self, folder: Path, config: Any, config_json: dict[str, Any], rows: Sequence[Sequence[int]]) -> Adapted:
        """Put a LoRA on all linear layers but those that peft refuses on purpose."""
        import peft

        refused: list[str] = []
        while True:
            base = self.model(folder, config, config_json, "eager").module
            recipe = peft.LoraConfig(
                r=_RANK, lora_alpha=2 * _RANK, target_modules="all-linear", task_type="CAUSAL_LM",
                exclude_modules=refused or None,
            )  # fmt: skip
            try:
                return Adapted(peft.get_peft_model(base, recipe), rows, refused, folder)
            except ValueError as error:
                named = _REFUSED.search(str(error))
                if named is None or named[1] in refused or len(refused) == _MOST_REFUSALS:
                    raise
                refused.append(named[1])

    def reloaded_adapter(
        self, saved: Path, folder: Path, config: Any, config_json: dict[str, Any]
    ) -> TransformersModel:
        import peft

        base = self.model(folder, config, config_json, "eager").module
        return TransformersModel(peft.PeftModel.from_pretrained(base, saved).eval(), {}, folder)


class Adapted(Trainee):
    def __init__(self, module: Any, rows: Sequence[Sequence[int]], refused: Sequence[str], folder: Path) -> None:
        super().__init__(module, rows)
        self._refused = list(refused)
        self._folder = folder

    def coverage(self) -> Coverage:
        """Return what carries an adapter, counted in the elements of the model's own parameters."""
        from peft.tuners.tuners_utils import BaseTunerLayer

        trained = sum(value.numel() for value in self.module.parameters() if value.requires_grad)
        sizes: dict[int, int] = {}
        experts: dict[int, int] = {}
        for name, value in self.module.named_parameters():
            if not value.requires_grad:
                sizes[id(value)] = value.numel()
                if any(piece.endswith("experts") and "shared" not in piece for piece in name.split(".")):
                    experts[id(value)] = value.numel()
        targets: dict[str, None] = {}
        covered: set[int] = set()
        for name, layer in self.module.named_modules():
            if isinstance(layer, BaseTunerLayer):
                base = layer.get_base_layer()
                parameter = getattr(layer, "parameter_name", "weight")
                target = re.sub(r"^base_model\.model\.|\.base_layer\b", "", name)
                targets[target if parameter == "weight" else f"{target}.{parameter}"] = None
                covered.add(id(getattr(base, parameter, None)))
        return Coverage(
            targets=list(targets),
            refused=self._refused,
            share_trained=trained / sum(sizes.values()),
            share_covered=_share(covered, sizes),
            experts_covered=_share(covered, experts) if experts else None,
        )

    def model(self) -> TransformersModel:
        return TransformersModel(self.module.eval(), {}, self._folder)

    def save(self, folder: Path) -> None:
        self.module.save_pretrained(folder)

    def merged(self) -> TransformersModel:
        """Fold the adapter into the weights; this one is used up by it."""
        return TransformersModel(self.module.merge_and_unload().eval(), {}, self._folder)


def _share(covered: set[int], sizes: dict[int, int]) -> float:
    return sum(sizes[key] for key in covered & sizes.keys()) / sum(sizes.values())


ADAPTER = Peft
