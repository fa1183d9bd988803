"""Keeps the data directory within its disk budget: the longest unused files go first, and no verdict needs them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from containers import leftovers
from monitor.discovery.full_weights import in_use
from monitor.subjects.weights import WeightStore

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from containers.installed import Installed, Usage
    from monitor.config.settings import Config
    from monitor.store import Store

_LOG_SHARE = 0.1  # of the budget; logs explain old verdicts, so some always stay


@dataclass(frozen=True, slots=True)
class FreedItem:
    what: str
    bytes: int


@dataclass(frozen=True, slots=True)
class FreedSpace:
    items: Sequence[FreedItem]
    before_bytes: int
    after_bytes: int


class _Removal:
    """What is removed so far, and how many bytes are still too many; a dry run removes nothing."""

    def __init__(self, excess_bytes: int, *, dry_run: bool) -> None:
        self.excess_bytes, self.dry_run = excess_bytes, dry_run
        self.items: list[FreedItem] = []

    @property
    def left(self) -> int:
        return self.excess_bytes - sum(item.bytes for item in self.items)

    def remove(self, what: str, size: int, remove: Callable[[], object]) -> None:
        """Remove something, unless enough is removed already."""
        if self.left <= 0:
            return
        self.items.append(FreedItem(what, size))
        if not self.dry_run:
            remove()


def apply_disk_budget(
    config: Config, store: Store, environments: Installed, *, budget_bytes: int, dry_run: bool
) -> FreedSpace:
    """Remove logs over their share, miniatures, weights, environments, cache, bytecode, archives and wheels.

    It ends as soon as the budget holds. Wheels that were built from source come last: only they cannot be made again
    as they were.
    """
    home = config.home
    usage = environments.usage()
    subjects, logs = _size(home / "subjects"), store.logs.size_bytes()
    weights = WeightStore(home, budget_bytes=budget_bytes, floor_bytes=0, kept=in_use(store, config))
    before = usage.total_bytes + subjects + logs + weights.used_bytes()
    removal = _Removal(before - budget_bytes, dry_run=dry_run)
    share = int(budget_bytes * _LOG_SHARE)
    if logs > share:
        removal.remove("old logs", logs - share, lambda: store.logs.collect(share))
    if subjects:
        removal.remove("written miniatures", subjects, partial(leftovers.remove, home / "subjects"))
    if loose := weights.loose_bytes():
        removal.remove("unfinished weights", loose, weights.remove_loose)
    for checkpoint in weights.checkpoints():
        remove = partial(weights.remove, checkpoint.digest)
        removal.remove(f"weights {checkpoint.digest[:12]}", checkpoint.freeable_bytes, remove)
    _remove_installed(environments, home, usage, removal)
    after = before - sum(item.bytes for item in removal.items)
    if not dry_run:
        after = environments.usage().total_bytes + _size(home / "subjects") + store.logs.size_bytes()
        after += weights.used_bytes()
    return FreedSpace(removal.items, before, after)


def _remove_installed(environments: Installed, home: Path, usage: Usage, removal: _Removal) -> None:
    removed: set[str] = set()
    for environment in usage.environments[:-1]:  # longest unused first; the last used one always stays
        if removal.left <= 0:
            break
        removed.add(environment.digest)
        remove = partial(environments.remove, environment.digest)
        removal.remove(f"environment {environment.digest[:12]}", environment.bytes, remove)
    cache = home / "install" / "cache"
    if usage.cache_bytes:
        removal.remove("the package cache", min(usage.cache_bytes, removal.left), partial(_empty, cache))
    if usage.bytecode_bytes:
        removal.remove("compiled bytecode", usage.bytecode_bytes, environments.remove_bytecode)
    # longest unused first, too; what a remaining environment needs stays
    for artefact in (item for item in usage.artefacts if item.needed_by <= removed):
        remove = partial(environments.remove_artefact, artefact.digest)
        removal.remove(f"an unpacked archive, {artefact.digest[:12]}", artefact.bytes, remove)
    for wheel in (item for item in usage.wheels if item.needed_by <= removed):
        remove = partial(environments.remove_wheel, wheel.digest)
        removal.remove(f"{wheel.name}, built from source", wheel.bytes, remove)


def _empty(folder: Path) -> None:
    leftovers.remove(folder)  # packages of others: their folders may be nested without end
    folder.mkdir(exist_ok=True)


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
