"""Runs jobs side by side in threads, while everything they post is called in the caller's own thread, in order."""

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
LEAST_SHARE = 4  # fewer subjects than this do not repay another import
_ENDED = None


def side_by_side(jobs: Sequence[Job], workers: int, *, stop: Callable[[], object]) -> None:
    """Run every job, at most ``workers`` at a time; what a job posts is called here, in order of posting.

    So a job may take its time beside others, and a database still has one writer in one thread. When something raises
    here, ``stop`` is called, what has not begun is dropped, and what runs is waited for. An exception of a job is
    raised after the others have ended.
    """
    posted: SimpleQueue[Callable[[], object] | None] = SimpleQueue()
    with ThreadPoolExecutor(workers) as pool:
        running = [pool.submit(job, posted.put) for job in jobs]
        for future in running:
            future.add_done_callback(lambda _: posted.put(_ENDED))
        try:
            left = len(running)
            while left:
                call = posted.get()
                if call is _ENDED:
                    left -= 1
                else:
                    call()
        except BaseException:
            for future in running:
                future.cancel()
            stop()
            raise
    for future in running:
        future.result()


def round_robin(items: Sequence[T], workers: int) -> list[list[T]]:
    """Share items among as many workers as are worth it, in turn, so that each gets its share of the heavy ones."""
    count = max(1, min(workers, len(items) // LEAST_SHARE))
    return [list(items[first::count]) for first in range(count)] if items else []


def worker_count(configured: int | None, *, container_bytes: int) -> int:
    """Return how many containers run side by side: as configured, else as this machine has room for."""
    if configured is not None:
        return configured
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return max(1, min(len(os.sched_getaffinity(0)), memory // container_bytes))
