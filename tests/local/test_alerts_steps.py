"""What the two steps write into a real database, and that doing them again changes nothing."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from sqlite3 import IntegrityError
from typing import TYPE_CHECKING

import pytest

from monitor import verdicts
from monitor.alerts.message import Message
from monitor.alerts.sending import Arrival, Sent, send
from monitor.alerts.steps import FIRST_PAUSE, LONGEST_PAUSE, MOST_ATTEMPTS, next_attempt, send_alerts, write_alerts
from monitor.alerts.values import Trouble, TroubleArea, TroubleId
from monitor.config.settings import Alerts, Target
from monitor.domain import Model, ModelKind, Severity, Subject, SubjectForm
from monitor.errors import DatabaseError
from monitor.progress import ConsoleProgress
from monitor.store import open_reader, open_store
from tests.standins.days import FIRST, World

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

BEGAN = datetime(FIRST.year, FIRST.month, FIRST.day, tzinfo=UTC)
SETTINGS = Alerts(targets=(Target(name="ops", url="json://127.0.0.1:9", digest=False),))


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with open_store(tmp_path) as store:
        world = World(store)
        assert write_alerts(store, SETTINGS, BEGAN) == 0
        yield world


def after(days: int) -> datetime:
    return BEGAN + timedelta(days=days, hours=6)


def titles(world: World) -> list[str]:
    return [row["title"] for row in reversed(world.store.outbox.letters(most=99))]


def test_a_flip_is_announced_with_its_message_and_never_again(world: World) -> None:
    world.live("WWB")
    assert write_alerts(world.store, SETTINGS, after(2)) == 1
    [flip] = world.store.cells.detail(world.cell.id).flips
    assert flip["announced_at"] == after(2).isoformat(timespec="microseconds").replace("+00:00", "Z")
    verdicts.rejudge(world.store)
    assert write_alerts(world.store, SETTINGS, after(2)) == 0
    assert titles(world) == ["setback: acme/new in transformers 5.4.0"]


def test_a_flip_that_was_told_and_no_longer_holds_is_taken_back_once(world: World) -> None:
    world.live("WWB")
    write_alerts(world.store, SETTINGS, after(2))
    world.store._db.execute("UPDATE flips SET withdrawn = 1")
    assert write_alerts(world.store, SETTINGS, after(2)) == 1
    assert write_alerts(world.store, SETTINGS, after(2)) == 0
    assert titles(world)[1] == "withdrawn: acme/new in transformers"


def test_a_process_that_dies_of_a_message_gives_it_up_in_the_end(world: World) -> None:
    world.live("WWB")
    write_alerts(world.store, SETTINGS, after(2))
    outbox = world.store.outbox
    for _ in range(MOST_ATTEMPTS):
        [letter] = outbox.due(after(2))
        assert outbox.claim(letter, after(2), "somebody")
        assert not outbox.claim(letter, after(2), "somebody else")
        assert outbox.due(after(2)) == []
        assert not outbox.sent(letter, after(2), "somebody else")
        assert outbox.take_back(most_attempts=MOST_ATTEMPTS) == 1
    assert outbox.due(after(2)) == []
    assert outbox.letters(most=1)[0]["state"] == "given-up"


def test_what_is_written_stays_as_it_was_written(world: World) -> None:
    world.live("WWB")
    write_alerts(world.store, SETTINGS, after(2))
    for change in ("DELETE FROM outbox", "UPDATE outbox SET text = ''", "DELETE FROM announcements"):
        with pytest.raises(IntegrityError):
            world.store._db.execute(change)


def test_a_model_that_works_when_it_is_found_is_told_as_both(world: World) -> None:
    model = Model("acme/newer", "newer", "newarch", ModelKind.DENSE, "acme", FIRST, "hub")
    subject = Subject("acme/newer", "acme/newer", SubjectForm.MINIATURE, "newarch", "files", True)
    world.store.record_catalogue([model], [subject])
    world.run("W", FIRST, world.cell_of("acme/newer"))
    assert write_alerts(world.store, SETTINGS, after(0)) == 2
    assert write_alerts(world.store, SETTINGS, after(0)) == 0
    assert sorted(titles(world)) == [
        "new model: acme/newer is new and watched from now on",
        "newly works: acme/newer in transformers 5.4.0",
    ]


def test_a_transaction_that_is_lost_has_told_nothing(world: World) -> None:
    world.live("WWB")

    def lost() -> None:
        with world.store.atomic():
            assert write_alerts(world.store, SETTINGS, after(2)) == 1
            raise DatabaseError("the process died here")

    with pytest.raises(DatabaseError):
        lost()
    assert titles(world) == []
    assert [one["announced_at"] for one in world.store.cells.detail(world.cell.id).flips] == [None]
    assert write_alerts(world.store, SETTINGS, after(2)) == 1


def test_a_catalogue_that_comes_later_is_no_news(tmp_path: Path) -> None:
    """The daemon's first tick may look for news before anything is known."""
    with open_store(tmp_path) as store:
        assert write_alerts(store, SETTINGS, BEGAN) == 0
        World(store)
        assert write_alerts(store, SETTINGS, after(0)) == 0
        assert store.outbox.began() is not None


