"""Turns a summary into sections of sentences and tables, for the terminal and for Markdown alike."""

from __future__ import annotations

from typing import TYPE_CHECKING

from monitor.report.evidence import Evidence, moved_text
from monitor.report.words import (
    STRIP_LEGEND,
    Section,
    days_estimate_text,
    days_text,
    length_text,
    share_text,
    since_text,
    strip,
)
from monitor.stability.track import STABLE_DAYS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from monitor.report.summary import Group, Line, Summary
    from monitor.stability.distribution import Distribution
    from monitor.store import Reader

_EVENTS = (("first works", "works"), (f"stable (lasts {STABLE_DAYS} days and a change)", "stable"))


def summary_sections(store: Reader, summary: Summary) -> Iterator[Section]:
    """Yield the whole report of one history: limits first, distributions, then every track and every setback."""
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
    yield setbacks(evidence, summary.lines)


def line_sections(store: Reader, line: Line) -> Iterator[Section]:
    """Yield everything about one track: the answer, the strip of days, setbacks, and each change of the lock."""
    track, answer, evidence = line.track, line.answer, Evidence(store)
    released = f"{answer.released} ({track.released_source})" if answer.released else "no sourced day"
    events = (*_EVENTS, ("established (30 days)", "established"))
    since = f"since {answer.provisional_since}" if answer.provisional_since else ""
    yield Section(
        f"{track.subject.id} in {track.runtime} ({track.channel}, {track.platform})",
        (
            f"Architecture {track.subject.architecture}, {track.kind}; released: {released}."
            + (f" Supported {answer.lead_days} days before its release." if answer.lead_days else ""),
        ),
        ("", "day", "days from release"),
        (
            *(
                (name, since_text(getattr(answer, field)), days_text(getattr(answer, field), answer.released))
                for name, field in events
            ),
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
                    one.fixed_by or "open",
                    length_text(one.days_to_restore),
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
        "Turnbull's estimate with its 95 percent interval from a bootstrap over architectures. A quantile is the latest"
        " day that fits; *not yet* is the share that lies beyond every observation."
    )
    return Section(
        "Days from release",
        (how,),
        ("group", "models", "event", "median", "upper quartile", "by day 0", "by day 7", "by day 30", "by day 90",
         "not yet", "exact / left / interval / right"),
        tuple(row for group in summary.groups for row in _group_rows(group)),
    )  # fmt: skip


def _group_rows(group: Group) -> Iterator[tuple[str, ...]]:
    for event, found in (("works", group.works), ("stable", group.stable)):
        if found is not None:
            yield (group.name, f"{found.entries} ({found.architectures} architectures)", event, *_shape(found))


def _shape(found: Distribution) -> tuple[str, ...]:
    shares = dict(found.by_day)
    return (
        days_estimate_text(found.median),
        days_estimate_text(found.upper_quartile),
        *(share_text(shares[day]) for day in (0, 7, 30, 90)),
        share_text(found.not_yet),
        f"{found.exact} / {found.left_censored} / {found.interval_censored} / {found.right_censored}",
    )


def _sensitivity(summary: Summary) -> Section:
    return Section(
        "How much hangs on the length of the window",
        (),
        ("stable means", "median days", "upper quartile", "not yet"),
        tuple(
            (
                f"{window} days",
                days_estimate_text(found.median),
                days_estimate_text(found.upper_quartile),
                share_text(found.not_yet),
            )
            for window, found in summary.sensitivity
            if found is not None
        ),
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
                days_text(line.answer.stable, line.answer.released),
                days_text(line.answer.established, line.answer.released),
                str(line.answer.lead_days or ""),
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
                since_text(line.answer.stable),
                str(line.answer.standing),
                str(len(line.answer.setbacks) or ""),
            )
            for line in summary.untimed
        ),
    )
