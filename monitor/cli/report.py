"""`settle report` and `settle release`: times to support over many models, and the changes of one release."""

from __future__ import annotations

from dataclasses import asdict, astuple, dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from monitor.cli.arguments import past_day, runtime_and_version
from monitor.cli.root import JSON, Options, examples
from monitor.domain import HubName, Rung, Runtime, version_order
from monitor.errors import UnknownName, UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from monitor.report.summary import Line, Summary
    from monitor.store import Reader, Track

_RUNGS = [str(rung) for rung in Rung]
MARKDOWN = click.option("--markdown", "as_markdown", is_flag=True, help="Print Markdown.")


@click.command(
    epilog=examples(
        "settle report",
        'settle report "Gemma 4"',
        "settle report --from 2026-01-01 --to 2026-06-30 --markdown > half-a-year.md",
        "settle report --rung generates",
        "settle report --csv > models.csv",
    )
)
@click.argument("models", metavar="[MODEL]...", nargs=-1)
@click.option("--runtime", help="Only this runtime.")
@click.option("--rung", type=click.Choice(_RUNGS), help="Time to this rung instead of the bar (installs to speaks).")
@click.option("--from", "first", metavar="DAY", help="Only models released on or after this day.")
@click.option("--to", "last", metavar="DAY", help="Only the history up to this day.")
@MARKDOWN
@JSON
@click.option("--csv", "as_csv", is_flag=True, help="Print CSV, with a row per subject.")
@click.pass_obj
def report(
    options: Options,
    *,
    models: tuple[str, ...],
    runtime: str | None,
    rung: str | None,
    first: str | None,
    last: str | None,
    as_markdown: bool,
    as_json: bool,
    as_csv: bool,
) -> None:
    """Report how long models take to work and to become stable, with the limits of each number.

    Days from a model's release to the first working day and to stable support, as distributions with intervals; a line
    per model; architectures without a sourced release day; every setback and regression.
    """
    from monitor.cli.output import write_csv, write_json, write_markdown, write_sections
    from monitor.report.format import Section
    from monitor.store import open_reader
    from monitor.store.shipped import kept_answer

    chosen = _Chosen(models, runtime, rung, first, last)
    if not as_json and not as_csv:
        write = write_markdown if as_markdown else write_sections
        sections = kept_answer(options.home, ["report", *astuple(chosen)], lambda: _sections(options.home, chosen))
        write(Section(**section) for section in sections)
        return
    with open_reader(options.home) as store:
        summaries = _summaries(store, chosen)
        if as_json:
            write_json([_as_json(store, summary) for summary in summaries])
        else:
            rows = [_row(summary, line) for summary in summaries for line in summary.lines]
            write_csv(list(rows[0]), [list(row.values()) for row in rows])


@dataclass(frozen=True, slots=True)
class _Chosen:
    models: tuple[str, ...]
    runtime: str | None
    rung: str | None
    first: str | None
    last: str | None


def _summaries(store: Reader, chosen: _Chosen) -> list[Summary]:
    from monitor.report.by_release import read_by_release
    from monitor.report.summary import rung_tracks, summaries

    today = datetime.now(UTC).date()
    columns = {"runtime": str(runtime_and_version(chosen.runtime)[0])} if chosen.runtime else {}
    tracks = store.tracks(rung=Rung[chosen.rung.upper()] if chosen.rung else None, **columns)
    if chosen.rung and not tracks:
        raise UsageError(f"no run has measured the rung {chosen.rung}", hint="`settle status` shows the measured rungs")
    if chosen.runtime and not tracks:
        raise UsageError(f"the history has no results of {chosen.runtime}", hint="`settle status` shows all results")
    tracks = _tracks_named(tracks, chosen.models)
    through = past_day(chosen.last, today) if chosen.last else max(track.observations[-1].day for track in tracks)
    rungs = [] if chosen.rung else rung_tracks(store, tracks, through)
    first = past_day(chosen.first, today) if chosen.first else None
    known = read_by_release(store, **columns).observations
    if result := summaries(tracks, through, first=first, rungs=rungs, by_release=known):
        return result
    raise UsageError(f"no model in the history was released on or after {chosen.first}", hint="leave out --from")


