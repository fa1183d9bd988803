"""Holds sessions side by side and records them: probes run in threads, the store is written by the caller's alone."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Protocol

from containers.recipes import recipe_of
from monitor.runner.session import Sitting
from monitor.runner.subject_files import take_seat
from monitor.runner.threads import side_by_side
from monitor.store import SessionRecord

if TYPE_CHECKING:
    from collections.abc import Sequence

    from monitor.domain import Cell, Ending, Subject
    from monitor.judge.observations import Finished, Session
    from monitor.progress import Talk
    from monitor.runner.context import Workbench
    from monitor.runner.install import Place, Question
    from monitor.runner.session import Sat
    from monitor.runner.threads import Tell


@dataclass(frozen=True, slots=True)
class Group:
    """Who shares a session, how isolated and with how much patience."""

    seated: tuple[tuple[Cell, Subject], ...]
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


def hold_sessions(
    shop: Workbench, question: Question, place: Place, groups: Sequence[Group], talk: Talk, *, over: Over
) -> bool:
    """Hold a session for each group, as many at a time as there are lanes, and tell whether any was heard."""
    talk.expect(sum(len(group.seated) for group in groups))
    heard: list[bool] = []

    def begin(sitting: Sitting) -> None:
        shop.store.begin_session(
            SessionRecord(
                id=sitting.id,
                resolution_id=place.resolution_id,
                environment_digest=sitting.environment.digest,
                suite=shop.bench.suite_of(question.runtime),
                engine=shop.engine.name,
                solo=sitting.solo,
                limit_factor=sitting.limit_factor,
                request=shop.bench.request(sitting),
                started_at=shop.now(),
            )
        )

    def end(sitting: Sitting, sat: Sat) -> None:
        heard.append(sat.session.announced is not None)
        shop.store.end_session(sitting.id, shop.now(), sat.ending, log=sat.log, log_dropped_bytes=sat.log_dropped_bytes)
        if not sat.ending.clean:
            talk.say(f"the session ended badly: {how(sat.ending)}")

    def hold(group: Group, sitting: Sitting, tell: Tell) -> None:
        """Hold one session, in a thread of its own: nothing here touches the store but through ``tell``."""
        cells = {cell.subject_id: cell for cell, _ in group.seated}

        def turn_over(subject_id: str, session: Session, raw: bytes, ending: Ending) -> None:
            turn = Turn(cells[subject_id], sitting.id, session, raw, ending)
            tell(partial(over, group, turn))

        def check_heard(subject_id: str | None, check: Finished) -> None:
            tell(partial(talk.heard, subject_id, check))

        tell(partial(begin, sitting))
        sat = shop.bench.sit(sitting, over=turn_over, heard=check_heard)
        tell(partial(end, sitting, sat))

    jobs = [partial(hold, group, _sitting(shop, question, place, group)) for group in groups]
    lanes = 1 if recipe_of(question.runtime, shop.platform.accelerator).HEAVY else shop.lanes
    side_by_side(jobs, lanes, stop=shop.engine.stop)
    return any(heard)


def _sitting(shop: Workbench, question: Question, place: Place, group: Group) -> Sitting:
    assert place.environment is not None  # noqa: S101 - nobody sits where nothing is installed
    recipe = recipe_of(question.runtime, shop.platform.accelerator)
    return Sitting(
        id=uuid.uuid4().hex,
        runtime=question.runtime,
        version=place.version,
        environment=place.environment,
        seats=tuple(take_seat(shop, subject, question) for _, subject in group.seated),
        solo=group.solo,
        limit_factor=group.limit_factor,
        seed=question.seed,
        env=tuple(recipe.ENVIRONMENT.items()),
        memory_bytes=recipe.MEMORY_BYTES,
        shm_bytes=recipe.SHM_BYTES,
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
