"""Holds sessions side by side and records them: probes run in threads, the store is written by the caller's alone."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Protocol

from containers.recipes import recipe_of
from monitor.runner.session import SessionSpec
from monitor.runner.subject_files import prepare_subject
from monitor.runner.threads import side_by_side
from monitor.store import SessionRecord

if TYPE_CHECKING:
    from collections.abc import Sequence

    from monitor.domain import Cell, Ending, Subject
    from monitor.judge.observations import Finished, Session
    from monitor.progress import Progress
    from monitor.runner.context import RunContext
    from monitor.runner.install import InstallResult
    from monitor.runner.request import ProbeRequest
    from monitor.runner.session import SessionResult
    from monitor.runner.threads import Post


@dataclass(frozen=True, slots=True)
class Group:
    """Who shares a session, how isolated and with how much patience."""

    members: tuple[tuple[Cell, Subject], ...]
    solo: bool = False
    limit_factor: int = 1


@dataclass(frozen=True, slots=True)
class Turn:
    """What a subject's turn left behind: the session as far as it concerns this one, and the lines that prove it."""

    cell: Cell
    session_id: str
    session: Session
    raw: bytes
    ending: Ending


class Over(Protocol):
    def __call__(self, group: Group, turn: Turn) -> None:
        """Take a turn that has ended; called in the thread that holds the sessions."""
        ...


def run_sessions(
    context: RunContext,
    request: ProbeRequest,
    installation: InstallResult,
    groups: Sequence[Group],
    progress: Progress,
    *,
    over: Over,
) -> bool:
    """Hold a session for each group, as many at a time as there are lanes, and tell whether any was heard."""
    progress.expect_subjects(sum(len(group.members) for group in groups))
    heard: list[bool] = []

    def begin(spec: SessionSpec) -> None:
        context.store.begin_session(
            SessionRecord(
                id=spec.id,
                resolution_id=installation.resolution_id,
                environment_digest=spec.environment.digest,
                suite=context.session_runner.suite_of(request.runtime),
                engine=context.engine.name,
                solo=spec.solo,
                limit_factor=spec.limit_factor,
                request=context.session_runner.request(spec),
                started_at=context.now(),
            )
        )

    def end(spec: SessionSpec, result: SessionResult) -> None:
        heard.append(result.session.announced is not None)
        context.store.end_session(
            spec.id, context.now(), result.ending, log=result.log, log_dropped_bytes=result.log_dropped_bytes
        )
        if not result.ending.clean:
            progress.message(f"the session ended badly: {how(result.ending)}")

    def hold(group: Group, spec: SessionSpec, post: Post) -> None:
        """Hold one session, in a thread of its own: nothing here touches the store but through ``tell``."""
        cells = {cell.subject_id: cell for cell, _ in group.members}

        def turn_over(subject_id: str, session: Session, raw: bytes, ending: Ending) -> None:
            turn = Turn(cells[subject_id], spec.id, session, raw, ending)
            post(partial(over, group, turn))

        def check_heard(subject_id: str | None, check: Finished) -> None:
            post(partial(progress.check_finished, subject_id, check))

        post(partial(begin, spec))
        result = context.session_runner.run_session(spec, over=turn_over, heard=check_heard)
        post(partial(end, spec, result))

    jobs = [partial(hold, group, _sitting(context, request, installation, group)) for group in groups]
    workers = 1 if recipe_of(request.runtime, context.platform.accelerator).heavy else context.workers
    side_by_side(jobs, workers, stop=context.engine.stop)
    return any(heard)


def _sitting(context: RunContext, request: ProbeRequest, installation: InstallResult, group: Group) -> SessionSpec:
    assert installation.environment is not None  # noqa: S101 - nobody sits where nothing is installed
    recipe = recipe_of(request.runtime, context.platform.accelerator)
    return SessionSpec(
        id=uuid.uuid4().hex,
        runtime=request.runtime,
        version=installation.version,
        environment=installation.environment,
        prepared_subjects=tuple(prepare_subject(context, subject, request) for _, subject in group.members),
        solo=group.solo,
        limit_factor=group.limit_factor,
        seed=request.seed,
        env=tuple(recipe.environment.items()),
        memory_bytes=recipe.memory_bytes,
        shm_bytes=recipe.shm_bytes,
    )


def how(ending: Ending) -> str:
    """Return how a session ended, for people."""
    if ending.engine_fault:
        return f"the engine failed ({ending.engine_fault})"
    if ending.out_of_memory:
        return "out of memory"
    if ending.timed_out:
        return "out of time"
    return f"signal {ending.signal}" if ending.signal else f"exit code {ending.exit_code}"
