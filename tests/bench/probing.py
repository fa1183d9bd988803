"""How long a cycle of many architectures takes, against one container each, and against a bare script."""

from __future__ import annotations

import json
import os
import subprocess
import uuid
from pathlib import Path
from typing import TYPE_CHECKING

from containers.failures import InstallFailure
from containers.lock import parse_lock
from containers.recipes import RECIPES
from monitor import verdicts
from monitor.domain import Purpose
from monitor.runner.cycle import Cycle, CycleState
from monitor.runner.session import SessionSpec
from tests.bench.timing import Times, side_by_side, tell, tell_aim, timed, title

if TYPE_CHECKING:
    from collections.abc import Sequence

    from monitor.domain import Cell
    from monitor.runner.context import RunContext
    from monitor.runner.install import InstallResult
    from monitor.runner.parallel import SessionGroup
    from monitor.runner.request import ProbeRequest
    from monitor.runner.session import PreparedSubject
    from monitor.verdicts import RunDetail

REPEATS = 3
OVERHEAD_REPEATS = 5
SPEEDUP_AIM, FURTHER_AIM_S, OVERHEAD_AIM = 8, 0.5, 0.15
BARE = Path(__file__).with_name("bare.py")


class Probing:
    """The product's own sessions, with database and all, and the bare script beside them."""

    def __init__(self, context: RunContext, request: ProbeRequest) -> None:
        self.context, self.request, self._runs = context, request, [""]
        self._cycle = Cycle(context.runner, request)
        self.installation: InstallResult = self._cycle.install(CycleState())[0]
        self.cells = self._cycle.cells

    def rebuild(self) -> None:
        """Build the environment again, from the cache."""
        environment = self.installation.environment
        assert environment is not None
        self.context.environments.remove(environment.digest)
        built = self.context.environments.ensure(
            parse_lock(environment.lock_text, base_digest=self.context.base.digest)
        )
        assert not isinstance(built, InstallFailure), built.message

    def together(self, cells: Sequence[Cell]) -> None:
        self._run(self._cycle.groups(cells, self.installation))

    def alone(self, cell: Cell) -> None:
        self._run([self._cycle.group([cell], self.installation, solo=True)])

    def _run(self, groups: list[SessionGroup]) -> None:
        self._runs += self._cycle.run(self.installation, groups, Purpose.PROBE, CycleState())[0].runs

    def bare(self, cells: Sequence[Cell]) -> dict[str, str]:
        """Run the checks in a plain process of this machine, in the same environment; return what came of each."""
        environment = self.installation.environment
        assert environment is not None
        request = self._cycle.tools.session_runner.request(self._spec(cells))
        for given, cell in zip(request["subjects"], cells, strict=True):
            given["path"] = str(self._prepared(cell).path)
        file = self.context.config.home / "bare.json"
        file.write_text(json.dumps(request), encoding="utf-8")
        answer = subprocess.run(
            [f"{environment.path}/bin/python", "-I", str(BARE), str(self.context.bundle), str(file)],
            env={"PATH": os.environ["PATH"], **RECIPES[self.request.runtime].environment},
            capture_output=True,
            text=True,
            check=False,
        )
        assert answer.returncode == 0, answer.stderr[-2000:]
        outcomes: dict[str, str] = json.loads(answer.stdout)
        return outcomes

    def last_run(self, cell: Cell) -> RunDetail:
        run = verdicts.run_detail(self.context.store, self._runs[-1])
        assert run.row["cell_id"] == cell.id
        return run

    def recorded(self, cell: Cell) -> dict[str, str]:
        """Return what came of each check of a cell's last run."""
        checks = self.last_run(cell).checks
        return {f"{cell.subject_id} {check.name}": str(check.outcome) for check in checks if check.rung > 0}

    def _prepared(self, cell: Cell) -> PreparedSubject:
        return self._cycle.runner.prepare_subject(self._cycle.subject(cell), self.request)

    def _spec(self, cells: Sequence[Cell]) -> SessionSpec:
        assert self.installation.environment is not None
        return SessionSpec(
            id=uuid.uuid4().hex,
            runtime=self.request.runtime,
            version=self.installation.version,
            environment=self.installation.environment,
            prepared_subjects=tuple(map(self._prepared, cells)),
            solo=True,
        )


def measure_cycle(probing: Probing) -> None:
    cells = probing.cells
    title(f"a cycle of {len(cells)} architectures, checks of rungs 0 to 4")
    probing.together(cells[:1])  # the files are in memory from here on
    one, many = side_by_side(REPEATS, lambda: probing.together(cells[:1]), lambda: probing.together(cells))
    each = Times(tuple(timed(lambda cell=cell: probing.alone(cell)) for cell in cells))  # type: ignore[misc]
    one_by_one = sum(each.seconds)
    further = (many.median - one.median) / (len(cells) - 1)
    tell("one container and process for each, added up", f"{one_by_one:.1f} s")
    tell("  of these one took", str(each))
    tell("sessions side by side, primed parents, forks", str(many))
    tell("  with a single model", str(one))
    speedup = one_by_one / many.median
    tell_aim("one by one / together", speedup, f"at least {SPEEDUP_AIM}", met=speedup >= SPEEDUP_AIM)
    tell_aim("seconds a further model", further, f"at most {FURTHER_AIM_S}", met=further <= FURTHER_AIM_S)


def measure_overhead(probing: Probing) -> None:
    first, cells = probing.cells[0], probing.cells
    title("overhead of container, daemon and database over a bare script with the same checks")
    outcomes = probing.bare([first])
    probing.alone(first)
    assert probing.recorded(first) == outcomes, "the bare script does not run the same checks"
    bare, cell = side_by_side(OVERHEAD_REPEATS, lambda: probing.bare([first]), lambda: probing.alone(first))
    bare_many, many = side_by_side(REPEATS, lambda: probing.bare(cells), lambda: probing.together(cells))
    tell("bare script, one model", str(bare))
    tell("a cell of its own", str(cell))
    overhead = cell.median / bare.median - 1
    tell_aim("overhead of a cell", overhead, f"below {OVERHEAD_AIM}", met=overhead < OVERHEAD_AIM)
    tell(f"bare script, {len(cells)} models in one process", str(bare_many))
    tell(f"a cycle of {len(cells)}, a process each", str(many))
    tell("overhead of the cycle", f"{many.median / bare_many.median - 1:.2f}")
