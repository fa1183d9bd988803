"""Pins what the reference answers for a subject's files, and finds where other runtimes put it in doubt."""

from __future__ import annotations

from typing import TYPE_CHECKING

from monitor.domain import REFERENCE, CellVerdict, Origin, Runtime
from monitor.judge.parity import TRACE, compared_of, doubt, trace_of

if TYPE_CHECKING:
    from monitor.judge.parity import Compared
    from monitor.store import RunRecord
    from monitor.store.cell_writing import CellsWriter
    from monitor.store.cells import Cells
    from monitor.verdicts.details import RunDetail


def pin_golden(cells: CellsWriter, run: RunRecord, detail: RunDetail) -> None:
    """Pin the first trace of a reference in which these files work; an older release is no reference for today."""
    if run.cell.runtime is not REFERENCE or run.origin is not Origin.LIVE:
        return
    trace = trace_of(detail.facts.get(TRACE))
    if trace is not None and detail.verdict.verdict is CellVerdict.WORKS:
        cells.pin_golden(run, trace)


def doubt_about(cells: Cells, subject_digest: str) -> str:
    """Return which families agree with each other against the reference about these files, "" where no two do."""
    answers: dict[str, Compared] = {}
    allowed = 0.0
    for runtime, value, evidence in cells.differing_answers(subject_digest):
        answer = compared_of(value)
        if answer is not None:
            answers[Runtime(runtime).record.family] = answer  # the latest of each family
            limit = evidence.get("allowed")
            allowed = max(allowed, float(limit) if isinstance(limit, int | float) else 0.0)
    return doubt(answers, allowed)
