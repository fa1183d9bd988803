"""Collects what the page of one cell shows: its last run with checks and log, its setbacks, and its calendar."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import date, timedelta
from typing import TYPE_CHECKING

from monitor import verdicts
from monitor.domain import CellVerdict, Outcome
from monitor.errors import SettleError, UsageError
from monitor.report.evidence import log_of
from monitor.report.format import day_letter
from monitor.report.reproduce import script
from monitor.site.render import clipped, tail
from monitor.stability.values import Span

if TYPE_CHECKING:
    from collections.abc import Sequence

    from monitor.domain import CheckResult
    from monitor.judge.lock_diff import Moved
    from monitor.report.evidence import DayChange, DayEvidence, Evidence
    from monitor.site.content import SiteCell
    from monitor.stability.values import Observation, Setback
    from monitor.store import Reader

LOG_LINES, LINE_CHARS = 40, 400
EVIDENCE_CHARS, MESSAGE_CHARS = 4_000, 600
MOST_CHANGES = 60
MOST_MONTHS = 24  # on a page; the model's JSON has every day
_LONGEST_MONTH = 31
_CLASSES = {CellVerdict.WORKS: "w", CellVerdict.BROKEN: "b", CellVerdict.FLAKY: "f", CellVerdict.UNKNOWN: "u"}


@dataclass(frozen=True, slots=True)
class CheckRow:
    """One check of the run; ``evidence`` is "" where the check passed or has none."""

    name: str
    rung: str
    outcome: str
    fault: str
    message: str
    seconds: float
    evidence: str


@dataclass(frozen=True, slots=True)
class SetbackEvidence:
    setback: Setback
    broken: DayEvidence | None
    moved: Sequence[Moved]


@dataclass(frozen=True, slots=True)
class CellDetails:
    checks: tuple[CheckRow, ...]  # those that were reached
    not_reached: int
    log: str
    log_before: int  # lines that are left out
    differs: Sequence[Moved]  # from the lock in which it last worked
    setbacks: tuple[SetbackEvidence, ...]  # the newest first
    changes: tuple[DayChange, ...]  # the newest first
    earlier: int  # changes that are left out
    solo: bool
    ruling: str  # which of all answers over the same files are right, where there is something to say


@dataclass(frozen=True, slots=True)
class Month:
    """A row of a calendar; ``cells`` is markup of our letters only, because a template is too slow for every day."""

    name: str
    cells: str


def details_of(store: Reader, evidence: Evidence, cell: SiteCell) -> CellDetails:
    cell_id, good = cell.line.track.cell, cell.good
    run = store.site.run(cell.latest.run)
    reached = [check for check in run.checks if check.outcome is not Outcome.NOT_REACHED]
    try:
        log = log_of(store, run.log, cell_id)
    except SettleError as error:  # a damaged log file must not cost the whole site
        log = str(error)
    log, before = tail(log, lines=LOG_LINES, chars=LINE_CHARS)
    differs = evidence.between(cell_id, Span(good.day, cell.latest.day))[1] if good and not cell.works else ()
    changes = evidence.changes(cell_id)[::-1]
    return CellDetails(
        checks=tuple(map(_check_row, reached)),
        not_reached=len(run.checks) - len(reached),
        log=log,
        log_before=before,
        differs=differs,
        setbacks=tuple(
            SetbackEvidence(setback, *evidence.between(cell_id, setback.began))
            for setback in cell.line.answer.setbacks[::-1]
        ),
        changes=tuple(changes[:MOST_CHANGES]),
        earlier=max(0, len(changes) - MOST_CHANGES),
        solo=run.solo,
        ruling=verdicts.ruling_of(store, cell.latest.run),
    )


def _check_row(check: CheckResult) -> CheckRow:
    failed = check.evidence and check.outcome is not Outcome.PASSED
    return CheckRow(
        name=check.name,
        rung=str(check.rung),
        outcome=str(check.outcome),
        fault=" ".join(filter(None, [check.fault, f"({check.blame})" if check.blame else ""])),
        message=clipped(check.message, MESSAGE_CHARS),
        seconds=check.seconds,
        evidence=clipped(json.dumps(check.evidence, indent=1), EVIDENCE_CHARS) if failed else "",
    )


def reproducing(store: Reader, cell: SiteCell) -> str | None:
    """Return the script that repeats the cell's last run, None where its request is no longer stored."""
    try:
        return script(store, verdicts.run_detail(store, cell.latest.run))
    except UsageError:
        return None


def worth_a_script(cells: Sequence[SiteCell], *, most: int) -> list[SiteCell]:
    """Return the failing cells that were measured last: a script carries all probes, so only few get one."""
    failing = [cell for cell in cells if cell.latest.verdict in (CellVerdict.BROKEN, CellVerdict.FLAKY)]
    return sorted(failing, key=lambda cell: (cell.latest.measured, cell.page), reverse=True)[:most]


def _class_of(observation: Observation | None) -> str:
    if observation is None:
        return "m"
    return "n" if observation.wrong_numbers else _CLASSES[observation.verdict]


def calendar(observations: Sequence[Observation], released: date | None) -> list[Month]:
    """Return the newest months, oldest first, with a letter for each day and a mark on the release day."""
    by_day = {observation.day: observation for observation in observations}
    first, last = observations[0].day, observations[-1].day
    squares: dict[str, list[str]] = {}
    day = first.replace(day=1)
    while day <= last:
        observation = by_day.get(day)
        square = "<td></td>"
        if day >= first:
            classes = _class_of(observation)
            classes += " released" if day == released else ""
            square = f'<td class="{classes}">{day_letter(observation)}</td>'
        squares.setdefault(f"{day:%Y-%m}", []).append(square)
        day += timedelta(days=1)
    months = list(squares.items())[-MOST_MONTHS:]
    return [Month(name, "".join(days) + "<td></td>" * (_LONGEST_MONTH - len(days))) for name, days in months]
