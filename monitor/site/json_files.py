"""Writes the content of the pages as JSON, for programs; pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from monitor.report.format import day_letter
from monitor.site import names
from monitor.stability.values import Span

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import date

    from monitor.site.content import Content, SiteCell, SubjectRow
    from monitor.stability.values import Observation, Stabilization

FORM = 1  # of the JSON files; grows when a field changes its meaning or is gone


def status_json(content: Content) -> dict[str, Any]:
    """Return the standing of every cell in short; each model has its own file."""
    return {
        "form": FORM,
        "through": content.through.isoformat(),
        "histories": [
            {
                "name": column.name,
                "runtime": str(column.summary.lines[0].track.runtime),
                "version": column.version,
                "through": column.through.isoformat(),
                "asked": column.asked,
                "verdicts": dict(sorted(column.verdicts.items())),
                "wrong_numbers": column.wrong_numbers,
                "standings": dict(sorted(column.by_standing.items())),
            }
            for column in content.every_column
        ],
        "models": {
            row.id: {
                "file": names.model_json(row.model),
                "released": _day(row.track.released),
                "cells": {
                    name: {
                        "verdict": cell.latest.verdict,
                        "shown": cell.shown,
                        "above_the_bar": cell.above_the_bar,
                        "rung": cell.latest.rung or None,
                        "standing": str(cell.line.answer.standing),
                        "version": cell.latest.version,
                        "in_doubt": cell.in_doubt,
                    }
                    for name, cell in row.cells.items()
                },
            }
            for row in content.rows
        },
    }


def model_json(rows: Sequence[SubjectRow]) -> dict[str, Any]:
    """Return everything about one model; ``rows`` are its probed forms and parts."""
    track = rows[0].track
    return {
        "form": FORM,
        "id": track.subject.model_id,
        "family": track.family,
        "organisation": track.organisation,
        "architecture": track.subject.architecture,
        "kind": str(track.kind),
        "released": _day(track.released),
        "created": _day(track.created),
        "released_source": track.released_source,
        "released_kind": track.released_kind,
        "released_confidence": track.released_confidence,
        "cells": [_cell(name, cell) for row in rows for name, cell in row.cells.items()],
    }


def _cell(column: str, cell: SiteCell) -> dict[str, Any]:
    latest, answer, track, good = cell.latest, cell.line.answer, cell.line.track, cell.good
    return {
        "subject": cell.subject,
        "history": column,
        "runtime": str(track.runtime),
        "channel": str(track.channel),
        "platform": str(track.platform),
        "day": latest.day.isoformat(),
        "measured": latest.measured.isoformat(),
        "version": latest.version,
        "verdict": latest.verdict,
        "shown": cell.shown,
        "above_the_bar": cell.above_the_bar,
        "rung": latest.rung or None,
        "reason": latest.reason,
        "blame": latest.blame or None,
        "rungs": {str(rung): str(verdict) for rung, (verdict, _) in cell.rungs.items()},
        "standing": str(answer.standing),
        "works": _event(answer.works, answer),
        "stable": _event(answer.stable.span, answer),
        "established": _event(answer.established.span, answer),
        "lead_days": answer.lead,
        "doubts": [
            {
                "first": doubt.first.isoformat(),
                "last": _day(doubt.last),
                "doubted": str(doubt.doubted),
                "instead": doubt.instead,
                "doubt": doubt.finding,
            }
            for doubt in cell.line.doubts
        ],
        "setbacks": len(answer.setbacks),
        "regressions": len(answer.regressions),
        "known_good": good and {
            "version": good.version,
            "day": good.day.isoformat(),
            "lock": names.lock_file(good.environment),
        },
        "by_release": [_by_release(row) for row in cell.by_release],
        "page": cell.page,
        "first": track.observations[0].day.isoformat(),
        "days": _letters(track.observations),
    }  # fmt: skip


def _by_release(row: Mapping[str, Any]) -> dict[str, Any]:
    names = ("version", "installed", "day", "verdict", "rung", "blame", "torch", "transformers", "matches", "run")
    return {name: row[name] for name in names}


def _event(span: Span, answer: Stabilization) -> dict[str, Any]:
    """Return the days (after, by] in which the event lies, and how many days from the release that is."""
    known = answer.released is not None and span != Span(None, None)
    first, last = span.days(answer.released, answer.created) if known and answer.released else (None, None)
    return {"after": _day(span.after), "by": _day(span.by), "days_from": first, "days_to": last}


def _letters(observations: Sequence[Observation]) -> str:
    """Return a letter for each day from the first on."""
    first, last = observations[0].day, observations[-1].day
    letters = ["."] * ((last - first).days + 1)
    for observation in observations:
        letters[(observation.day - first).days] = day_letter(observation)
    return "".join(letters)


def _day(day: date | None) -> str | None:
    return day.isoformat() if day else None
