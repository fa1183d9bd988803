"""Runs sessions side by side and records them: probes run in threads, the store is written in the caller's alone."""

from __future__ import annotations

import os
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import partial
from queue import SimpleQueue
from typing import TYPE_CHECKING, TypeAlias, TypeVar

from monitor.runner.session import SessionSpec
from monitor.store import SessionRecord
from monitor.wire.bundle import suite_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime

    from containers.recipe import Recipe
    from monitor.domain import Cell, Ending, Platform, Runtime, Subject
    from monitor.judge.observations import Finished
    from monitor.progress import Progress
    from monitor.runner.install import Installer, InstallResult
    from monitor.runner.request import ProbeRequest
    from monitor.runner.session import PreparedSubject, SessionResult, SessionRunner
    from monitor.store import Store
    from monitor.wire.stream import SubjectEvents

    Post: TypeAlias = Callable[[Callable[[], object]], None]
    Job: TypeAlias = Callable[[Post], None]

T = TypeVar("T")
LEAST_SHARE = 4  # fewer subjects than this do not repay another import
_ENDED = None


@dataclass(frozen=True, slots=True)
class RuntimeTools:
    """What one runtime is measured with."""

    recipe: Recipe
    installer: Installer
    session_runner: SessionRunner


@dataclass(frozen=True, slots=True, kw_only=True)
class Runner:
    """What cycles work with; ``tools_for`` raises InfraError where a runtime's base cannot be had."""

    store: Store
    platform: Platform
    control: Subject
    tools_for: Callable[[Runtime], RuntimeTools]
    prepare_subject: Callable[[Subject, ProbeRequest], PreparedSubject]
    progress: Progress
    now: Callable[[], datetime]
    sleep: Callable[[float], None] = time.sleep
    suite_of: Callable[[Runtime], str] = suite_of
    workers: int = 1  # containers side by side


@dataclass(frozen=True, slots=True)
class SessionGroup:
    """The subjects that share a session, how isolated and with how much patience."""

    members: tuple[tuple[Cell, Subject], ...]
    solo: bool = False
    limit_factor: int = 1
    deep: frozenset[str] = frozenset()  # cells that are asked the deep part, too


@dataclass(frozen=True, slots=True)
class SubjectTurn:
    """One subject's part of a session, and how it ended."""

    cell: Cell
    session_id: str
    events: SubjectEvents
    ending: Ending


@dataclass(frozen=True, slots=True)
class Round:
    """The outcome of sessions that ran side by side."""

    runs: tuple[str, ...] = ()
    cells: frozenset[str] = frozenset()  # the ids of those that were recorded
    lost_turn: frozenset[str] = frozenset()  # those of them whose session ended before their turn
    silent: bool = True  # every session ended before any subject had a turn


@dataclass(slots=True)
class _Sessions:
    """One round of sessions in progress."""

    runner: Runner
    tools: RuntimeTools
    request: ProbeRequest
    installation: InstallResult
    record: Callable[[SessionGroup, SubjectTurn], str]
    runs: list[str] = field(default_factory=list)
    turns: list[SubjectTurn] = field(default_factory=list)
    announced: bool = False

    def run(self, group: SessionGroup, spec: SessionSpec, post: Post) -> None:
        """Run one session in a thread of its own: nothing here touches the store but through ``post``."""
        cells = {cell.subject_id: cell for cell, _ in group.members}

        def subject_finished(events: SubjectEvents, ending: Ending) -> None:
            post(partial(self._end_turn, group, SubjectTurn(cells[events.subject], spec.id, events, ending)))

        def check_finished(subject_id: str | None, check: Finished) -> None:
            post(partial(self.runner.progress.check_finished, subject_id, check))

        post(partial(self._begin, spec))
        result = self.tools.session_runner.run_session(
            spec, subject_finished=subject_finished, check_finished=check_finished
        )
        post(partial(self._end, spec, result))

    def spec(self, group: SessionGroup) -> SessionSpec:
        assert self.installation.environment is not None  # noqa: S101 - a session needs an environment
        return SessionSpec(
            id=uuid.uuid4().hex,
            runtime=self.request.runtime,
            version=self.installation.version,
            environment=self.installation.environment,
            prepared_subjects=tuple(
                replace(self.runner.prepare_subject(subject, self.request), deep=cell.id in group.deep)
                for cell, subject in group.members
            ),
            solo=group.solo,
            limit_factor=group.limit_factor,
            seed=self.request.seed,
        )

    def _begin(self, spec: SessionSpec) -> None:
        self.runner.store.begin_session(
            SessionRecord(
                id=spec.id,
                resolution_id=self.installation.resolution_id,
                environment_digest=spec.environment.digest,
                suite=self.runner.suite_of(spec.runtime),
                engine=self.tools.session_runner.engine.name,
                solo=spec.solo,
                limit_factor=spec.limit_factor,
                request=self.tools.session_runner.request(spec),
                started_at=self.runner.now(),
            )
        )

    def _end_turn(self, group: SessionGroup, turn: SubjectTurn) -> None:
        self.runs.append(self.record(group, turn))
        self.turns.append(turn)

    def _end(self, spec: SessionSpec, result: SessionResult) -> None:
        self.announced = self.announced or result.session.announced
        self.runner.store.end_session(
            spec.id, self.runner.now(), result.ending, log=result.log, log_dropped_bytes=result.log_dropped_bytes
        )
        if not result.ending.clean:
            self.runner.progress.message(f"the session ended badly: {describe(result.ending)}")


def run_sessions(
    runner: Runner,
    tools: RuntimeTools,
    request: ProbeRequest,
    installation: InstallResult,
    groups: Sequence[SessionGroup],
    *,
    record: Callable[[SessionGroup, SubjectTurn], str],
) -> Round:
    """Run a session for each group, as many at a time as there are workers; ``record`` returns a turn's run."""
    runner.progress.expect_subjects(sum(len(group.members) for group in groups))
    sessions = _Sessions(runner, tools, request, installation, record)
    jobs = [partial(sessions.run, group, sessions.spec(group)) for group in groups]
    workers = 1 if tools.recipe.heavy else runner.workers
    side_by_side(jobs, workers, stop=tools.session_runner.engine.stop)
    return Round(
        runs=tuple(sessions.runs),
        cells=frozenset(turn.cell.id for turn in sessions.turns),
        lost_turn=frozenset(
            turn.cell.id for turn in sessions.turns if not turn.events.session.subjects[turn.cell.subject_id].started
        ),
        silent=not sessions.announced,
    )


def describe(ending: Ending) -> str:
    """Return how a session ended, for people."""
    if ending.engine_fault:
        return f"the engine failed ({ending.engine_fault})"
    if ending.out_of_memory:
        return "out of memory"
    if ending.timed_out:
        return "out of time"
    return f"signal {ending.signal}" if ending.signal else f"exit code {ending.exit_code}"


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
