"""Pins what the reference says of a subject's files, and finds where others put it in doubt."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from monitor.domain import REFERENCE, CellVerdict, Origin, Runtime
from monitor.judge.parity import HEARD, MATCHES, TRACE, doubt, heard_of, trace_of
from monitor.store.rows import rows

if TYPE_CHECKING:
    from sqlite_utils import Database

    from monitor.judge.parity import Heard
    from monitor.store.details import RunDetail
    from monitor.store.records import RunRecord


def pin_golden(db: Database, one: RunRecord, detail: RunDetail) -> None:
    """Pin the first trace of a reference in which these files work; an older release is no reference for today."""
    if one.cell.runtime is not REFERENCE or one.origin is not Origin.LIVE:
        return
    trace = trace_of(detail.facts.get(TRACE))
    if trace is None or detail.verdict.verdict is not CellVerdict.WORKS:
        return
    db.execute(
        "INSERT OR IGNORE INTO goldens VALUES (?, ?, ?, ?, ?, ?)",
        (
            one.fingerprint.subject,
            str(REFERENCE),
            one.version,
            one.day.isoformat(),
            detail.id,
            json.dumps(trace),
        ),
    )


def golden_trace(db: Database, subject_digest: str, *, whole: bool) -> dict[str, Any] | None:
    """Return the pinned trace with whose it is; without its prompts for who does not compare with it."""
    found = rows(db, "SELECT * FROM goldens WHERE subject_digest = ?", (subject_digest,))
    if not found:
        return None
    named = {key: found[0][key] for key in ("runtime", "version", "day")}
    return {**named, **(json.loads(found[0]["trace"]) if whole else {})}


def doubts(db: Database, subject_digests: set[str]) -> dict[str, str]:
    """Return, by the digest of a subject's files, which families agree with each other against the reference."""
    found = {digest: doubt_about(db, digest) for digest in subject_digests}
    return {digest: why for digest, why in found.items() if why}


def doubt_about(db: Database, subject_digest: str) -> str:
    """Return which families agree with each other against the reference about these files, "" where no two do."""
    heard: dict[str, Heard] = {}
    allowed = 0.0
    for row in rows(
        db,
        "SELECT cells.runtime, facts.value, checks.evidence FROM runs JOIN cells ON cells.id = runs.cell_id"  # noqa: S608 - the constant
        f" JOIN facts ON facts.run_id = runs.id AND facts.name = '{HEARD}'"  # spelt out, or its index is not used
        " JOIN checks ON checks.run_id = runs.id AND checks.name = ?"
        " WHERE runs.subject_digest = ? ORDER BY runs.started_at, runs.rowid",
        (MATCHES, subject_digest),
    ):
        said = heard_of(json.loads(row["value"]))
        if said is not None:
            heard[Runtime(row["runtime"]).record.family] = said  # the latest of each family
            allowed = max(allowed, _allowed(row["evidence"]))
    return doubt(heard, allowed)


def _allowed(evidence: str | None) -> float:
    told = json.loads(evidence or "{}").get("allowed")
    return float(told) if isinstance(told, int | float) else 0.0