def _sections(home: Path, chosen: _Chosen) -> list[dict[str, Any]]:
    from monitor.report.sections import side_by_side, summary_sections
    from monitor.store import open_reader

    with open_reader(home) as store:
        summaries = _summaries(store, chosen)
        compared = [side_by_side(summaries)] if len(summaries) > 1 else []
        sections = (section for summary in summaries for section in summary_sections(store, summary))
        return [asdict(section) for section in (*compared, *sections)]


@click.command(
    epilog=examples("settle release 5.2.0", "settle release transformers==5.5.0", "settle release 5.2.0 --json")
)
@click.argument("version")
@MARKDOWN
@JSON
@click.pass_obj
def release(options: Options, *, version: str, as_markdown: bool, as_json: bool) -> None:
    """Show the verdicts that one release changed: on the last day before it and the first day with it.

    Where the history does not have both, results of pinned versions are compared with those of the release before.
    """
    from monitor.cli.output import write_json, write_markdown, write_sections
    from monitor.report.release import effects, effects_as_json, release_sections
    from monitor.store import open_reader

    runtime, pinned = runtime_and_version(version) if "==" in version else (Runtime.TRANSFORMERS, version)
    with open_reader(options.home) as store:
        changed = effects(store, str(runtime), pinned)
        if not changed:
            known = dict.fromkeys(row["version"] for row in store.by_release(runtime=str(runtime)) if row["version"])
            raise UnknownName(
                f"release of {runtime} in the history",
                pinned,
                sorted(known, key=version_order),
                hint=f"`settle run --once --runtime {runtime}=={pinned}` measures it",
            )
        if as_json:
            write_json(effects_as_json(changed))
        else:
            write = write_markdown if as_markdown else write_sections
            write(release_sections(store, str(runtime), pinned, changed))


def _tracks_named(tracks: Sequence[Track], models: Sequence[str]) -> list[Track]:
    """Return the tracks of models named by hub id or its last part, subject, family or architecture; or all."""
    if not tracks:
        raise UsageError("the history is empty", hint="run `settle run --once` or `settle replay` first")
    named: list[Track] = []
    for name in models:
        matches = [track for track in tracks if name.lower() in _names(track)]
        if not matches:
            known = {track.subject.id for track in tracks} | {track.family for track in tracks}
            raise UnknownName("model in the history", name, known, hint="`settle status` lists them")
        named += [track for track in matches if track not in named]
    return named or list(tracks)


def _names(track: Track) -> set[str]:
    subject = track.subject
    names = (subject.id, subject.model_id, HubName.parse(subject.model_id).name, track.family, subject.architecture)
    return {name.lower() for name in names}


def _as_json(store: Reader, summary: Summary) -> dict[str, Any]:
    from monitor.report.evidence import caveats

    return {
        "title": summary.title,
        "first": summary.first,
        "through": summary.through,
        "caveats": caveats(store, summary),
        "groups": summary.groups,
        "doubts_taken_at_their_word": summary.undoubted,
        "sensitivity": [{"window_days": window, "stable": quantile} for window, quantile in summary.sensitivity],
        "subjects": [_row(summary, line) | {"setbacks": line.answer.setbacks} for line in summary.lines],
    }


def _row(summary: Summary, line: Line) -> dict[str, Any]:
    """Return the result of one subject; days count from its release where that is known."""
    from monitor.stability.values import Span

    track, answer = line.track, line.answer
    row: dict[str, Any] = {
        "subject": track.subject.id,
        "family": track.family,
        "organisation": track.organisation,
        "kind": str(track.kind),
        "architecture": track.subject.architecture,
        "history": summary.title,
        "released": answer.released,
        "created": answer.created,
        "released_source": track.released_source,
        "released_kind": track.released_kind,
        "released_confidence": track.released_confidence,
    }
    for name in ("works", "stable", "established"):
        event = getattr(answer, name)
        span = event if isinstance(event, Span) else event.span
        row |= {f"{name}_after": span.after, f"{name}_by": span.by}
        first, last = event.days(answer.released, answer.created) if answer.released else (None, None)
        row |= {f"{name}_days_from": first, f"{name}_days_to": last}
    row |= {
        "lead_days": answer.lead,
        "standing": str(answer.standing),
        "provisional_since": answer.provisional.span.by if answer.provisional else None,
        "setbacks": len(answer.setbacks),
        "regressions": len(answer.regressions),
        "doubts": [doubt.finding for doubt in line.doubts],
        **{f"days_{name}": getattr(answer.counts, name) for name in ("works", "broken", "flaky", "unknown", "missing")},
        "days_carried": answer.counts.carried,
    }
    return row
