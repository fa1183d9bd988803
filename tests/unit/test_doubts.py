"""A doubt stands beside every number that it concerns, and the times of all models are given with and without it."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, timedelta

from monitor.domain import CellVerdict, Channel, Isolation, ModelKind, Platform, Runtime, Subject, SubjectForm
from monitor.report.doubts import Doubt, doubts_about, load_doubts, taken_at_their_word
from monitor.report.sections import side_by_side
from monitor.report.summary import line_of, summaries
from monitor.stability.values import Observation
from monitor.store.tracks import Track

DOUBTED = "Qwen/Qwen3.5-27B"  # broken from 2026-02-16 to 2026-03-26, which is in doubt
RELEASED, THROUGH = date(2026, 2, 20), date(2026, 4, 30)


def track(name: str, works_from: date, *, runtime: Runtime = Runtime.TRANSFORMERS) -> Track:
    days = [RELEASED + timedelta(days=at) for at in range((THROUGH - RELEASED).days + 1)]
    verdicts = [CellVerdict.WORKS if day >= works_from else CellVerdict.BROKEN for day in days]
    return Track(
        cell=f"{name}@{runtime}/stable/cpu-py3.11-container",
        subject=Subject(name, name, SubjectForm.MINIATURE, f"architecture of {name}", "files"),
        family=name,
        organisation="acme",
        kind=ModelKind.DENSE,
        released=RELEASED,
        released_source="https://example.com",
        runtime=runtime,
        channel=Channel.STABLE,
        platform=Platform("3.11", "cpu", Isolation.CONTAINER),
        rung=None,
        observations=tuple(
            Observation(day, verdict, f"{at // 7}")
            for at, (day, verdict) in enumerate(zip(days, verdicts, strict=True))
        ),
    )


def test_the_times_of_all_models_are_given_with_and_without_the_doubts() -> None:
    others = [track(f"acme/{at}", RELEASED + timedelta(days=at)) for at in range(4)]
    (summary,) = summaries([*others, track(DOUBTED, date(2026, 3, 27))], THROUGH)
    assert summary.groups[0].doubts == 1
    assert summary.groups[0].works is not None
    assert summary.groups[0].works.upper_quartile.day == 3
    assert summary.undoubted is not None
    assert summary.undoubted.works is not None
    assert summary.undoubted.works.upper_quartile.day == 2
    table = side_by_side([summary])
    rows = [dict(zip(table.columns, row, strict=True)) for row in table.rows]
    assert [row["group"] for row in rows if row["event"] == "works"] == [
        summary.title,
        f"{summary.title}, doubts taken at their word",
    ]
    assert rows[0]["doubts"] == "1"


def test_without_a_doubt_nothing_is_given_twice() -> None:
    (summary,) = summaries([track(f"acme/{at}", RELEASED) for at in range(5)], THROUGH)
    assert (summary.groups[0].doubts, summary.undoubted) == (0, None)
    assert line_of(track(DOUBTED, RELEASED), THROUGH).doubts == ()  # no such day is there any more
    other = track(DOUBTED, date(2026, 3, 27), runtime=Runtime.VLLM)
    assert line_of(other, THROUGH).doubts == ()


def test_a_doubt_whose_outcome_is_not_known_changes_no_time() -> None:
    (known,) = doubts_about(track(DOUBTED, date(2026, 3, 27)), load_doubts())
    open_doubt: Doubt = replace(known, instead=None)
    doubted = track(DOUBTED, date(2026, 3, 27))
    assert taken_at_their_word(doubted, [open_doubt]) == doubted
    assert taken_at_their_word(doubted, [known]).observations[0].verdict is CellVerdict.WORKS
