"""The findings page: what the shipped history says, generated, so that it cannot say anything else."""

from __future__ import annotations

from typing import TYPE_CHECKING

from monitor.report.causes import causes, causes_section, doubts_section
from monitor.report.evidence import Evidence
from monitor.report.format import MINIATURES, Section, quantile_text, share_text
from monitor.report.sections import summary_sections
from monitor.report.summary import rung_tracks, summaries

if TYPE_CHECKING:
    from collections.abc import Iterator

    from monitor.report.summary import Summary
    from monitor.store import Reader

_GENERATED = (
    "Generated from the history that ships with Settle, by `python -m tools.refresh findings`; `settle demo` opens"
    " the same history, and the rows below name the command that shows their evidence again."
)


def findings(store: Reader) -> Iterator[Section]:
    """Yield the page's sections: the limits and the distributions first, then causes, unknowns and every track."""
    yield Section("Findings", (_GENERATED, MINIATURES), level=1)
    tracks = store.tracks()
    through = max(track.observations[-1].day for track in tracks)
    for summary in summaries(tracks, through, rungs=rung_tracks(store, tracks, through)):
        limits, *rest = summary_sections(store, summary)
        yield Section(limits.title, limits.notes)
        yield _answer(summary)
        yield causes_section(causes(Evidence(store), summary.lines))
        yield doubts_section({line.track.subject.id for line in summary.lines})
        yield from (section for section in rest if section.title != "Setbacks and regressions")
        yield _unknown(store, summary)


def _answer(summary: Summary) -> Section:
    whole = summary.groups[0]
    told = []
    for event, found in (("work", whole.works), ("are stable", whole.stable)):
        if found is None:
            continue
        missing = ", ".join(f"{share_text(one)} not by day {one.day}" for one in found.not_by)
        told.append(
            f"Of {found.entries} models with a sourced release day ({found.architectures} architectures) half {event}"
            f" by day {quantile_text(found.median)} after their release, three quarters by day"
            f" {quantile_text(found.upper_quartile)}; {missing}."
        )
    return Section("The answer", tuple(told))


def _unknown(store: Reader, summary: Summary) -> Section:
    """Return what stayed unknown, with why: a share that is not small would be a fault of ours."""
    runtime = summary.lines[0].track.runtime
    rows = store.unknown_days(runtime)
    total = store.probed_days(runtime)
    count = sum(int(row["days"]) for row in rows)
    return Section(
        "What stayed unknown",
        (f"{count} of {total} probed days of cells ({count / max(1, total):.1%}).",),
        ("subject", "days", "first", "last", "reason", "show"),
        tuple(
            (
                row["subject"],
                str(row["days"]),
                f"{row['first']} ({row['version']})",
                row["last"],
                row["reason"],
                f"settle demo show {row['run']}",
            )
            for row in rows
        ),
    )
