"""What changed between two listings of a source: its releases and tags, or a model's revisions and states; pure."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from datetime import datetime

    from monitor.domain import Release

GONE = ""  # what a removed tag points to
TAGS = "refs/tags/"
BRANCHES = "refs/heads/"  # they move all the time


class EventKind(StrEnum):
    YANKED = "yanked"
    UNYANKED = "unyanked"
    WHEEL_ADDED = "wheel-added"  # to a known release: single wheels come months later
    TAG_MOVED = "tag-moved"
    TAG_REMOVED = "tag-removed"


@dataclass(frozen=True, slots=True)
class ReleaseEvent:
    """What happened to a release after it was published; the release itself is a row of ``releases``."""

    project: str  # a runtime, or what runtimes are made of, such as llama.cpp
    version: str
    kind: EventKind
    before: str
    after: str
    seen_at: datetime


@dataclass(frozen=True, slots=True)
class Refs:
    """The tags and branch heads of a repository, or the tags of an image, as listed: name to what it points to."""

    targets: Mapping[str, str]
    complete: bool = True  # False where older ones were left out, so that a missing one is not gone


def release_events(
    known: Mapping[str, Release], listed: Iterable[Release], *, seen_at: datetime
) -> Iterator[ReleaseEvent]:
    """Yield what happened to known releases, which are given by version."""
    for release in listed:
        before = known.get(release.version)
        if before is None:
            continue
        project = str(release.runtime)
        if bool(before.yanked) is not bool(release.yanked):
            kind = EventKind.YANKED if release.yanked else EventKind.UNYANKED
            yield ReleaseEvent(project, release.version, kind, before.yanked, release.yanked, seen_at)
        if before.wheels is None or release.wheels is None:
            continue  # the first listing with files does not show when they were added
        for wheel in sorted(set(release.wheels) - set(before.wheels)):
            yield ReleaseEvent(project, release.version, EventKind.WHEEL_ADDED, "", wheel, seen_at)


def moved_refs(known: Mapping[str, str], listed: Refs) -> dict[str, str]:
    """Return the refs to record: new ones, those that point elsewhere now, and those that are gone."""
    moved = {name: target for name, target in listed.targets.items() if known.get(name) != target}
    gone = [name for name, target in known.items() if target != GONE and name not in listed.targets]
    return moved | dict.fromkeys(gone if listed.complete else (), GONE)


def ref_events(
    project: str, known: Mapping[str, str], moved: Mapping[str, str], *, seen_at: datetime
) -> Iterator[ReleaseEvent]:
    """Yield what happened to known tags."""
    for name, target in moved.items():
        if name not in known or name.startswith(BRANCHES):
            continue
        kind = EventKind.TAG_REMOVED if target == GONE else EventKind.TAG_MOVED
        yield ReleaseEvent(project, name.removeprefix(TAGS), kind, known[name], target, seen_at)


class ModelPart(StrEnum):
    """A part of a model's repository; a change of one of the first four begins an epoch."""

    WEIGHTS = "weights"
    CONFIG = "config"
    TOKENIZER = "tokenizer"
    TEMPLATE = "template"
    LICENSE = "license"
    CARD = "card"
    OTHER = "other"


EPOCH = (ModelPart.WEIGHTS, ModelPart.CONFIG, ModelPart.TOKENIZER, ModelPart.TEMPLATE)

# the first match counts; a subfolder with weights of its own (original/, onnx/) is another format of the same model
_PARTS = (
    (ModelPart.OTHER, r"(.*/)?(training_args|optimizer|scheduler|rng_state)[^/]*\.(bin|pt|pth)"),
    (ModelPart.TEMPLATE, r"(.*/)?(chat_template[^/]*|additional_chat_templates/.*)"),
    (
        ModelPart.TOKENIZER,
        (
            r"(.*/)?(tokenizer[^/]*|special_tokens_map\.json|added_tokens\.json|vocab\.(json|txt)|merges\.txt"
            r"|[^/]*\.tiktoken|tekken\.json|tokenization_[^/]*\.py)"
        ),
    ),
    (
        ModelPart.WEIGHTS,
        r".*\.(safetensors|bin|pt|pth|gguf|h5|msgpack|onnx|npz|safetensors\.index\.json|bin\.index\.json)",
    ),
    (ModelPart.CONFIG, r"(.*/)?([^/]*config\.json|params\.json|(modeling|configuration|processing)_[^/]*\.py)"),
    (ModelPart.LICENSE, r"(.*/)?(licen[sc]e|notice|use[_-]policy)[^/]*"),
    (ModelPart.CARD, r"readme[^/]*"),
)
_LOADABLE = (".safetensors", ".bin", ".pt", ".pth", ".gguf")


def part_of(path: str) -> ModelPart:
    return next((part for part, names in _PARTS if re.fullmatch(names, path.lower())), ModelPart.OTHER)


def what_changed(before: Mapping[str, str], after: Mapping[str, str]) -> tuple[ModelPart, ...]:
    """Compare two trees (path to blob id), the most important part first; the first revision changes all its parts."""
    touched = {part_of(path) for path in before.keys() | after.keys() if before.get(path) != after.get(path)}
    return tuple(part for part in ModelPart if part in touched)


def has_weights(paths: Iterable[str]) -> bool:
    return any(path.lower().endswith(_LOADABLE) and part_of(path) is ModelPart.WEIGHTS for path in paths)


class ModelState(StrEnum):
    """What happened to a published model."""

    LISTED = "listed"
    GATED = "gated"
    OPENED = "opened"
    RENAMED = "renamed"
    VANISHED = "vanished"
    BACK = "back"


@dataclass(frozen=True, slots=True)
class Presence:
    """What all states up to now amount to; ``name`` is the present one on the hub, "" for a model never seen."""

    name: str = ""
    there: bool = False
    gated: bool = False

    def after(self, state: ModelState, detail: str) -> Presence:
        match state:
            case ModelState.LISTED | ModelState.BACK:
                return replace(self, there=True, name=self.name or detail)
            case ModelState.GATED | ModelState.OPENED:
                return replace(self, gated=state is ModelState.GATED)
            case ModelState.RENAMED:
                return replace(self, name=detail)
            case ModelState.VANISHED:
                return replace(self, there=False)


def new_states(before: Presence, *, name: str, there: bool, gated: bool) -> list[tuple[ModelState, str]]:
    """Return the states, each with its detail, that the present listing adds."""
    if not there:
        return [(ModelState.VANISHED, "")] if before.there else []
    states: list[tuple[ModelState, str]] = []
    if not before.there:
        states.append((ModelState.BACK if before.name else ModelState.LISTED, name))
    if before.name and before.name != name:
        states.append((ModelState.RENAMED, name))
    if before.gated != gated:
        states.append((ModelState.GATED if gated else ModelState.OPENED, ""))
    return states