def test_without_targets_nothing_is_kept_for_later(tmp_path: Path) -> None:
    with open_store(tmp_path) as store:
        World(store).live("WWB")
        assert write_alerts(store, Alerts(), after(2)) == 0
        assert store.outbox.began() is None


def test_a_model_found_later_is_told_once(world: World) -> None:
    model = Model("acme/newer", "newer", "newarch", ModelKind.DENSE, "acme", FIRST, "hub")
    world.store.record_catalogue([model], [])
    assert write_alerts(world.store, SETTINGS, after(0)) == 1
    assert write_alerts(world.store, SETTINGS, after(0)) == 0
    assert titles(world) == ["new model: acme/newer is new and watched from now on"]


def test_only_a_cell_with_something_new_is_looked_at_again(world: World) -> None:
    world.live("WW")
    looked = world.store.outbox.cells_to_look_at(FIRST)
    assert looked == [world.cell.id]
    write_alerts(world.store, SETTINGS, after(1))
    assert world.store.outbox.cells_to_look_at(FIRST) == []
    world.live("WWW")
    assert world.store.outbox.cells_to_look_at(FIRST) == [world.cell.id]


def test_a_day_that_the_bench_spoiled_is_a_trouble_until_something_is_measured(world: World) -> None:
    world.live("W??")
    write_alerts(world.store, SETTINGS, after(2))
    write_alerts(world.store, SETTINGS, after(2))
    world.live("W??W")
    write_alerts(world.store, SETTINGS, after(3))
    told = titles(world)
    assert len(told) == 2
    assert told[0].startswith("trouble: nothing could be measured in transformers on 2026")
    assert told[1].startswith("Resolved: measuring transformers ")


def test_the_daemons_own_troubles_begin_and_end_and_silence_is_one(world: World) -> None:
    world.live("W")
    engine = Trouble(TroubleId(TroubleArea.DAEMON, "probing"), "probing: no engine answers")
    for troubles in ([engine], [engine], None, []):
        write_alerts(world.store, SETTINGS, after(0), troubles)
    write_alerts(world.store, SETTINGS, after(5))
    assert titles(world) == [
        "trouble: probing: no engine answers",
        "Resolved: probing. The step works again.",
        "trouble: nothing has been recorded since 2026-04-01",
    ]


def test_the_digest_comes_at_its_hour_and_what_was_missed_is_in_the_next(tmp_path: Path) -> None:
    settings = Alerts(targets=(Target(name="ops", url="json://127.0.0.1:9"),), digest_hour=7)
    with open_store(tmp_path) as store:
        world = World(store)
        write_alerts(store, settings, BEGAN)
        world.live("WWB")
        assert write_alerts(store, settings, after(2)) == 1
        assert write_alerts(store, settings, after(2) + timedelta(hours=1)) == 1
        assert write_alerts(store, settings, after(2) + timedelta(hours=2)) == 0
        [digest, _] = store.outbox.letters(most=2)
    assert digest["title"] == "digest of 2026-04-03: 1 news item"


def test_a_target_that_is_gone_is_given_up_at_once_and_a_reader_sees_it(world: World, tmp_path: Path) -> None:
    world.live("WWB")
    write_alerts(world.store, SETTINGS, after(2))
    assert send_alerts(world.store, Alerts(), after(2), ConsoleProgress(), env={}) == 0
    with open_reader(tmp_path) as reader:
        [row] = reader.outbox.letters(most=9)
    assert (row["state"], row["problem"]) == ("given-up", "the configuration has no target ops")


def test_pauses_double_up_to_a_limit_and_end() -> None:
    pauses = [next_attempt(attempts, BEGAN) for attempts in range(1, MOST_ATTEMPTS + 1)]
    assert pauses[:3] == [BEGAN + FIRST_PAUSE, BEGAN + 2 * FIRST_PAUSE, BEGAN + 4 * FIRST_PAUSE]
    assert pauses[-2] == BEGAN + min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** (MOST_ATTEMPTS - 2))
    assert pauses[-1] is None


def test_an_address_that_nothing_can_be_sent_to_is_a_refusal_that_does_not_name_it() -> None:
    told = send("nonsense://secret-token", Message("t", "x", "x"), Severity.INFO, {})
    assert told.arrival is Arrival.REFUSED
    assert "secret-token" not in told.problem
    assert isinstance(told, Sent)
