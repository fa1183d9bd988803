"""Runs jobs side by side in threads, while everything they tell is called in the caller's own thread, in order."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from queue import SimpleQueue
from typing import TYPE_CHECKING, TypeAlias, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    Post: TypeAlias = Callable[[Callable[[], object]], None]
    Job: TypeAlias = Callable[[Post], None]

T = TypeVar("T")
FEW = 4  # fewer subjects than this do not repay another import
_OVER = None


def side_by_side(jobs: Sequence[Job], workers: int, *, stop: Callable[[], object]) -> None:
    """Run every job, at most ``lanes`` at a time; what a job hands to its ``tell`` is called here, in order of telling.

    So a job may take its time beside others, and a database still has one writer in one thread. When something raises
    here, ``stop`` is called, what has not begun is dropped, and what runs is waited for. An exception of a job is
    raised after the others have ended.
    """
    told: SimpleQueue[Callable[[], object] | None] = SimpleQueue()
    with ThreadPoolExecutor(workers) as pool:
        running = [pool.submit(job, told.put) for job in jobs]
        for future in running:
            future.add_done_callback(lambda _: told.put(_OVER))
        try:
            left = len(running)
            while left:
                said = told.get()
                if said is _OVER:
                    left -= 1
                else:
                    said()
        except BaseException:
            for future in running:
                future.cancel()
            stop()
            raise
    for future in running:
        future.result()


def round_robin(things: Sequence[T], workers: int) -> list[list[T]]:
    """Deal things out to as many lanes as are worth it, in turn, so that each gets its share of the heavy ones."""
    count = max(1, min(workers, len(things) // FEW))
    return [list(things[place::count]) for place in range(count)] if things else []


def worker_count(wanted: int | None, *, container_bytes: int) -> int:
    """Return how many containers run side by side: as many as were asked for, else as this machine has room for."""
    if wanted is not None:
        return wanted
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return max(1, min(len(os.sched_getaffinity(0)), memory // container_bytes))
