"""One run with everything that belongs to it, and what it says by itself."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING, Any

from monitor.domain import CellVerdict, CheckResult, Origin
from monitor.judge.days import control_key
from monitor.judge.parity import differs_from_reference
from monitor.judge.verdict import Circumstances, judge_run
from monitor.store.rows import fingerprint
from monitor.verdicts.days import control_at, note_on_run
from monitor.verdicts.reference import doubt_about, ruled_checks

if TYPE_CHECKING:
    from collections.abc import Mapping

    from monitor.domain import RunVerdict
    from monitor.store import Reader


@dataclass(frozen=True, slots=True)
class RunDetail:
    """A run with everything that belongs to it; ``verdict`` is that of this run alone."""

    id: str
    row: Mapping[str, Any]
    checks: tuple[CheckResult, ...]
    verdict: RunVerdict
    note: str  # that its values have changed, which is no verdict
    cause: str  # why its numbers differ from the reference's, where they do and the cause is known
    ruling: str  # which of all answers over its files are right, where there is something to say
    facts: Mapping[str, Any]
    resolution: Mapping[str, Any]
    session: Mapping[str, Any] | None
    ending: Mapping[str, Any] | None  # of the session; None while it goes on, and when it was interrupted


def run_detail(store: Reader, name: str) -> RunDetail:
    """Return the run whose id begins with ``name``, if just one does."""
    cells = store.cells
    row = cells.run(name)
    run, cell, day, compared = row["id"], row["cell_id"], date.fromisoformat(row["day"]), fingerprint(row)
    subject, runtime = cells.subject_and_runtime(cell)
    checks, decided = ruled_checks(cells, row, cells.checks_of(run))
    control = control_at(cells, cell, control_key(day, Origin(row["origin"]), compared))
    circumstances = Circumstances(subject, runtime, row["version"], control, doubt=doubt_about(cells, compared.subject))
    verdict = judge_run(checks, circumstances)
    resolution, session, ending = cells.surroundings(row)
    return RunDetail(
        id=run,
        row=row,
        checks=checks,
        verdict=verdict,
        note=note_on_run(cells, run, cell, day, compared) if verdict.verdict is CellVerdict.WORKS else "",
        cause=store.parity_cause(runtime, subject.architecture) if differs_from_reference(checks) else "",
        ruling=decided,
        facts=cells.facts(run),
        resolution=resolution,
        session=session,
        ending=ending,
    )
