"""One cycle: install, probe what is due, confirm, until every cell of the question is settled.

What is due is asked of the store before every sitting, and every run is recorded as its turn ends, so that a cycle that
was killed anywhere is continued by the next one.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from containers.failures import InstallFailure
from containers.lock import parse_lock
from containers.recipes import RECIPES
from monitor import verdicts
from monitor.domain import Cell, Ending, Purpose, Rung, SubjectForm
from monitor.errors import InfraError
from monitor.judge.confirm import RetryNeeded, RetryReason, Settled, can_be_mended
from monitor.judge.control import Control
from monitor.judge.days import Fingerprint
from monitor.runner.install import InstallResult, install
from monitor.runner.parallel import Group, Turn, run_sessions
from monitor.runner.threads import round_robin
from monitor.store import RunRecord

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from monitor.domain import Runtime, Subject
    from monitor.judge.observations import Session
    from monitor.progress import Progress
    from monitor.runner.context import RunContext
    from monitor.runner.request import ProbeRequest
    from monitor.store import EnvironmentRecord


# what may come back by itself is given a minute of a cycle to do so; after that it is asked without a pause
PAUSES_S = (1.0, 2.0, 4.0, 8.0, 15.0, 30.0)
_MAY_COME_BACK = frozenset({"infra-engine", "infra-network", "infra-index"})


@dataclass(frozen=True, slots=True)
class CycleResult:
    """What a cycle came to. ``probed`` counts runs; ``unchanged`` cells were settled before, with nothing new since."""

    runtime: Runtime
    installation: InstallResult
    settled: Mapping[str, Settled]
    runs: Sequence[str]
    unchanged: int


def run_cycle(
    context: RunContext,
    request: ProbeRequest,
    progress: Progress,
    *,
    installation: InstallResult | None = None,
    sleep: Callable[[float], None] = time.sleep,
) -> CycleResult:
    """Answer the question for every subject of it, the control beside them, in ``place`` or what installing gives."""
    cycle = _Cycle(context, request, progress, sleep)
    installation = installation or cycle.install()
    if installation.environment is not None:
        cycle.probe(installation)
    settled = {cell.id: cycle.decision(cell, installation) for cell in cycle.cells}
    return CycleResult(
        runtime=request.runtime,
        installation=installation,
        settled={name: one for name, one in settled.items() if isinstance(one, Settled)},
        runs=tuple(cycle.runs),
        unchanged=cycle.unchanged,
    )


class _Cycle:
    def __init__(
        self,
        context: RunContext,
        request: ProbeRequest,
        progress: Progress,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.context, self.request, self.progress = context.for_runtime(request.runtime, progress), request, progress
        self._sleep, self._pauses = sleep, iter(PAUSES_S)
        self.suite = context.session_runner.suite_of(request.runtime)
        self.subjects = {subject.id: subject for subject in request.subjects}
        self.cells = [self._cell(subject) for subject in request.subjects]
        self.runs: list[str] = []
        self.unchanged = 0
        self._nothing_heard = False
        self._lost: set[str] = set()  # cells whose session ended before their turn
        self._shared_again: set[str] = set()  # cells that have been repeated together since
        self._fresh = {cell.id for cell in self.cells} if request.force else set()

    def install(self) -> InstallResult:
        """Install; where that fails, repeat it until the failure is settled, for every cell alike."""
        while True:
            installation = install(self.context, self.request, self.progress)
            if installation.environment is not None:
                return installation
            for cell in self.cells:
                self._record(cell, installation, session_id="", solo=True)
            if all(isinstance(self.decision(cell, installation), Settled) for cell in self.cells):
                return installation
            self._rest(installation.failure.slug if installation.failure else "")
            self.progress.message("installing once more: a failure is confirmed before it counts")

    def probe(self, installation: InstallResult) -> None:
        self._reprobe_for_a_new_suite(installation)
        due = self._due(installation)
        if due:
            self._sit(installation, self._with_control(installation, due), Purpose.PROBE)
        if self._nothing_heard:
            self._rest("infra-engine")
            self.progress.message(f"once more with all {len(due)}: the session ended before any of them had a turn")
            self._sit(installation, self._with_control(installation, due), Purpose.PROBE)
        if self._nothing_heard:
            raise InfraError(
                "no probe can be run: two sessions ended before any subject had a turn",
                hint="`settle doctor` looks at the engine; `settle show RUN` has the session's log",
            )
        self._settle(installation, [self._control()] if due else [])
        self._ask_where_the_control_worked(installation)
        self._settle(installation, self.cells)

    def _settle(self, installation: InstallResult, cells: list[Cell]) -> None:
        """Repeat what has to be confirmed until it is settled; the store's rules bound how often."""
        while again := [
            (cell, one) for cell in cells if isinstance(one := self.decision(cell, installation), RetryNeeded)
        ]:
            self._rest(*(why.leaning.fault for _, why in again))
            # the import is the session's own: what fails there fails for all, and one session repeats it for all
            shared = [cell for cell, why in again if not why.solo or why.leaning.rung is Rung.INSTALLS]
            if len(shared) < 2:  # noqa: PLR2004 - nobody to share it with
                shared = self._lost_their_turn([cell for cell, _ in again])
            if len(shared) > 1:
                self.progress.message(f"once more for {len(shared)}, because {again[0][1].why}")
            alone = [(cell, why) for cell, why in again if cell not in shared] if len(shared) > 1 else again
            for cell, why in alone:
                self.progress.message(f"{cell.subject_id}: once more, because {why.why}")
            groups = self._groups(shared) if len(shared) > 1 else []
            groups += [self._group([cell], solo=True, limit_factor=why.limit_factor) for cell, why in alone]
            self._hold(installation, groups, Purpose.CONFIRM)

    def _rest(self, *faults: str) -> None:
        """Wait before asking again, each time longer, where an engine or an index may come back by itself."""
        seconds = next(self._pauses, 0.0) if _MAY_COME_BACK.intersection(faults) else 0.0
        if seconds:
            self.progress.message(f"waiting {seconds:g} s before asking again")
            self._sleep(seconds)

    def _lost_their_turn(self, cells: list[Cell]) -> list[Cell]:
        """Return, once each, those that only lost their turn: nothing they did ended the session, so one serves all."""
        lost = [cell for cell in cells if cell.id in self._lost - self._shared_again]
        self._shared_again |= {cell.id for cell in lost}
        return lost

    def decision(self, cell: Cell, installation: InstallResult) -> Settled | RetryNeeded:
        request = self.request
        return verdicts.decision(
            self.context.store,
            cell,
            request.day,
            request.origin,
            fingerprint=self._fingerprint(cell, installation),
            version=installation.version,
        )

    def _due(self, installation: InstallResult) -> list[Cell]:
        """Return the cells that have no run yet; those with nothing new since a settled day are carried."""
        first = [cell for cell in self.cells if self._is_due(cell, installation)]
        open_cells = [cell for cell in first if cell.id not in self._fresh]
        carried = verdicts.carry(
            self.context.store,
            open_cells,
            [self.request.day],
            self.request.origin,
            resolution_id=installation.resolution_id,
            fingerprints={cell.id: self._fingerprint(cell, installation) for cell in open_cells},
        ).cells
        self.unchanged = len(self.cells) - len(first) + len(carried)
        return [cell for cell in first if cell.id not in carried]

    def _is_due(self, cell: Cell, installation: InstallResult) -> bool:
        """Tell whether a cell has no run yet, or only such as the bench spoiled before this cycle."""
        decision = self.decision(cell, installation)
        if isinstance(decision, Settled):
            return cell.id in self._fresh or can_be_mended(decision.verdict)
        return cell.id in self._fresh or decision.why is RetryReason.FIRST or can_be_mended(decision.leaning)

    def _with_control(self, installation: InstallResult, due: list[Cell]) -> list[Cell]:
        """Put the control first, so that its word is there when the others' failures are weighed."""
        control = self._control()
        if (
            control in due
            or isinstance(self.decision(control, installation), RetryNeeded)
            or self._is_due(control, installation)
        ):
            return [control, *(cell for cell in due if cell != control)]
        return due

    def _ask_where_the_control_worked(self, installation: InstallResult) -> None:
        """Run a failing control in its last good environment, to tell the release's fault from ours."""
        request, control = self.request, self._control()
        says = verdicts.control_in(
            self.context.store, control, request.day, request.origin, environment=installation.key, suite=self.suite
        )
        if says is not Control.PENDING:
            return
        good = self.context.store.last_good_environment(
            self.request.runtime, self.context.platform, until=self.request.day, other_than=installation.key
        )
        if good is None:
            self.progress.message("the control fails, and there is no environment yet in which it has worked")
            return
        self.progress.message(f"the control fails: asking {good.runtime} {good.version}, where it last worked")
        self._sit_elsewhere(installation, good, [control], Purpose.CONTROL)

    def _reprobe_for_a_new_suite(self, installation: InstallResult) -> None:
        """Let new probe code repeat the verdicts that stand before it may speak of change."""
        wanted = verdicts.cells_to_reprobe(self.context.store, self.cells, self.request.day, suite=self.suite)
        by_environment: dict[str, list[Cell]] = {}
        for cell in self.cells:
            if cell.id in wanted:
                by_environment.setdefault(wanted[cell.id].digest, []).append(cell)
        for cells in by_environment.values():
            good = wanted[cells[0].id]
            self.progress.message(
                f"the probes have changed: repeating {len(cells)} in {good.runtime} {good.version} first"
            )
            self._sit_elsewhere(installation, good, cells, Purpose.SUITE)

    def _sit_elsewhere(
        self, installation: InstallResult, good: EnvironmentRecord, cells: list[Cell], purpose: Purpose
    ) -> None:
        environment = self.context.environments.ensure(parse_lock(good.lock, base_digest=good.base_digest))
        if isinstance(environment, InstallFailure):
            self.progress.message(f"that environment cannot be built again: {environment.message[:200]}")
            return
        there = InstallResult(installation.resolution_id, good.version, good.digest, environment)
        self._sit(there, cells, purpose)

    def _sit(self, installation: InstallResult, cells: list[Cell], purpose: Purpose) -> None:
        self._hold(installation, self._groups(cells), purpose)

    def _groups(self, cells: list[Cell]) -> list[Group]:
        """Share sessions among our own miniatures where one import serves many; all else gets one each."""
        forks = RECIPES[self.request.runtime].forks
        shared = [cell for cell in cells if forks and self._subject(cell).form is SubjectForm.MINIATURE]
        groups = [self._group(some) for some in round_robin(shared, self.context.workers)]
        return [*groups, *(self._group([cell], solo=True) for cell in cells if cell not in shared)]

    def _group(self, cells: Sequence[Cell], *, solo: bool = False, limit_factor: int = 1) -> Group:
        return Group(tuple((cell, self._subject(cell)) for cell in cells), solo, limit_factor)

    def _hold(self, installation: InstallResult, groups: Sequence[Group], purpose: Purpose) -> None:
        over = partial(self._record_turn, installation, purpose)
        self._nothing_heard = not run_sessions(
            self.context, self.request, installation, groups, self.progress, over=over
        )

    def _record_turn(self, installation: InstallResult, purpose: Purpose, group: Group, turn: Turn) -> None:
        if not turn.session.subjects[turn.cell.subject_id].started:
            self._lost.add(turn.cell.id)
        self._record(
            turn.cell,
            installation,
            session_id=turn.session_id,
            # a session that fails to import has failed in a fresh process, whatever was to follow
            solo=group.solo or not imported(turn.session),
            purpose=purpose,
            limit_factor=group.limit_factor,
            ending=turn.ending,
            events=turn.raw,
            session=turn.session,
        )

    def _record(
        self,
        cell: Cell,
        installation: InstallResult,
        *,
        session_id: str,
        solo: bool,
        purpose: Purpose = Purpose.PROBE,
        limit_factor: int = 1,
        ending: Ending | None = None,
        events: bytes = b"",
        session: Session | None = None,
    ) -> None:
        detail = verdicts.record_run(
            self.context.store,
            RunRecord(
                cell=cell,
                resolution_id=installation.resolution_id,
                session_id=session_id,
                day=self.request.day,
                origin=self.request.origin,
                purpose=purpose,
                version=installation.version,
                fingerprint=self._fingerprint(cell, installation),
                solo=solo,
                started_at=self.context.now(),
                limit_factor=limit_factor,
                ending=ending or Ending(),
                events=events,
                session=session,
            ),
        )
        self.runs.append(detail.id)
        self._fresh.discard(cell.id)
        if session_id:
            verdict = detail.verdict
            self.progress.subject_finished(cell.subject_id, str(verdict.verdict), verdict.reason, detail.row["seconds"])

    def _fingerprint(self, cell: Cell, installation: InstallResult) -> Fingerprint:
        return Fingerprint(installation.key, self.suite, self._subject(cell).digest)

    def _cell(self, subject: Subject) -> Cell:
        return Cell(subject.id, self.request.runtime, self.request.channel, self.context.platform)

    def _control(self) -> Cell:
        return self._cell(self.context.catalogue.control.subjects()[0])

    def _subject(self, cell: Cell) -> Subject:
        return self.subjects.get(cell.subject_id) or self.context.store.subject(cell.subject_id)


def imported(session: Session) -> bool:
    return any(one.outcome == "passed" for one in session.own.finished)
