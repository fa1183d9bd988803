"""What is said of histories that the real store lived through: lines, releases, causes, and how they are written."""

from __future__ import annotations

from datetime import date, timedelta
from typing import TYPE_CHECKING

import pytest

from monitor.cli.output import markdown
from monitor.domain import CellVerdict, Rung
from monitor.judge.lock_diff import Moved
from monitor.report.causes import causes, causes_section
from monitor.report.evidence import Evidence
from monitor.report.format import Section, days_text, length_text, moved_text, since_text, strip
from monitor.report.release import effects, release_sections
from monitor.report.sections import line_sections, summary_sections
from monitor.report.summary import line_of, summaries
from monitor.stability.values import Observation, Setback, Span
from monitor.store import open_reader, open_store
from monitor.store.shipped import pack, unpack
from tests.standins.days import FIRST, World

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

HOSTILE = "<script>alert(1)</script> | `x` \x1b[31m \u202e *b*"


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with open_store(tmp_path) as store:
        world = World(store)
        world.live("B" + "W" * 3 + "=" * 2)
        world.release()
        world.settle("W", FIRST + timedelta(days=6))
        yield world


def day(number: int) -> date:
    return FIRST + timedelta(days=number)


def test_a_track_holds_the_days_at_the_bar_and_on_each_rung(world: World) -> None:
    (track,) = world.store.tracks(cell=world.cell.id)
    assert "".join(letters for _, letters in strip(track.observations)) == "BWWWwwW"
    assert (track.subject.id, track.rung) == ("acme/new", None)
    assert [one.carried for one in track.observations] == [False] * 4 + [True] * 2 + [False]
    (loads,) = world.store.tracks(cell=world.cell.id, rung=Rung.LOADS)
    assert [str(one.verdict) for one in loads.observations] == ["broken"] + ["works"] * 6
    (knows,) = world.store.tracks(cell=world.cell.id, rung=Rung.KNOWS)
    assert {str(one.verdict) for one in knows.observations} == {"works"}


def test_what_one_line_says_of_itself(world: World) -> None:
    (track,) = world.store.tracks(cell=world.cell.id)
    line = line_of(track, day(6))
    answer, strips, setbacks, changes = line_sections(world.store, line)
    assert answer.rows[0][1] == str(day(1))
    assert strips.rows == (("2026-04", "BWWWwwW"),)
    assert setbacks.notes == ("None.",)
    assert [row[2] for row in changes.rows] == ["broken", "works", "works"]


def test_a_history_that_began_long_after_the_release_tells_no_median(tmp_path: Path) -> None:
    with open_store(tmp_path / "late") as store:
        World(store).run("W", day(60))
        (summary,) = summaries(store.tracks(), day(60))
        days = next(one for one in summary_sections(store, summary) if one.title == "Days from release")
    assert days.notes[1].startswith("Not shown: ")
    assert dict(zip(days.columns, days.rows[0], strict=True)).items() >= {
        ("event", "works"), ("median", "not shown"), ("not by day 30", "not shown"), ("never", "not measurable"),
    }  # fmt: skip


def test_a_setback_is_told_once_with_everybody_it_hit(world: World) -> None:
    world.release()
    world.settle("B", day(7))
    world.release()
    world.settle("W", day(8))
    lines = [line_of(track, day(8)) for track in world.store.tracks(cell=world.cell.id)]
    (cause,) = causes(Evidence(world.store), lines)
    assert (len(cause.hits), cause.regressions, cause.finding) == (1, 0, "")
    (row,) = causes_section([cause]).rows
    assert row[0] == str(day(7))
    assert row[4].startswith("loads: loads.tensors: KeyError")
    assert row[-1].startswith("settle demo show ")


def test_what_a_release_changed_for_whom(world: World) -> None:
    found = effects(world.store, "transformers", "5.4.0")
    assert {one.subject for one in found} == {"acme/new", "acme/old"}
    head, *kinds = release_sections(world.store, "transformers", "5.4.0", found)
    assert "2 subjects" in head.notes[0]
    assert [section.title for section in kinds] == ["Broke", "Newly works", "Changed otherwise"]
    assert effects(world.store, "transformers", "9.9.9") == []


@pytest.mark.parametrize(
    ("span", "since", "days"),
    [
        (Span(day(1), day(2)), "2026-04-03", "2"),
        (Span(day(1), day(4)), "by 2026-04-05", "2 to 4"),
        (Span(None, day(4)), "by 2026-04-05", "up to 4"),
        (Span(day(9), None), "not by 2026-04-10", "not in 9"),
        (Span(None, None), "", ""),
    ],
)
def test_how_spans_are_written(span: Span, since: str, days: str) -> None:
    assert since_text(span) == since
    assert days_text(span, FIRST) == days
    assert days_text(span, None) == ""


@pytest.mark.parametrize(("least", "most", "text"), [(2, 2, "2"), (2, 5, "2 to 5"), (3, None, "3 so far")])
def test_how_lengths_are_written(least: int, most: int | None, text: str) -> None:
    setback = Setback(False, Span(day(1), day(2)), "1", "2", Span(day(3), None), "", least, most)
    assert length_text(setback) == text


def test_how_moves_are_written() -> None:
    many = [Moved(f"p{number:02}", "1", "2") for number in range(20)]
    assert moved_text(many, first="p19").startswith("p19 1 → 2, p00 1 → 2")
    assert moved_text(many).endswith("and 8 more")


def test_a_strip_has_a_row_a_month_and_a_sign_a_day() -> None:
    days = [
        Observation(date(2026, 4, 29), CellVerdict.WORKS),
        Observation(date(2026, 4, 30), CellVerdict.FLAKY, carried=True),
        Observation(date(2026, 5, 2), CellVerdict.UNKNOWN),
        Observation(date(2026, 5, 3), CellVerdict.WORKS, wrong_numbers=True),
    ]
    assert strip(days) == [("2026-04", "." * 28 + "Wf"), ("2026-05", ".?N")]


def test_markdown_shows_what_came_out_of_a_container_harmlessly() -> None:
    text = markdown(Section(HOSTILE, columns=("a",), rows=((HOSTILE,),)))
    assert "<script" not in text.replace("\\<", "")
    assert "\x1b" not in text
    assert "\u202e" not in text
    assert "\\|" in text
    assert "\\*b\\*" in text


def test_a_shipped_history_opens_elsewhere_and_keeps_its_guards(world: World, tmp_path: Path) -> None:
    target = tmp_path / "history.db.xz"
    pack(tmp_path, target)
    home = tmp_path / "demo"
    for _ in range(2):  # a second time finds it there
        unpack(target.read_bytes(), home)
    with open_reader(home) as store:
        assert len(store.history()) == len(world.store.history())
        assert not store.query("SELECT 1 FROM facts WHERE name = 'logprobs'").rows
        guards = "SELECT count(*) FROM sqlite_schema WHERE type = 'trigger'"
        assert store.query(guards).rows == world.store.query(guards).rows
