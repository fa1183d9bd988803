"""Records runs and carried days, and judges again what they change, each in one transaction."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from monitor.domain import CellVerdict, Origin
from monitor.judge.checks import checks_of as asked_of
from monitor.store.cell_writing import run_id
from monitor.store.traces import Files
from monitor.verdicts.days import carriable_from, rebuild_answer, rebuild_days, rebuild_files
from monitor.verdicts.details import RunDetail, run_detail
from monitor.verdicts.reference import keep_answer, pin_golden, ruling_on
from monitor.verdicts.rejudge import checks_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import date

    from monitor.domain import Cell
    from monitor.judge.days import Fingerprint
    from monitor.judge.observations import SubjectNotes
    from monitor.store import RunRecord, Store


class Carried(NamedTuple):
    cells: tuple[str, ...]  # whose verdict stands
    new_days: int


def record_run(store: Store, run: RunRecord) -> RunDetail:
    """Record one run with its checks and facts, and judge its day again, all in one transaction.

    Recording the same run twice changes nothing. The events reach the disk first: what the database names is there.
    """
    events_digest = store.events.keep(run.events)
    subject = run.session.subjects[run.cell.subject_id] if run.session else None
    name, cells = run_id(run), store.cells
    with store.atomic():
        if cells.write_run(run, seconds=subject.seconds if subject else 0.0, events_digest=events_digest):
            asked = asked_of(run.cell.runtime, deep=run.deep)
            cells.replace_checks(name, checks_of(cells.recorded_run(name), run.session, asked=asked))
            revised = False
            if run.session and subject:
                cells.write_facts(name, (*run.session.shared.facts, *subject.facts))
                revised = _keep_answer(store, run, name, subject)
            if revised:
                rebuild_files(store.cells, run.fingerprint.subject)
            _rebuild_after(store, run)
            detail = run_detail(store, name)
            pin_golden(cells, run)
            if detail.verdict.verdict is CellVerdict.WORKS:
                store.published.qualify(run.cell.subject_id, run.fingerprint.subject)
    return run_detail(store, name)


def carry(
    store: Store,
    cells: Iterable[Cell],
    days: Sequence[date],
    origin: Origin,
    *,
    resolution_id: str,
    fingerprints: Mapping[str, Fingerprint],
) -> Carried:
    """Carry the cells whose fingerprint, by cell id, is that of an earlier settled day, over days in a row."""
    carried, new_days = [], 0
    with store.atomic():
        for cell in cells:
            source = carriable_from(store.cells, cell.id, days[0], origin, fingerprints[cell.id])
            if source is None:
                continue
            written = sum(store.cells.write_carry(cell.id, day, origin, resolution_id, source=source) for day in days)
            if written:
                rebuild_days(store.cells, cell.id, since=days[0])
            carried.append(cell.id)
            new_days += written
    return Carried(tuple(carried), new_days)


def _keep_answer(store: Store, run: RunRecord, name: str, notes: SubjectNotes) -> bool:
    """Keep what the run answered; return whether that changes the verdict on other answers."""
    cells, files = store.cells, Files(run.fingerprint.subject, str(run.cell.platform))
    before = ruling_on(cells, files)
    if not keep_answer(cells, name, notes, cells.checks_of(name)):
        return False
    after = ruling_on(cells, files)
    return any(after.of(answer) is not standing for answer, standing in before.by_answer.items())


def _rebuild_after(store: Store, run: RunRecord) -> None:
    """Judge again what this run can have changed."""
    control = store.subject(run.cell.subject_id).control
    for cell_id in sorted(store.cells.affected_by(run, control=control)):
        if run.origin is Origin.ADHOC:
            rebuild_answer(store.cells, cell_id, run.version, run.installed)
        else:
            rebuild_days(store.cells, cell_id, since=run.day)
