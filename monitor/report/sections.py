"""Turns summaries and single tracks into sections of sentences and tables, for the terminal and for Markdown alike."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from monitor.domain import CellVerdict
from monitor.report.by_release import known_to_work, read_by_release
from monitor.report.doubts import doubts_section
from monitor.report.evidence import Evidence, caveats
from monitor.report.format import (
    LETTER_LEGEND,
    Section,
    days_text,
    length_text,
    moved_text,
    quantile_text,
    released_text,
    share_text,
    since_text,
    strip,
)
from monitor.report.summary import HORIZONS
from monitor.stability.values import ESTABLISHED_DAYS, STABLE_DAYS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from monitor.report.summary import Group, Line, Summary
    from monitor.stability.values import Distribution
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
    "doubts",
)
_METHOD = (
    "Turnbull's estimate, with a 95 percent interval for as many independent observations as there are architectures."
    " The median and the upper quartile are the first days by which half and three quarters of the models are"
    " supported; 'not by day' is the share of models that are not supported at the end of that day. 'exact' counts the"
    " models whose day is known exactly, 'not seen yet' those without support so far, 'undecided' those that pass, but"
    " have too few days to be called stable, and 'doubts' those with days that are in doubt."
)
_NOT_SHOWN = (
    "Not shown: too few observed days, or most models already worked on the first observed day. `settle replay` fills"
    " in earlier days."
)


def summary_sections(store: Reader, summary: Summary) -> Iterator[Section]:
    """Yield the whole report of one history: limits first, distributions, then every track and every setback."""
    yield from answer_sections(store, summary)
    yield setbacks(Evidence(store), summary.lines)


def answer_sections(store: Reader, summary: Summary) -> Iterator[Section]:
    """Yield the report of one history without its setbacks, for pages that list them elsewhere."""
    scope = (
        f"{len(summary.lines)} subjects from {summary.first} to {summary.through}; days are UTC days, counted from the"
        " model's release."
    )
    yield Section(summary.title, (scope, *caveats(store, summary), *_never_note(summary)), level=1)
    yield _distributions(summary)
    yield _sensitivity(summary)
    yield doubts_section((line.track.subject.id, doubt) for line in summary.lines for doubt in line.doubts)
    yield Section(
        "Models, in days from their release",
        (),
        ("subject", "released", "works", "stable", "established", "lead", "standing", "setbacks", "doubt"),
        tuple(_timed_row(line) for line in summary.lines if line.timed),
    )
    yield Section(
        "Architectures without a sourced release day: works since",
        ("They are not part of the distributions.",),
        ("subject", "works since", "stable since", "standing", "setbacks", "doubt"),
        tuple(
            (
                line.track.subject.id,
                since_text(line.answer.works),
                since_text(line.answer.stable.span),
                *_state(line),
            )
            for line in summary.untimed
        ),
    )
    unseen = [line for line in summary.lines if not _seen(line)]
    by_release = read_by_release(store, runtime=str(summary.lines[0].track.runtime))
    yield from known_to_work(by_release, [(line.track.subject.id, line.track.cell) for line in unseen])
    if summary.coming:
        names = ", ".join(line.track.subject.id for line in summary.coming)
        yield Section("Not released yet", (f"{len(summary.coming)}: {names}.",))


def _seen(line: Line) -> bool:
    """Return whether a day of the history shows it working."""
    return any(observation.verdict is CellVerdict.WORKS for observation in line.track.observations)


def side_by_side(summaries: Sequence[Summary]) -> Section:
    """Return all models of every runtime in one table."""
    groups = [
        replace(group, name=f"{summary.title}{', doubts taken at their word' if group is summary.undoubted else ''}")
        for summary in summaries
        for group in _headline(summary)
    ]
    rows = [row for group in groups for row in _group_rows(group)]
    return Section("Runtimes side by side", (), _DISTRIBUTION_COLUMNS, tuple(rows))


def line_sections(store: Reader, line: Line) -> Iterator[Section]:
    """Yield everything about one track: the answer, the strip of days, setbacks, and each change of the lock."""
    track, answer, evidence = line.track, line.answer, Evidence(store)
    released = released_text(track)
    young = answer.provisional
    since = f"since {young.span.by}, lacks {', '.join(young.lacks)}" if young else ""
    events = (
        ("first works", answer.works),
        (f"stable ({STABLE_DAYS} days, across a change)", answer.stable.span),
        (f"established ({ESTABLISHED_DAYS} days)", answer.established.span),
    )
    yield Section(
        f"{track.subject.id} in {track.runtime} ({track.channel}, {track.platform})",
        (
            f"Architecture {track.subject.architecture}, {track.kind}; released: {released}."
            + (f" Supported {answer.lead} days before its release." if answer.lead else ""),
            *(f"In doubt ({doubt.days}, {doubt.doubted}): {doubt.finding}." for doubt in line.doubts),
        ),
        ("", "day", "days from release"),
        (
            *((name, since_text(span), days_text(span, answer.released, answer.created)) for name, span in events),
            ("standing", str(answer.standing), since),
        ),
    )
    legend = f"{LETTER_LEGEND}, . not measured; lower-case letters are carried over from an earlier day."
    yield Section("Day by day", (legend,), ("month", "days"), tuple(strip(track.observations)))
    yield setbacks(evidence, [line])
    yield Section(
        "Each change of the lock or of the verdict",
        (),
        ("day", "version", "verdict", "changed packages", "run", "reason"),
        tuple(
            (
                str(change.after.day),
                change.after.version,
                change.after.verdict,
                moved_text(change.moved, first=str(track.runtime)),
                change.after.run,
                change.after.reason,
            )
            for change in evidence.changes(track.cell)
        ),
    )


def setbacks(evidence: Evidence, lines: Iterable[Line]) -> Section:
    """Return every time that broken days ended passing ones, with what had moved and the run that shows it."""
    rows = []
    for line in lines:
        for setback in line.answer.setbacks:
            broken, moved = evidence.between(line.track.cell, setback.began)
            rows.append(
                (
                    line.track.subject.id,
                    "regression" if setback.regression else "setback",
                    since_text(setback.began),
                    f"{setback.last_good} → {setback.first_bad}",
                    setback.restored_in or "open",
                    length_text(setback),
                    moved_text(moved, first=str(line.track.runtime)),
                    broken.reason if broken else "",
                    f"settle show {broken.run}" if broken else "",
                )
            )
    note = "A regression is a failure after stable support, a setback one before it; `settle show RUN` shows the run."
    return Section(
        "Setbacks and regressions",
        (note if rows else "None.",),
        ("subject", "kind", "broken since", "releases", "fixed by", "days", "changed packages", "reason", "show"),
        tuple(rows),
    )


def _never_note(summary: Summary) -> tuple[str, ...]:
    derived = sum(group.works.registry_derived for group in summary.groups[:1] if group.works)
    if not derived:
        return ()
    note = (
        f"{derived} of the models are here because this runtime knows their architecture, so they cannot show the share"
        " that is never supported, and a median covers only models that got support."
    )
    return (note,)


def _distributions(summary: Summary) -> Section:
    hidden = any(
        distribution and not distribution.curve
        for group in summary.groups
        for distribution in (group.works, group.stable)
    )
    return Section(
        "Days from release",
        (_METHOD, _NOT_SHOWN) if hidden else (_METHOD,),
        _DISTRIBUTION_COLUMNS,
        tuple(row for group in (*_headline(summary), *summary.groups[1:]) for row in _group_rows(group)),
    )


def _headline(summary: Summary) -> tuple[Group, ...]:
    """Return all models, with and without the doubts."""
    return (*summary.groups[:1], *([summary.undoubted] if summary.undoubted else []))


def _group_rows(group: Group) -> Iterator[tuple[str, ...]]:
    for event, distribution in (("works", group.works), ("stable", group.stable)):
        if distribution is not None:
            models = f"{distribution.entries} ({distribution.architectures} architectures)"
            yield group.name, models, event, *_figures(distribution), str(group.doubts or "")


def _figures(distribution: Distribution) -> tuple[str, ...]:
    shares = {share.day: share_text(share) for share in distribution.not_by}
    missing = "not followed" if distribution.curve else "not shown"
    return (
        quantile_text(distribution.median),
        quantile_text(distribution.upper_quartile),
        *(shares.get(day, missing) for day in HORIZONS),
        share_text(distribution.never) if distribution.never else "not measurable",
        str(distribution.exact),
        str(distribution.not_seen),
        str(distribution.undecided),
    )


def _sensitivity(summary: Summary) -> Section:
    return Section(
        "How the length of the stable window changes the times",
        (),
        ("stable after", "median", "upper quartile", "not seen yet"),
        tuple(
            (
                f"{window} days",
                quantile_text(distribution.median),
                quantile_text(distribution.upper_quartile),
                str(distribution.not_seen),
            )
            for window, distribution in summary.sensitivity
            if distribution is not None
        ),
    )


def _timed_row(line: Line) -> tuple[str, ...]:
    answer = line.answer
    spans = (answer.works, answer.stable.span, answer.established.span)
    return (
        line.track.subject.id,
        f"{answer.created} to {answer.released}"
        if answer.created not in (None, answer.released)
        else f"{answer.released}",
        *(days_text(span, answer.released, answer.created) for span in spans),
        str(answer.lead or ""),
        *_state(line),
    )


def _state(line: Line) -> tuple[str, str, str]:
    doubt = "; ".join(f"{doubt.doubted} {doubt.days} is in doubt" for doubt in line.doubts)
    return str(line.answer.standing), str(len(line.answer.setbacks) or ""), doubt
