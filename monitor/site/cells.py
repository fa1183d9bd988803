"""Looks closely at one cell: its last run with checks, evidence and log, and the way back to what worked."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from monitor import verdicts
from monitor.domain import CellVerdict, Outcome
from monitor.errors import SettleError, UsageError
from monitor.report.log import log_of
from monitor.report.reproduce import script
from monitor.site.text import clipped, tail
from monitor.stability.values import Span

if TYPE_CHECKING:
    from collections.abc import Sequence

    from monitor.domain import CheckResult
    from monitor.judge.lock_diff import Moved
    from monitor.report.evidence import Change, Evidence, Told
    from monitor.site.content import Entry
    from monitor.stability.values import Setback
    from monitor.store import Reader

LOG_LINES, LINE_CHARS = 40, 400
EVIDENCE_CHARS, MESSAGE_CHARS = 4_000, 600
MOST_CHANGES = 60


@dataclass(frozen=True, slots=True)
class Seen:
    """A check of the run; its evidence as text, "" where it passed or has none."""

    name: str
    rung: str
    outcome: str
    fault: str
    message: str
    seconds: float
    evidence: str


@dataclass(frozen=True, slots=True)
class Fall:
    """A setback with what moved in the lock when it began."""

    setback: Setback
    told: Told | None
    moved: Sequence[Moved]


@dataclass(frozen=True, slots=True)
class Look:
    entry: Entry
    checks: tuple[Seen, ...]  # those that were reached
    not_reached: int
    log: str
    log_before: int  # lines that are left out
    away: Sequence[Moved]  # what differs from the lock in which it worked last
    falls: tuple[Fall, ...]  # the newest first
    changes: tuple[Change, ...]  # the newest first
    earlier: int  # changes that are left out
    solo: bool


def look_at(store: Reader, evidence: Evidence, entry: Entry) -> Look:
    track = entry.line.track
    run = store.failure_queries.run(entry.latest.run)
    reached = [check for check in run.checks if check.outcome is not Outcome.NOT_REACHED]
    log, before = tail(_log(store, run.log, track.cell), lines=LOG_LINES, chars=LINE_CHARS)
    good = entry.good
    away = evidence.between(track, Span(good.day, entry.latest.day))[1] if good and not entry.works else ()
    changes = evidence.changes(track.cell)[::-1]
    return Look(
        entry=entry,
        checks=tuple(_seen(reached)),
        not_reached=len(run.checks) - len(reached),
        log=log,
        log_before=before,
        away=away,
        falls=tuple(Fall(one, *evidence.of_setback(track, one)) for one in entry.line.answer.setbacks[::-1]),
        changes=tuple(changes[:MOST_CHANGES]),
        earlier=max(0, len(changes) - MOST_CHANGES),
        solo=run.solo,
    )


def reproducing(store: Reader, entry: Entry) -> str | None:
    """Return the script that repeats the cell's last run, or None where what it was asked is not kept."""
    try:
        return script(store, verdicts.run_detail(store, entry.latest.run))
    except UsageError:
        return None


def worth_a_script(entries: Sequence[Entry], *, most: int) -> list[Entry]:
    """Return the cells whose script is written: it carries all probes, so only where something is to be looked into."""
    failing = [one for one in entries if one.latest.verdict in (CellVerdict.BROKEN, CellVerdict.FLAKY)]
    return sorted(failing, key=lambda one: (one.latest.measured, one.page), reverse=True)[:most]


def _log(store: Reader, digest: str, cell: str) -> str:
    try:
        return log_of(store, digest, cell)
    except SettleError as error:  # one damaged log file must not cost the whole site
        return str(error)


def _seen(checks: Sequence[CheckResult]) -> list[Seen]:
    return [
        Seen(
            name=check.name,
            rung=str(check.rung),
            outcome=str(check.outcome),
            fault=" ".join(filter(None, [check.fault, f"({check.blame})" if check.blame else ""])),
            message=clipped(check.message, MESSAGE_CHARS),
            seconds=check.seconds,
            evidence=clipped(json.dumps(check.evidence, indent=1), EVIDENCE_CHARS)
            if check.evidence and check.outcome is not Outcome.PASSED
            else "",
        )
        for check in checks
    ]
