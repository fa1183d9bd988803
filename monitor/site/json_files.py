"""Says what the pages say in JSON, for programs; pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from monitor.report.format import LETTERS
from monitor.site import names
from monitor.stability.values import Span

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import date

    from monitor.site.content import Atlas, Entry, Subject
    from monitor.stability.values import Observation, Stabilization

FORM = 1  # grows when something that was there means something else or is gone


def status(atlas: Atlas) -> dict[str, Any]:
    """Return how everything stands, in short; each model has a file of its own."""
    return {
        "form": FORM,
        "through": atlas.through.isoformat(),
        "histories": [
            {
                "name": history.name,
                "runtime": str(history.summary.lines[0].track.runtime),
                "version": history.version,
                "through": history.through.isoformat(),
                "verdicts": dict(sorted(history.verdicts.items())),
                "standings": dict(sorted(history.standings.items())),
            }
            for history in atlas.histories
        ],
        "models": {
            subject.id: {
                "file": names.model_json(subject.model),
                "released": _day(subject.track.released),
                "cells": {
                    name: {
                        "verdict": entry.latest.verdict,
                        "rung": entry.latest.rung or None,
                        "standing": str(entry.line.answer.standing),
                        "version": entry.latest.version,
                    }
                    for name, entry in subject.cells.items()
                },
            }
            for subject in atlas.subjects
        },
    }


def model(subjects: Sequence[Subject]) -> dict[str, Any]:
    """Return everything about one model; ``subjects`` are the forms and parts of it that are probed."""
    track = subjects[0].track
    return {
        "form": FORM,
        "id": track.subject.model_id,
        "family": track.family,
        "organisation": track.organisation,
        "architecture": track.subject.architecture,
        "kind": str(track.kind),
        "released": _day(track.released),
        "released_source": track.released_source,
        "cells": [_cell(name, entry) for subject in subjects for name, entry in subject.cells.items()],
    }


def _cell(history: str, entry: Entry) -> dict[str, Any]:
    latest, answer, track, good = entry.latest, entry.line.answer, entry.line.track, entry.good
    return {
        "subject": entry.subject,
        "history": history,
        "runtime": str(track.runtime),
        "channel": str(track.channel),
        "platform": str(track.platform),
        "day": latest.day.isoformat(),
        "measured": latest.measured.isoformat(),
        "version": latest.version,
        "verdict": latest.verdict,
        "rung": latest.rung or None,
        "reason": latest.reason,
        "blame": latest.blame or None,
        "rungs": {str(rung): str(verdict) for rung, (verdict, _) in entry.rungs.items()},
        "standing": str(answer.standing),
        "works": _event(answer.works, answer),
        "stable": _event(answer.stable.span, answer),
        "established": _event(answer.established.span, answer),
        "lead_days": answer.lead,
        "setbacks": len(answer.setbacks),
        "regressions": len(answer.regressions),
        "known_good": good and {
            "version": good.version,
            "day": good.day.isoformat(),
            "lock": names.lock_file(good.environment),
        },
        "page": entry.page,
        "first": track.observations[0].day.isoformat(),
        "days": _strip(track.observations),
    }  # fmt: skip


def _event(span: Span, answer: Stabilization) -> dict[str, Any]:
    """Return the days (after, by] on which something happened, and how many days from the release that is."""
    known = answer.released is not None and span != Span(None, None)
    first, last = span.days(answer.released) if known and answer.released else (None, None)
    return {"after": _day(span.after), "by": _day(span.by), "days_from": first, "days_to": last}


def _strip(observations: Sequence[Observation]) -> str:
    """Return a letter a day from the first on, as the pages show them."""
    first, last = observations[0].day, observations[-1].day
    letters = ["."] * ((last - first).days + 1)
    for one in observations:
        letter = LETTERS[one.verdict]
        letters[(one.day - first).days] = letter.lower() if one.carried else letter
    return "".join(letters)


def _day(day: date | None) -> str | None:
    return day.isoformat() if day else None
