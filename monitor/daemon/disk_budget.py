"""Keeps a home within its disk budget: what is longest unused goes first, and no verdict needs it."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from monitor.discovery.full_weights import in_use
from monitor.subjects.weights import WeightStore

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence
    from pathlib import Path

    from containers.environments import Environments, Usage
    from containers.storage import StoredItem
    from monitor.config.settings import Config
    from monitor.store import Store

_LOG_SHARE = 0.1  # of the budget; logs explain old verdicts, so they keep a little whatever happens


@dataclass(frozen=True, slots=True)
class FreedItem:
    what: str
    bytes: int


@dataclass(frozen=True, slots=True)
class FreedSpace:
    things: Sequence[FreedItem]
    before_bytes: int
    after_bytes: int


def environments_to_remove(usage: Usage, *, excess_bytes: int) -> list[FreedItem]:
    """Return the environments to give up, longest unused first; the one used last always stays."""
    chosen: list[FreedItem] = []
    for one in usage.environments[:-1]:
        if sum(thing.bytes for thing in chosen) >= excess_bytes:
            break
        chosen.append(FreedItem(one.digest, one.bytes))
    return chosen


def unneeded(kept: Sequence[StoredItem], *, excess_bytes: int, removed: Collection[str] = ()) -> list[StoredItem]:
    """Return which of them to give up, longest unused first; what an environment needs that stays is kept.

    ``removed`` are the environments that are given up already.
    """
    chosen: list[StoredItem] = []
    for one in kept:
        if sum(other.bytes for other in chosen) >= excess_bytes:
            break
        if one.needed_by <= set(removed):
            chosen.append(one)
    return chosen


class _Clearing:
    """What is given up so far, and how many bytes are still too many; a dry run only says it."""

    def __init__(self, excess_bytes: int, *, dry_run: bool) -> None:
        self.excess_bytes, self.dry_run = excess_bytes, dry_run
        self.things: list[FreedItem] = []

    @property
    def left(self) -> int:
        return self.excess_bytes - sum(thing.bytes for thing in self.things)

    def give_up(self, what: str, size: int, remove: Callable[[], object]) -> None:
        self.things.append(FreedItem(what, size))
        if not self.dry_run:
            remove()


def apply_disk_budget(
    config: Config, store: Store, environments: Environments, *, budget_bytes: int, dry_run: bool
) -> FreedSpace:
    """Remove until the budget holds: logs over their share, miniatures, weights, environments, cache, archives, wheels.

    Wheels that were built from source come last: nothing else here cannot be had again as it was.
    """
    home = config.home
    usage = environments.usage()
    subjects, logs = _size(home / "subjects"), store.logs.size_bytes()
    weights = WeightStore(home, budget_bytes=budget_bytes, floor_bytes=0, kept=in_use(store, config))
    before = usage.total_bytes + subjects + logs + weights.used_bytes()
    clearing = _Clearing(before - budget_bytes, dry_run=dry_run)
    share = int(budget_bytes * _LOG_SHARE)
    if clearing.left > 0 and logs > share:
        clearing.give_up("old logs", logs - share, lambda: store.logs.collect(share))
    if clearing.left > 0 and subjects:
        clearing.give_up("written miniatures", subjects, lambda: shutil.rmtree(home / "subjects", ignore_errors=True))
    if clearing.left > 0 and (loose := weights.loose_bytes()):
        clearing.give_up("weights that broke off", loose, weights.remove_loose)
    for one in weights.checkpoints():
        if clearing.left > 0:
            clearing.give_up(f"weights {one.digest[:12]}", one.freeable_bytes, partial(weights.remove, one.digest))
    _clear_installed(environments, home, usage, clearing)
    after = before - sum(thing.bytes for thing in clearing.things)
    if not dry_run:
        after = environments.usage().total_bytes + _size(home / "subjects") + store.logs.size_bytes()
        after += weights.used_bytes()
    return FreedSpace(clearing.things, before, after)


def _clear_installed(environments: Environments, home: Path, usage: Usage, clearing: _Clearing) -> None:
    chosen = environments_to_remove(usage, excess_bytes=clearing.left)
    for one in chosen:
        clearing.give_up(f"environment {one.what[:12]}", one.bytes, partial(environments.remove, one.what))
    cache = home / "install" / "cache"
    if clearing.left > 0 and usage.cache_bytes:
        clearing.give_up("the package cache", min(usage.cache_bytes, clearing.left), partial(_empty, cache))
    removed = [one.what for one in chosen]
    for artefact in unneeded(usage.artefacts, excess_bytes=clearing.left, removed=removed):
        remove = partial(environments.remove_artefact, artefact.digest)
        clearing.give_up(f"an unpacked archive, {artefact.digest[:12]}", artefact.bytes, remove)
    for wheel in unneeded(usage.wheels, excess_bytes=clearing.left, removed=removed):
        remove = partial(environments.remove_wheel, wheel.digest)
        clearing.give_up(f"{wheel.name}, built from source", wheel.bytes, remove)


def _empty(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
