"""What is news of a history told as a row of days, looked at day by day: W, B, F, ? and . for nothing seen."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Any

import pytest

from monitor.alerts.detection import new_alerts
from monitor.alerts.values import (
    Alert,
    AlertInputs,
    CellHistory,
    FlipEvidence,
    Kind,
    NewModel,
    Trouble,
    TroubleArea,
    TroubleId,
)
from monitor.config.settings import Target
from monitor.domain import CellVerdict, Channel, Isolation, ModelKind, Platform, Runtime, Severity, Subject, SubjectForm
from monitor.report.evidence import DayEvidence
from monitor.stability.values import Observation
from monitor.store import Track

FIRST = date(2026, 4, 1)
WORD = {"W": CellVerdict.WORKS, "B": CellVerdict.BROKEN, "F": CellVerdict.FLAKY, "?": CellVerdict.UNKNOWN}
SHORT = {
    Kind.NEWLY_WORKS: "works",
    Kind.NEWLY_STABLE: "stable",
    Kind.REGRESSION: "regression",
    Kind.SETBACK: "setback",
    Kind.RESTORED: "restored",
    Kind.FLAPPING: "flapping",
    Kind.CALM: "calm",
    Kind.CHANGED: "changed",
}


@dataclass
class Life:
    """One cell, day by day; a release comes with every change, and on every fifth day."""

    story: str
    new_model: bool = False
    model: str = "acme/new"
    signature: str = "s1 KeyError"
    organisation: str = "acme"
    announced: set[str] = field(default_factory=set)
    told: set[int] = field(default_factory=set)

    def history(self, days: int) -> CellHistory:
        seen, flips, last, changes = [], [], "", 0
        for offset, letter in enumerate(self.story[:days]):
            day = FIRST + timedelta(days=offset)
            if letter == ".":
                continue
            if letter != "?" and last and letter != last:
                changes += 1
                version = f"{changes}.{offset // 5}"
                evidence = DayEvidence(
                    day, version, str(WORD[letter]), "KeyError", "abc123", "env", "runtime", self.signature
                )
                flips.append(
                    FlipEvidence(offset, day, WORD[last], WORD[letter], day, offset in self.told, evidence, evidence)
                )
            last = last if letter == "?" else letter
            seen.append(Observation(day, WORD[letter], f"{changes}.{offset // 5}"))
        subject = Subject(self.model, self.model, SubjectForm.MINIATURE, "arch", "files")
        track = Track(
            cell=f"{self.model}@transformers", subject=subject, family="new", organisation=self.organisation,
            kind=ModelKind.DENSE, released=FIRST, released_source="", runtime=Runtime.TRANSFORMERS,
            channel=Channel.STABLE, platform=Platform("3.11", "cpu", Isolation.CONTAINER), rung=None,
            observations=tuple(seen),
        )  # fmt: skip
        return CellHistory(track, tuple(flips), new_model=self.new_model)

    def look(self, days: int, *, began: date = FIRST) -> list[Alert]:
        history = self.history(days)
        if not history.track.observations:
            return []
        found = new_alerts(AlertInputs(began, frozenset(self.announced), [history]), flap_days=5)
        for alert in found:
            for item in alert.items:
                self.announced.add(item.key)
                self.told |= set(item.flips)
        return found

    def live(self, *, began: int = 0) -> str:
        """Return what is told, as ``day:kind``, days counted from 1."""
        told = []
        for days in range(1, len(self.story) + 1):
            told += [f"{days}:{SHORT[one.kind]}" for one in self.look(days, began=FIRST + timedelta(days=began))]
            assert self.look(days, began=FIRST + timedelta(days=began)) == []  # looking twice tells nothing twice
        return " ".join(told)


LONG = "W" * 16


@pytest.mark.parametrize(
    ("story", "told"),
    [
        ("W", ""),  # what worked when it was first seen is no news
        ("?W", ""),
        ("B", ""),
        ("BBW", "3:works"),
        ("BBW?.WW", "3:works"),
        ("WWB", "3:setback"),
        ("WW?B", "4:setback"),
        ("WWBBBBBBW", "3:setback 9:restored"),
        ("WF", "2:changed"),
        ("BF", "2:changed"),
        (LONG + "W", "14:stable"),
        (LONG + "B", "14:stable 17:regression"),
        (LONG + "BBBBBBBB" + "W", "14:stable 17:regression 25:restored"),
        # a third flip within the days: told once, then silence until as many quiet days have passed
        ("WBW" + "BWBW" + "WWWWWW", "2:setback 3:restored 4:flapping 5:changed 6:changed 7:changed 13:calm"),
        ("WBWB" + "BBBBBB" + "BBW", "2:setback 3:restored 4:flapping 10:calm 13:restored"),
        ("WBWB" + "BBBBB" + "W" + "WWWWWW", "2:setback 3:restored 4:flapping 10:calm 10:restored"),
        ("WBWB" + "BBBB" + "W" + "WWWWWW", "2:setback 3:restored 4:flapping 9:changed 15:calm"),
        # nobody looked, so nobody knows that it is calm
        ("WBWB" + "........" + "B", "2:setback 3:restored 4:flapping 13:calm"),
        ("WBBBBBBWWWWWWB", "2:setback 8:restored 14:setback"),  # slow enough to be told each time
    ],
)
def test_news_of_a_history(story: str, told: str) -> None:
    assert Life(story).live() == told


def test_the_first_success_of_a_model_found_since_is_news_and_only_once() -> None:
    assert Life("?W" + "W", new_model=True).live() == "2:works"
    assert Life("BW" + "W", new_model=True).live() == "2:works"


def test_what_came_before_alerts_began_is_not_told() -> None:
    assert Life("BW" + "WWW").live(began=2) == ""
    assert Life("BWWB").live(began=2) == "4:setback"
    assert Life(LONG + "WW").live(began=15) == ""


def test_a_crash_before_the_commit_has_told_nothing_and_everything_is_told_next_time() -> None:
    calm, crashed = Life("WWB"), Life("WWB")
    lost = new_alerts(AlertInputs(FIRST, frozenset(), [crashed.history(3)]), flap_days=7)
    assert lost == crashed.look(3) == calm.look(3) != []


def broken(*models: tuple[str, str]) -> list[Alert]:
    lives = [Life("WWB", model=model, signature=signature) for model, signature in models]
    return new_alerts(AlertInputs(FIRST, frozenset(), [one.history(3) for one in lives]), flap_days=7)


def test_a_release_that_breaks_many_is_one_message_grouped_by_cause() -> None:
    found = broken(("a/1", "s2 x"), ("a/2", "s1 y"), ("a/3", "s2 x"), ("a/4", "s1 y"))
    assert [one.kind for one in found] == [Kind.BREAKS_MANY]
    assert [(item.signature, item.model) for item in found[0].items] == [
        ("s1 y", "a/2"), ("s1 y", "a/4"), ("s2 x", "a/1"), ("s2 x", "a/3"),
    ]  # fmt: skip
    assert sorted(found[0].items[0].flips) == [2]


def test_a_release_that_breaks_two_is_one_message_of_its_kind() -> None:
    found = broken(("a/1", "s1"), ("a/2", "s2"))
    assert [(one.kind, one.models) for one in found] == [(Kind.SETBACK, 2)]


def test_two_subjects_of_one_model_are_no_crowd() -> None:
    lives = [Life("WWB"), Life("WWB"), Life("WWB")]
    assert [
        one.kind
        for one in new_alerts(AlertInputs(FIRST, frozenset(), [life.history(3) for life in lives]), flap_days=7)
    ] == [Kind.SETBACK]


def test_a_trouble_is_told_when_it_begins_and_when_it_is_known_to_be_over() -> None:
    probing = TroubleId(TroubleArea.DAEMON, "probing")
    assert TroubleId.parse(str(probing)) == probing
    engine = Trouble(probing, "probing: no engine answers")
    [begins] = new_alerts(AlertInputs(FIRST, frozenset(), troubles=[engine], stamp="t1"), flap_days=7)
    assert (begins.kind, begins.items[0].line) == (Kind.TROUBLE, "probing: no engine answers")
    standing = {probing: "probing: no engine answers"}
    inputs = AlertInputs(FIRST, frozenset(), troubles=[engine], open_troubles=standing)
    assert new_alerts(inputs, flap_days=7) == []
    unknown = AlertInputs(FIRST, frozenset(), open_troubles=standing)
    assert new_alerts(unknown, flap_days=7) == []
    fine = AlertInputs(FIRST, frozenset(), open_troubles=standing, fine=frozenset({probing}), stamp="t2")
    [over] = new_alerts(fine, flap_days=7)
    assert (over.kind, over.items[0].line) == (Kind.TROUBLE_OVER, "Resolved: probing. The step works again.")


def target(name: str = "ops", **filters: Any) -> Target:
    return Target(name=name, url="json://127.0.0.1:9", **filters)


def test_new_models_come_together() -> None:
    models = [
        NewModel("acme/a", "acme", "x", ""),
        NewModel("acme/b", "acme", "x", ""),
        NewModel("bcme/c", "bcme", "x", ""),
    ]
    found = new_alerts(AlertInputs(FIRST, frozenset(), new_models=models), flap_days=7)
    assert [[item.model for item in one.items] for one in found] == [["acme/a", "acme/b", "bcme/c"]]
    own = found[0].for_target(target(organisations=("bcme",)))
    assert own is not None
    assert [item.model for item in own.items] == ["bcme/c"]


def test_a_target_gets_the_items_that_its_filters_let_through() -> None:
    [alert] = broken(("a/1", "s"), ("a/2", "s"), ("a/3", "s"))
    assert alert.for_target(target()) == alert
    assert alert.for_target(target(runtimes=(Runtime.VLLM,))) is None
    assert alert.for_target(target(severities=(Severity.INFO,))) is None
    assert alert.for_target(target(runtimes=(Runtime.TRANSFORMERS,), organisations=("ACME",))) == alert
    assert alert.for_target(target(organisations=("other",))) is None
    [changed] = Life("WF").look(2)
    assert changed.for_target(target()) is None  # the digest alone tells it


def test_a_target_in_trouble_is_not_told_so_itself() -> None:
    [alert] = new_alerts(
        AlertInputs(FIRST, frozenset(), troubles=[Trouble(TroubleId(TroubleArea.TARGET, "ops"), "given up")]),
        flap_days=7,
    )
    assert alert.for_target(target()) is None
    assert alert.for_target(target(name="others")) == alert
