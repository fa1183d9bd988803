"""One cycle: install, probe what is due, confirm, until every cell of the request is settled.

The store decides before every round what is due, and every run is recorded as its turn ends: a cycle that was killed
anywhere is continued by the next one.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from containers.failures import InstallFailure
from monitor import verdicts
from monitor.domain import Cell, Depth, Ending, Origin, Purpose, Rung
from monitor.errors import InfraError
from monitor.judge.confirm import RetryNeeded, RetryReason, Settled, can_be_mended
from monitor.judge.control import Control
from monitor.judge.days import Fingerprint
from monitor.runner.earlier import release_before_of, request_in, unproven, was_tried
from monitor.runner.parallel import SessionGroup, round_robin, run_sessions
from monitor.store import RunRecord

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from monitor.domain import InstalledAsOf, Runtime, Subject
    from monitor.judge.observations import Session
    from monitor.runner.install import InstallResult
    from monitor.runner.parallel import Round, Runner, SubjectTurn
    from monitor.runner.request import ProbeRequest
    from monitor.store import EnvironmentRecord
    from monitor.store.cells import DeepPart


# what may come back by itself has a minute of a cycle to do so; after that it is repeated without a pause
PAUSES_S = (1.0, 2.0, 4.0, 8.0, 15.0, 30.0)
_MAY_COME_BACK = frozenset({"infra-engine", "infra-network", "infra-index"})
_SHARED = 2  # so many cells share a session


@dataclass(frozen=True, slots=True)
class CycleResult:
    """``runs`` are those of this cycle; ``unchanged`` cells were settled before, with nothing new since."""

    runtime: Runtime
    installation: InstallResult
    settled: Mapping[str, Settled]
    runs: Sequence[str]
    unchanged: int
    installed: InstalledAsOf | None = None  # of a pinned version; None in the daily history


@dataclass(frozen=True, slots=True)
class CycleState:
    """What a cycle has done so far, as far as it decides what comes next."""

    runs: tuple[str, ...] = ()
    probed: frozenset[str] = frozenset()  # cells with a run of this cycle
    lost_turn: frozenset[str] = frozenset()  # cells whose session ended before their turn
    shared_again: frozenset[str] = frozenset()  # those of them that were repeated together since
    pauses: int = 0
    unchanged: int = 0


def repeated_together(
    retries: Sequence[tuple[Cell, RetryNeeded]], lost_turn: frozenset[str]
) -> tuple[list[Cell], list[Cell]]:
    """Decide which cells share a session, and return with them those that do so only because they lost their turn.

    Cells in ``lost_turn`` may share once, for nothing they did ended the session.
    """
    # the import is the session's own: what fails there fails for all, and one session repeats it for all
    shared = [cell for cell, retry in retries if not retry.solo or retry.leaning.rung is Rung.INSTALLS]
    lost: list[Cell] = []
    if len(shared) < _SHARED:
        shared = lost = [cell for cell, _ in retries if cell.id in lost_turn]
    return shared if len(shared) >= _SHARED else [], lost


def run_cycle(
    runner: Runner, request: ProbeRequest, *, installation: InstallResult | None = None, try_before: bool = True
) -> CycleResult:
    """Settle every subject of the request, and the control with them, in ``installation`` or what installing gives.

    With ``try_before`` what fails here with files that have passed nowhere is tried in the release before.
    """
    cycle = Cycle(runner, request)
    state = CycleState()
    if installation is None:
        installation, state = cycle.install(state)
    if installation.environment is not None:
        state = cycle.probe(installation, state)
        if try_before:
            state = cycle.try_before(installation, state)
    decisions = {cell.id: cycle.decision(cell, installation) for cell in cycle.cells}
    return CycleResult(
        runtime=request.runtime,
        installation=installation,
        settled={name: decision for name, decision in decisions.items() if isinstance(decision, Settled)},
        runs=state.runs,
        unchanged=state.unchanged,
        installed=request.installed if request.origin is Origin.ADHOC else None,
    )


class Cycle:
    """The steps of a cycle: each takes what was done so far, and returns it with what it did itself."""

    def __init__(self, runner: Runner, request: ProbeRequest) -> None:
        self.runner, self.request, self.store = runner, request, runner.store
        self.tools = runner.tools_for(request.runtime)
        self.suite = runner.suite_of(request.runtime)
        self.subjects = {subject.id: subject for subject in request.subjects}
        self.cells = [self._cell(subject) for subject in request.subjects]
        self.control = self._cell(runner.control)

    def install(self, state: CycleState) -> tuple[InstallResult, CycleState]:
        """Install; where that fails, repeat it until the failure is settled, for every cell alike."""
        while True:
            installation = self.tools.installer.install(self.request)
            if installation.environment is not None:
                return installation, state
            runs = tuple(self._record(cell, installation) for cell in self.cells)
            state = replace(state, runs=state.runs + runs, probed=state.probed.union(cell.id for cell in self.cells))
            if not self._retries(installation, self.cells):
                return installation, state
            state = self._pause(state, [installation.failure.slug] if installation.failure else [])
            self._say("installing once more: a failure is confirmed before it counts")

    def probe(self, installation: InstallResult, state: CycleState) -> CycleState:
        state = self._reprobe_for_a_new_suite(installation, state)
        due, state = self._due(installation, state)
        if due:
            state = self._probe_due(installation, due, state)
        if self._has_begun(self.control, installation):  # in this start, or in one that was killed
            state = self._settle(installation, [self.control], state)
        state = self._probe_control_where_it_worked(installation, state)
        return self._settle(installation, self.cells, state)

    def try_before(self, installation: InstallResult, state: CycleState) -> CycleState:
        """Try what fails here and has passed nowhere in the release before, and judge it again by what works there."""
        decisions = {cell: self.decision(cell, installation) for cell in self.cells}
        cells = unproven(self.store, decisions)
        before = release_before_of(self.tools.installer, self.request, installation.version) if cells else None
        cells = [cell for cell in cells if before and not was_tried(self.store, cell, before)]
        if before is None or not cells:
            return state
        self._say(f"{len(cells)} fail and have passed in no release: trying them in {before.runtime} {before.version}")
        subjects = [self.subject(cell) for cell in cells]
        run_cycle(self.runner, request_in(before, self.request, subjects), try_before=False)
        qualified = [cell for cell in cells if self.store.subject(cell.subject_id).qualified]
        verdicts.judge_again(self.store, qualified, self.request.day, self.request.origin, installation.version)
        return self._settle(installation, qualified, state)

    def run(
        self, installation: InstallResult, groups: Sequence[SessionGroup], purpose: Purpose, state: CycleState
    ) -> tuple[Round, CycleState]:
        def record(group: SessionGroup, turn: SubjectTurn) -> str:
            return self._record(turn.cell, installation, purpose, group, turn)

        outcome = run_sessions(self.runner, self.tools, self.request, installation, groups, record=record)
        return outcome, replace(
            state,
            runs=state.runs + outcome.runs,
            probed=state.probed | outcome.cells,
            lost_turn=state.lost_turn | outcome.lost_turn,
        )

    def decision(self, cell: Cell, installation: InstallResult) -> Settled | RetryNeeded:
        return verdicts.decision(
            self.store,
            cell,
            self.request.day,
            self.request.origin,
            fingerprint=self._fingerprint(cell, installation),
            version=installation.version,
        )

    def groups(self, cells: Sequence[Cell], installation: InstallResult) -> list[SessionGroup]:
        """Share sessions among our own miniatures where one import serves many; all else gets a session each."""
        forks = self.tools.recipe.forks
        shared = [cell for cell in cells if forks and self.subject(cell).shares_sessions]
        groups = [self.group(share, installation) for share in round_robin(shared, self.runner.workers)]
        alone = (cell for cell in cells if cell not in shared)
        return [*groups, *(self.group([cell], installation, solo=True) for cell in alone)]

    def group(
        self, cells: Sequence[Cell], installation: InstallResult, *, solo: bool = False, limit_factor: int = 1
    ) -> SessionGroup:
        deep = frozenset(cell.id for cell in cells if self._is_deep(cell, installation))
        return SessionGroup(tuple((cell, self.subject(cell)) for cell in cells), solo, limit_factor, deep)

    def subject(self, cell: Cell) -> Subject:
        return self.subjects.get(cell.subject_id) or self.store.subject(cell.subject_id)

    def _probe_due(self, installation: InstallResult, due: list[Cell], state: CycleState) -> CycleState:
        """Probe what is due, and once more where the session ended before any subject had a turn."""
        groups = self.groups(self._with_control(installation, due, state), installation)
        outcome, state = self.run(installation, groups, Purpose.PROBE, state)
        if not outcome.silent:
            return state
        state = self._pause(state, ["infra-engine"])
        self._say(f"once more with all {len(due)}: the session ended before any of them had a turn")
        groups = self.groups(self._with_control(installation, due, state), installation)
        outcome, state = self.run(installation, groups, Purpose.PROBE, state)
        if outcome.silent:
            raise InfraError(
                "no probe can be run: two sessions ended before any subject had a turn",
                hint="`settle doctor` checks the engine; `settle show RUN` has the session's log",
            )
        return state

    def _settle(self, installation: InstallResult, cells: list[Cell], state: CycleState) -> CycleState:
        """Repeat what has to be confirmed until it is settled; the store's rules bound how often."""
        while retries := self._retries(installation, cells):
            state = self._pause(state, [retry.leaning.fault for _, retry in retries])
            together, lost = repeated_together(retries, state.lost_turn - state.shared_again)
            groups = self.groups(together, installation)
            if together:
                self._say(f"once more for {len(together)}, because {retries[0][1].why}")
            for cell, retry in retries:
                if cell not in together:
                    self._say(f"{cell.subject_id}: once more, because {retry.why}")
                    groups.append(self.group([cell], installation, solo=True, limit_factor=retry.limit_factor))
            state = replace(state, shared_again=state.shared_again.union(cell.id for cell in lost))
            _, state = self.run(installation, groups, Purpose.CONFIRM, state)
        return state

    def _retries(self, installation: InstallResult, cells: Iterable[Cell]) -> list[tuple[Cell, RetryNeeded]]:
        decisions = [(cell, self.decision(cell, installation)) for cell in cells]
        return [(cell, decision) for cell, decision in decisions if isinstance(decision, RetryNeeded)]

    def _pause(self, state: CycleState, faults: Iterable[str]) -> CycleState:
        """Wait before repeating, each time longer, where an engine or an index may come back."""
        if state.pauses >= len(PAUSES_S) or not _MAY_COME_BACK.intersection(faults):
            return state
        seconds = PAUSES_S[state.pauses]
        self._say(f"waiting {seconds:g} s before the next attempt")
        self.runner.sleep(seconds)
        return replace(state, pauses=state.pauses + 1)

    def _due(self, installation: InstallResult, state: CycleState) -> tuple[list[Cell], CycleState]:
        """Return the cells that have no run yet; those with nothing new since a settled day are carried."""
        first = [cell for cell in self.cells if self._is_due(cell, installation, state)]
        open_cells = [cell for cell in first if not self._is_forced(cell, state)]
        carried = verdicts.carry(
            self.store,
            open_cells,
            [self.request.day],
            self.request.origin,
            resolution_id=installation.resolution_id,
            fingerprints={cell.id: self._fingerprint(cell, installation) for cell in open_cells},
        ).cells
        unchanged = len(self.cells) - len(first) + len(carried)
        return [cell for cell in first if cell.id not in carried], replace(state, unchanged=unchanged)

    def _is_due(self, cell: Cell, installation: InstallResult, state: CycleState) -> bool:
        """Return whether a cell has no run yet, or only runs that our own faults spoiled before this cycle."""
        if self._is_forced(cell, state):
            return True
        decision = self.decision(cell, installation)
        if isinstance(decision, Settled):
            deeper = self.request.depth is Depth.NEEDED and not self._deep_part(cell, installation).asked
            return deeper or can_be_mended(decision.verdict)
        return decision.why is RetryReason.FIRST or can_be_mended(decision.leaning)

    def _is_deep(self, cell: Cell, installation: InstallResult) -> bool:
        """Return whether the deep part is asked, too; once it has failed, no quick run says that a cell works."""
        known = self._deep_part(cell, installation)
        match self.request.depth:
            case Depth.DEEP:
                return True
            case Depth.NEEDED:
                return not known.passed
            case Depth.QUICK:
                return known.asked and not known.passed

    def _deep_part(self, cell: Cell, installation: InstallResult) -> DeepPart:
        files = self.subject(cell).digest
        return self.store.cells.deep_part(cell.id, installation.version, suite=self.suite, subject_digest=files)

    def _has_begun(self, cell: Cell, installation: InstallResult) -> bool:
        decision = self.decision(cell, installation)
        return isinstance(decision, Settled) or decision.why is not RetryReason.FIRST

    def _is_forced(self, cell: Cell, state: CycleState) -> bool:
        return self.request.force and cell in self.cells and cell.id not in state.probed

    def _with_control(self, installation: InstallResult, due: list[Cell], state: CycleState) -> list[Cell]:
        """Put the control first, so that its verdict is there when the others' failures are weighed."""
        control = self.control
        if control in due or self._retries(installation, [control]) or self._is_due(control, installation, state):
            return [control, *(cell for cell in due if cell != control)]
        return due

    def _probe_control_where_it_worked(self, installation: InstallResult, state: CycleState) -> CycleState:
        """Run a failing control in its last good environment: only if it works there, the release is to blame."""
        request = self.request
        control = verdicts.control_in(
            self.store, self.control, request.day, request.origin, environment=installation.key, suite=self.suite
        )
        if control is not Control.PENDING:
            return state
        good = self.store.last_good_environment(
            request.runtime, self.runner.platform, until=request.day, other_than=installation.key
        )
        if good is None:
            self._say("the control fails, and there is no environment yet in which it has worked")
            return state
        self._say(f"the control fails: probing it in {good.runtime} {good.version}, where it last worked")
        return self._run_elsewhere(installation, good, [self.control], Purpose.CONTROL, state)

    def _reprobe_for_a_new_suite(self, installation: InstallResult, state: CycleState) -> CycleState:
        """Repeat earlier verdicts with new probe code before that code may report a change."""
        last = verdicts.cells_to_reprobe(self.store, self.cells, self.request.day, suite=self.suite)
        by_environment: dict[str, list[Cell]] = {}
        for cell in self.cells:
            if cell.id in last:
                by_environment.setdefault(last[cell.id].digest, []).append(cell)
        for cells in by_environment.values():
            good = last[cells[0].id]
            self._say(f"the probes have changed: repeating {len(cells)} in {good.runtime} {good.version} first")
            state = self._run_elsewhere(installation, good, cells, Purpose.SUITE, state)
        return state

    def _run_elsewhere(
        self,
        installation: InstallResult,
        good: EnvironmentRecord,
        cells: list[Cell],
        purpose: Purpose,
        state: CycleState,
    ) -> CycleState:
        elsewhere = self.tools.installer.rebuild(good, installation.resolution_id)
        if isinstance(elsewhere, InstallFailure):
            self._say(f"that environment cannot be built again: {elsewhere.message[:200]}")
            return state
        return self.run(elsewhere, self.groups(cells, elsewhere), purpose, state)[1]

    def _record(
        self,
        cell: Cell,
        installation: InstallResult,
        purpose: Purpose = Purpose.PROBE,
        group: SessionGroup | None = None,
        turn: SubjectTurn | None = None,
    ) -> str:
        """Record a turn, or without one an installation that failed; return the run."""
        events = turn.events if turn else None
        detail = verdicts.record_run(
            self.store,
            RunRecord(
                cell=cell,
                resolution_id=installation.resolution_id,
                session_id=turn.session_id if turn else "",
                day=self.request.day,
                origin=self.request.origin,
                purpose=purpose,
                version=installation.version,
                fingerprint=self._fingerprint(cell, installation),
                # a session that fails to import has failed in a fresh process, whatever was to follow
                solo=group is None or group.solo or (events is not None and not imported(events.session)),
                started_at=self.runner.now(),
                limit_factor=group.limit_factor if group else 1,
                ending=turn.ending if turn else Ending(),
                events=events.raw if events else b"",
                session=events.session if events else None,
                installed=self.request.installed,
                deep=group is None or cell.id in group.deep,
            ),
        )
        if turn:
            verdict = detail.verdict
            self.runner.progress.subject_finished(
                cell.subject_id, str(verdict.verdict), verdict.reason, detail.row["seconds"]
            )
        return detail.id

    def _fingerprint(self, cell: Cell, installation: InstallResult) -> Fingerprint:
        return Fingerprint(installation.key, self.suite, self.subject(cell).digest)

    def _cell(self, subject: Subject) -> Cell:
        return Cell(subject.id, self.request.runtime, self.request.channel, self.runner.platform)

    def _say(self, sentence: str) -> None:
        self.runner.progress.message(sentence)


def imported(session: Session) -> bool:
    return any(check.outcome == "passed" for check in session.shared.finished)
