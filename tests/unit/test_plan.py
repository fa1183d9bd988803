"""What is due, why, in which order: stories of cells."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import pytest

from monitor.domain import CellVerdict, Channel, Runtime
from monitor.schedule.plan import Budget, LastDay, Offer, PlannedCell, Reason, ReleaseLine, pause, plan, why_due
from tests.standins.planned import LINES, SECONDS, World

LINE = ReleaseLine(Runtime.TRANSFORMERS, Channel.STABLE)
OTHER = ReleaseLine(Runtime.VLLM, Channel.STABLE)
NOW = datetime(2026, 6, 30, 12, tzinfo=UTC)
TODAY = NOW.date()
OFFER = Offer("5.2.0", "torch==2.13.0 transformers==5.2.0", "suite")
YESTERDAY = TODAY - timedelta(days=1)


def budget(seconds: float = 1e6, *, left: float = 1e6, spent: dict[ReleaseLine, float] | None = None) -> Budget:
    lines = (LINE, OTHER)
    return Budget(seconds, left, spent or {}, dict.fromkeys(lines, 1.0))


def latest(day: date = YESTERDAY, *, since: int = 100, probed: date | None = None) -> LastDay:
    return LastDay(day, CellVerdict.WORKS, TODAY - timedelta(days=since), probed or day, OFFER, "lock", "files")


def cell(told: LastDay | None, *, age: int = 200, name: str = "llama", line: ReleaseLine = LINE) -> PlannedCell:
    return PlannedCell(name, line, TODAY - timedelta(days=age), "files", told)


@pytest.mark.parametrize(
    ("standing", "reason"),
    [
        (cell(None), Reason.NEW),
        (cell(replace(latest(), open=True)), Reason.RESUMED),
        (cell(replace(latest(TODAY), offer=replace(OFFER, version="5.1.0"))), Reason.RELEASE),
        (cell(replace(latest(TODAY), offer=replace(OFFER, pins="torch==2.12.0"))), Reason.PINS),
        (cell(replace(latest(TODAY), offer=replace(OFFER, suite="before"))), Reason.SUITE),
        (cell(replace(latest(TODAY), subject="other files")), Reason.REVISION),
        (cell(latest(), age=29), Reason.YOUNG),
        (cell(latest(TODAY), age=29), None),
        (cell(latest(), age=30), None),
        (cell(latest(probed=TODAY - timedelta(days=25))), Reason.ROUTINE),
        (cell(latest(probed=TODAY - timedelta(days=24))), None),
        (cell(replace(latest(since=2), probed=YESTERDAY)), Reason.ROUTINE),
    ],
)
def test_why_a_cell_is_due(standing: PlannedCell, reason: Reason | None) -> None:
    assert why_due(standing, OFFER, NOW) is reason


def test_a_broken_cell_is_asked_on_every_release_and_daily_while_it_is_young() -> None:
    broken = replace(latest(), verdict=CellVerdict.BROKEN)
    assert why_due(cell(broken, age=3), OFFER, NOW) is Reason.YOUNG
    assert why_due(cell(broken), OFFER, NOW) is None
    assert why_due(cell(broken), replace(OFFER, version="5.3.0"), NOW) is Reason.RELEASE


def test_the_longer_nothing_changes_the_longer_is_the_pause() -> None:
    pauses = [pause(timedelta(days=days)).days for days in range(400)]
    assert pauses == sorted(pauses)
    assert (pauses[0], pauses[-1]) == (1, 28)


def test_a_fault_of_ours_is_asked_again_later_and_later() -> None:
    def spoiled(times: int, minutes: int) -> PlannedCell:
        at = NOW - timedelta(minutes=minutes)
        told = replace(latest(TODAY), verdict=CellVerdict.UNKNOWN, spoiled=times, last_run_at=at)
        return cell(told)

    assert why_due(spoiled(1, 9), OFFER, NOW) is None
    assert why_due(spoiled(1, 10), OFFER, NOW) is Reason.INFRA
    assert why_due(spoiled(3, 39), OFFER, NOW) is None
    assert why_due(spoiled(3, 40), OFFER, NOW) is Reason.INFRA
    assert why_due(spoiled(30, 6 * 60), OFFER, NOW) is Reason.INFRA
    made = plan([spoiled(1, 9)], {LINE: OFFER}, budget(), NOW)
    assert made.again_at == NOW + timedelta(minutes=1)


def test_what_has_not_changed_is_carried_even_where_it_is_due_as_routine() -> None:
    quiet = cell(latest(), name="quiet")
    routine = cell(latest(probed=TODAY - timedelta(days=28)), name="routine")
    changed = cell(replace(latest(), subject="before"), name="changed")
    unknown = cell(replace(latest(), verdict=CellVerdict.UNKNOWN), name="unknown")
    done = cell(latest(TODAY), name="done")
    made = plan([quiet, routine, changed, unknown, done], {LINE: OFFER}, budget(), NOW)
    assert made.carried == {LINE: ("quiet", "routine")}
    assert dict(made.jobs[0].wanted) == {"routine": Reason.ROUTINE, "changed": Reason.REVISION}
    assert made.again_at == datetime(2026, 7, 1, tzinfo=UTC)


def test_a_line_of_which_nobody_knows_what_a_user_gets_is_left_alone() -> None:
    made = plan([cell(None), cell(None, line=OTHER)], {LINE: OFFER}, budget(), NOW)
    assert [job.line for job in made.jobs] == [LINE]


def test_the_line_that_has_had_least_goes_first_and_a_slice_is_not_exceeded() -> None:
    cells = [cell(None, name=f"m{n}", line=line) for n in range(50) for line in (LINE, OTHER)]
    made = plan(cells, {LINE: OFFER, OTHER: OFFER}, budget(25.0, spent={LINE: 100.0}), NOW)
    assert [(job.line, len(job.wanted)) for job in made.jobs] == [(OTHER, 25)]
    assert made.waiting == {Reason.NEW: 75}
    assert plan(cells, {LINE: OFFER, OTHER: OFFER}, budget(25.0, left=0.0), NOW).jobs == ()


def test_a_budget_that_is_used_up_comes_back_before_midnight() -> None:
    made = plan([cell(None)], {LINE: OFFER}, budget(left=0.0), NOW)
    assert (made.jobs, made.again_at) == ((), NOW + timedelta(minutes=30))


def test_urgent_goes_first_and_waiting_makes_urgent() -> None:
    def names(*cells: PlannedCell) -> list[str]:
        (job,) = plan(cells, {LINE: OFFER}, budget(), NOW).jobs
        return [name for name, _ in job.wanted]

    release = replace(latest(), offer=replace(OFFER, version="5.1.0"))
    old, young = cell(release, name="a-old"), cell(release, name="b-young", age=5)
    routine = cell(latest(probed=TODAY - timedelta(days=25)), name="routine")
    waits = cell(replace(release, day=TODAY - timedelta(days=8)), name="c-waits")
    assert names(old, young) == ["b-young", "a-old"]
    assert names(old, waits) == ["c-waits", "a-old"]
    assert names(replace(routine, latest=latest(probed=YESTERDAY, since=2)), old) == ["a-old", "routine"]


def test_no_line_and_no_young_model_starves_where_time_is_scarce() -> None:
    world = World(models=30, hours=0.2, days=20, arrivals=0.3)
    everything_once = sum(SECONDS[line] * 30 for line in LINES)
    assert everything_once > 2 * world.hours * 3600
    world.run()
    assert set(world.probed) == set(LINES)
    new = {key for key in world.cells if key[0].startswith("new-")}
    assert new == set(world.first_wait)
    assert max(world.first_wait.values()) < 2 * 24
    assert max(world.day_less.values()) < 14
