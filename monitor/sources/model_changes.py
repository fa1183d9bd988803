"""What changed between two revisions of a model, and between two looks at it; pure."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


class Part(StrEnum):
    """A part of a model's repository; a change of one of the first four begins an epoch."""

    WEIGHTS = "weights"
    CONFIG = "config"
    TOKENIZER = "tokenizer"
    TEMPLATE = "template"
    LICENSE = "license"
    CARD = "card"
    OTHER = "other"


EPOCH = (Part.WEIGHTS, Part.CONFIG, Part.TOKENIZER, Part.TEMPLATE)

# the first that fits; a subfolder with weights of its own (original/, onnx/) is another format of the same model
_PARTS = (
    (Part.OTHER, r"(.*/)?(training_args|optimizer|scheduler|rng_state)[^/]*\.(bin|pt|pth)"),
    (Part.TEMPLATE, r"(.*/)?(chat_template[^/]*|additional_chat_templates/.*)"),
    (
        Part.TOKENIZER,
        (
            r"(.*/)?(tokenizer[^/]*|special_tokens_map\.json|added_tokens\.json|vocab\.(json|txt)|merges\.txt"
            r"|[^/]*\.tiktoken|tekken\.json|tokenization_[^/]*\.py)"
        ),
    ),
    (Part.WEIGHTS, r".*\.(safetensors|bin|pt|pth|gguf|h5|msgpack|onnx|npz|safetensors\.index\.json|bin\.index\.json)"),
    (Part.CONFIG, r"(.*/)?([^/]*config\.json|params\.json|(modeling|configuration|processing)_[^/]*\.py)"),
    (Part.LICENSE, r"(.*/)?(licen[sc]e|notice|use[_-]policy)[^/]*"),
    (Part.CARD, r"readme[^/]*"),
)
_LOADABLE = (".safetensors", ".bin", ".pt", ".pth", ".gguf")


def part_of(path: str) -> Part:
    return next((part for part, names in _PARTS if re.fullmatch(names, path.lower())), Part.OTHER)


def what_changed(before: Mapping[str, str], after: Mapping[str, str]) -> tuple[Part, ...]:
    """Compare two trees (path to blob id), most telling part first; the first revision changes all that it has."""
    touched = {part_of(path) for path in before.keys() | after.keys() if before.get(path) != after.get(path)}
    return tuple(part for part in Part if part in touched)


def has_weights(paths: Iterable[str]) -> bool:
    return any(path.lower().endswith(_LOADABLE) and part_of(path) is Part.WEIGHTS for path in paths)


class ModelState(StrEnum):
    """What became of a published model."""

    LISTED = "listed"
    GATED = "gated"
    OPENED = "opened"
    RENAMED = "renamed"
    VANISHED = "vanished"
    BACK = "back"


@dataclass(frozen=True, slots=True)
class Standing:
    """What all states up to now come to. ``name`` is the hub's present one, "" for a model never seen."""

    name: str = ""
    there: bool = False
    gated: bool = False

    def after(self, state: ModelState, detail: str) -> Standing:
        match state:
            case ModelState.LISTED | ModelState.BACK:
                return replace(self, there=True, name=self.name or detail)
            case ModelState.GATED | ModelState.OPENED:
                return replace(self, gated=state is ModelState.GATED)
            case ModelState.RENAMED:
                return replace(self, name=detail)
            case ModelState.VANISHED:
                return replace(self, there=False)


def news(before: Standing, *, name: str, there: bool, gated: bool) -> list[tuple[ModelState, str]]:
    """Return the states, each with its detail, that what is seen now adds to what stands."""
    if not there:
        return [(ModelState.VANISHED, "")] if before.there else []
    told: list[tuple[ModelState, str]] = []
    if not before.there:
        told.append((ModelState.BACK if before.name else ModelState.LISTED, name))
    if before.name and before.name != name:
        told.append((ModelState.RENAMED, name))
    if before.gated != gated:
        told.append((ModelState.GATED if gated else ModelState.OPENED, ""))
    return told
