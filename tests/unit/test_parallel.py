"""Jobs side by side: what they post is called in one thread, and a failure anywhere ends everything."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import pytest

from monitor.runner.parallel import LEAST_SHARE, round_robin, side_by_side, worker_count

if TYPE_CHECKING:
    from monitor.runner.parallel import Job, Post


def test_jobs_run_together_and_their_posts_are_called_here_in_order() -> None:
    called: list[tuple[str, int, bool]] = []
    meet = threading.Barrier(2, timeout=10)  # passes only when both are in progress at once
    here = threading.get_ident()

    def job(name: str) -> Job:
        def work(post: Post) -> None:
            meet.wait()
            for step in range(3):
                post(lambda step=step: called.append((name, step, threading.get_ident() == here)))  # type: ignore[misc]

        return work

    side_by_side([job("a"), job("b")], 2, stop=lambda: pytest.fail("nothing to stop"))
    assert sorted(called) == [(name, step, True) for name in "ab" for step in range(3)]
    assert [step for name, step, _ in called if name == "a"] == [0, 1, 2]


def test_a_failure_of_the_listener_stops_what_runs_and_drops_what_has_not_begun() -> None:
    stopped = threading.Event()
    begun: list[str] = []

    def long(post: Post) -> None:
        begun.append("long")
        post(lambda: 1 / 0)
        assert stopped.wait(10)

    def never(_: Post) -> None:
        begun.append("never")

    with pytest.raises(ZeroDivisionError):
        side_by_side([long, never], 1, stop=stopped.set)
    assert begun == ["long"]


def test_a_failure_of_a_job_is_raised_after_the_others_have_posted_everything() -> None:
    called: list[str] = []

    def fails(_: Post) -> None:
        raise OSError("no room")

    with pytest.raises(OSError, match="no room"):
        side_by_side([fails, lambda post: post(lambda: called.append("posted"))], 2, stop=lambda: None)
    assert called == ["posted"]


def test_items_are_shared_in_turn_and_few_of_them_share_a_worker() -> None:
    assert round_robin([], 2) == []
    assert round_robin(list("abc"), 2) == [list("abc")]
    many = list(range(2 * LEAST_SHARE + 1))
    assert round_robin(many, 2) == [many[::2], many[1::2]]
    assert round_robin(many, 1) == [many]


def test_workers_are_as_configured_or_as_memory_allows() -> None:
    assert worker_count(7, container_bytes=1 << 60) == 7
    assert worker_count(None, container_bytes=1 << 60) == 1
