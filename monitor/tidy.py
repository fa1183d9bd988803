"""Keeps a home within its disk budget: what is longest unused goes first, and no verdict needs it."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from containers.environments import Usage
    from monitor.workbench import Workbench

_LOG_SHARE = 0.1  # of the budget; logs explain old verdicts, so they keep a little whatever happens


@dataclass(frozen=True, slots=True)
class Thing:
    what: str
    bytes: int


@dataclass(frozen=True, slots=True)
class Tidied:
    things: Sequence[Thing]
    before_bytes: int
    after_bytes: int


def environments_to_remove(usage: Usage, *, excess_bytes: int) -> list[Thing]:
    """Return the environments to give up, longest unused first; the one used last always stays."""
    chosen: list[Thing] = []
    for one in usage.environments[:-1]:
        if sum(thing.bytes for thing in chosen) >= excess_bytes:
            break
        chosen.append(Thing(one.digest, one.own_bytes))
    return chosen


def tidy(shop: Workbench, *, budget_bytes: int, dry_run: bool) -> Tidied:
    """Remove until the budget holds: logs over their share, written miniatures, environments, then the cache."""
    home = shop.config.home
    usage = shop.environments.usage()
    subjects, logs = _size(home / "subjects"), shop.store.logs.size_bytes()
    before = usage.total_bytes + subjects + logs
    things: list[Thing] = []

    def left() -> int:
        return before - sum(thing.bytes for thing in things) - budget_bytes

    share = int(budget_bytes * _LOG_SHARE)
    if left() > 0 and logs > share:
        things.append(Thing("old logs", logs - share if dry_run else shop.store.logs.collect(share)))
    if left() > 0 and subjects:
        things.append(Thing("written miniatures", subjects))
        if not dry_run:
            shutil.rmtree(home / "subjects", ignore_errors=True)
    for one in environments_to_remove(usage, excess_bytes=left()):
        things.append(Thing(f"environment {one.what[:12]}", one.bytes))
        if not dry_run:
            shop.environments.remove(one.what)
    if left() > 0 and usage.cache_bytes:
        things.append(Thing("the package cache", min(usage.cache_bytes, left())))
        if not dry_run:
            shutil.rmtree(home / "install" / "cache", ignore_errors=True)
            (home / "install" / "cache").mkdir()
    after = before - sum(thing.bytes for thing in things)
    if not dry_run:
        after = shop.environments.usage().total_bytes + _size(home / "subjects") + shop.store.logs.size_bytes()
    return Tidied(things, before, after)


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
