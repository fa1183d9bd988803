"""Turns a summary into sections of sentences and tables, for the terminal and for Markdown alike."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from monitor.report.evidence import Evidence, moved_text
from monitor.report.format import (
    STRIP_LEGEND,
    Section,
    days_text,
    length_text,
    quantile_text,
    share_text,
    since_text,
    strip,
)
from monitor.report.summary import HORIZONS
from monitor.stability.values import ESTABLISHED_DAYS, STABLE_DAYS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from monitor.report.summary import Group, Line, Summary
    from monitor.stability.values import Distribution, Span, Stabilization
    from monitor.store import Reader


_DISTRIBUTION_COLUMNS = (
    "group",
    "models",
    "event",
    "median",
    "upper quartile",
    *(f"not by day {day}" for day in HORIZONS),
    "never",
    "exact",
    "not seen yet",
    "undecided",
)
_UNTOLD = (
    "Nothing is told where too much was seen too thinly, or worked already when it was first looked at, two weeks and"
    " more after it can have begun to: `settle replay` looks at the days before."
)


def summary_sections(store: Reader, summary: Summary) -> Iterator[Section]:
    """Yield the whole report of one history: limits first, distributions, then every track and every setback."""
    yield from answer_sections(store, summary)
    yield setbacks(Evidence(store), summary.lines)


def answer_sections(store: Reader, summary: Summary) -> Iterator[Section]:
    """Yield the report without the setbacks, which are told elsewhere where they are many."""
    evidence = Evidence(store)
    opening = (
        f"From {summary.first} to {summary.through}, {len(summary.lines)} subjects; days are UTC days, counted from the"
        " model's release."
    )
    yield Section(
        summary.title,
        (
            opening,
            *(f"{sentence[0].upper()}{sentence[1:]}." for sentence in evidence.caveats(summary)),
            *_never_note(summary),
        ),
        level=1,
    )
    yield _distributions(summary)
    yield _sensitivity(summary)
    yield _timed(summary)
    yield _untimed(summary)
    if summary.coming:
        names = ", ".join(line.track.subject.id for line in summary.coming)
        yield Section("Not released by then", (f"{len(summary.coming)}: {names}.",))


def side_by_side(summaries: Sequence[Summary]) -> Section:
    """Return all models of every runtime in one table."""
    rows = [
        row
        for summary in summaries
        for row in _group_rows(replace(summary.groups[0], name=summary.title))
        if summary.groups
    ]
    return Section("Runtimes side by side", (), _DISTRIBUTION_COLUMNS, tuple(rows))


def line_sections(store: Reader, line: Line) -> Iterator[Section]:
    """Yield everything about one track: the answer, the strip of days, setbacks, and each change of the lock."""
    track, answer, evidence = line.track, line.answer, Evidence(store)
    released = f"{answer.released} ({track.released_source})" if answer.released else "no sourced day"
    young = answer.provisional
    since = f"since {young.span.by}, lacks {', '.join(young.lacks)}" if young else ""
    yield Section(
        f"{track.subject.id} in {track.runtime} ({track.channel}, {track.platform})",
        (
            f"Architecture {track.subject.architecture}, {track.kind}; released: {released}."
            + (f" Supported {answer.lead} days before its release." if answer.lead else ""),
        ),
        ("", "day", "days from release"),
        (
            *((name, since_text(span), days_text(span, answer.released)) for name, span in _events(answer)),
            ("standing", str(answer.standing), since),
        ),
    )
    yield Section("Day by day", (STRIP_LEGEND + ".",), ("month", "days"), tuple(strip(track.observations)))
    yield setbacks(evidence, [line])
    yield Section(
        "Each change of the lock or of the verdict",
        (),
        ("day", "version", "verdict", "moved", "run", "reason"),
        tuple(
            (
                str(one.after.day),
                one.after.version,
                one.after.verdict,
                moved_text(one.moved, first=str(track.runtime)) if one.before else "",
                one.after.run,
                one.after.reason,
            )
            for one in evidence.changes(track.cell)
        ),
    )


def setbacks(evidence: Evidence, lines: Iterable[Line]) -> Section:
    """Return every time that passing days were ended by broken ones, with what had moved and the run that shows it."""
    rows = []
    for line in lines:
        for one in line.answer.setbacks:
            told, moved = evidence.of_setback(line.track, one)
            rows.append(
                (
                    line.track.subject.id,
                    "regression" if one.regression else "setback",
                    since_text(one.began),
                    f"{one.last_good} → {one.first_bad}",
                    one.restored_in or "open",
                    length_text(one),
                    moved_text(moved, first=str(line.track.runtime)),
                    told.reason if told else "",
                    f"settle show {told.run}" if told else "",
                )
            )
    note = "A regression is a failure after stable support, a setback one before it; `settle show RUN` shows it."
    return Section(
        "Setbacks and regressions",
        (note if rows else "None.",),
        ("subject", "kind", "broken since", "releases", "fixed by", "days", "moved", "reason", "show"),
        tuple(rows),
    )


def _never_note(summary: Summary) -> tuple[str, ...]:
    derived = sum(group.works.registry_derived for group in summary.groups[:1] if group.works)
    if not derived:
        return ()
    said = (
        f"{derived} of the models are here because this runtime knows their architecture: the share that is never"
        " supported cannot be told from them, and a median is of those that were supported sooner or later."
    )
    return (said,)


def _distributions(summary: Summary) -> Section:
    how = (
        "Turnbull's estimate with its 95 percent interval from a bootstrap over architectures: the first day by which a"
        " half, or three quarters, are there, and the share that is not there by the end of a day."
    )
    untold = any(found and not found.curve for group in summary.groups for found in (group.works, group.stable))
    return Section(
        "Days from release",
        (how, _UNTOLD) if untold else (how,),
        _DISTRIBUTION_COLUMNS,
        tuple(row for group in summary.groups for row in _group_rows(group)),
    )


def _group_rows(group: Group) -> Iterator[tuple[str, ...]]:
    for event, found in (("works", group.works), ("stable", group.stable)):
        if found is not None:
            yield (group.name, f"{found.entries} ({found.architectures} architectures)", event, *_shape(found))


def _shape(found: Distribution) -> tuple[str, ...]:
    shares = {one.day: share_text(one) for one in found.not_by}
    missing = "not followed" if found.curve else "not told"
    return (
        quantile_text(found.median),
        quantile_text(found.upper_quartile),
        *(shares.get(day, missing) for day in HORIZONS),
        share_text(found.never) if found.never else "not measurable",
        str(found.exact),
        str(found.not_seen),
        str(found.undecided),
    )


def _sensitivity(summary: Summary) -> Section:
    return Section(
        "How much hangs on the length of the window",
        (),
        ("stable means", "median", "upper quartile", "not seen yet"),
        tuple(
            (f"{window} days", quantile_text(found.median), quantile_text(found.upper_quartile), str(found.not_seen))
            for window, found in summary.sensitivity
            if found is not None
        ),
    )


def _events(answer: Stabilization) -> tuple[tuple[str, Span], ...]:
    return (
        ("first works", answer.works),
        (f"stable (lasts {STABLE_DAYS} days and a change)", answer.stable.span),
        (f"established ({ESTABLISHED_DAYS} days)", answer.established.span),
    )


def _timed(summary: Summary) -> Section:
    return Section(
        "Models, in days from their release",
        (),
        ("subject", "released", "works", "stable", "established", "lead", "standing", "setbacks"),
        tuple(
            (
                line.track.subject.id,
                str(line.answer.released),
                days_text(line.answer.works, line.answer.released),
                days_text(line.answer.stable.span, line.answer.released),
                days_text(line.answer.established.span, line.answer.released),
                str(line.answer.lead or ""),
                str(line.answer.standing),
                str(len(line.answer.setbacks) or ""),
            )
            for line in summary.lines
            if line.timed
        ),
    )


def _untimed(summary: Summary) -> Section:
    return Section(
        "Architectures without a sourced release day: works since",
        ("They enter no distribution.",),
        ("subject", "works since", "stable since", "standing", "setbacks"),
        tuple(
            (
                line.track.subject.id,
                since_text(line.answer.works),
                since_text(line.answer.stable.span),
                str(line.answer.standing),
                str(len(line.answer.setbacks) or ""),
            )
            for line in summary.untimed
        ),
    )
