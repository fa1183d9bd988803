"""What changed between the recorded releases and tags and those that a source lists now; pure."""

from __future__ import annotations

from dataclasses import dataclass
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
