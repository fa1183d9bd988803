"""Sessions with one fingerprint in every order: what contradicts itself is flaky, whatever came first."""

from __future__ import annotations

from collections import Counter
from itertools import permutations, product
from typing import TYPE_CHECKING

import pytest

from monitor.domain import CellVerdict, Runtime, Subject, SubjectForm
from monitor.judge.checks import checks_of, fault_result, passed
from monitor.judge.confirm import Attempt, Confirmed, RetryNeeded, Settled, decide
from monitor.judge.control import Control
from monitor.judge.verdict import Circumstances
from probes import catalogue

if TYPE_CHECKING:
    from collections.abc import Iterator

SUBJECT = Subject("a", "m", SubjectForm.MINIATURE, "gemma4", "d", qualified=True)
HERE = Circumstances(SUBJECT, Runtime.TRANSFORMERS, "5.4.1", Control.GREEN)
DEEP = {check.name for check in catalogue.sequence(Runtime.TRANSFORMERS) if check.deep}
WORKS = tuple(passed(name) for name in (*catalogue.INSTALLS, *checks_of(Runtime.TRANSFORMERS)))
QUICK = tuple(check for check in WORKS if check.name not in DEEP)
BROKEN = tuple(
    fault_result(check.name, "load-error", "boom") if check.name == "loads.model" else check for check in WORKS
)
DEEP_BROKEN = tuple(
    fault_result(check.name, "wrong-config", "no effect") if check.name in DEEP else check for check in WORKS
)
STANDING = (None, CellVerdict.WORKS, CellVerdict.BROKEN, CellVerdict.FLAKY)
# in a fork and alone: W and w pass, B and b fail
ATTEMPTS = {
    "W": Attempt(WORKS, solo=False),
    "w": Attempt(WORKS, solo=True),
    "B": Attempt(BROKEN, solo=False),
    "b": Attempt(BROKEN, solo=True),
    "q": Attempt(QUICK, solo=False, deep=False),
}


def decided(last: CellVerdict | None, sessions: str) -> Settled | RetryNeeded:
    return decide(Confirmed(last) if last else None, [ATTEMPTS[letter] for letter in sessions], HERE)


def lived(last: CellVerdict | None, *, forks: bool) -> Iterator[tuple[str, Settled]]:
    """Yield every way in which a day can settle, each session ending either way; without forks all run alone."""
    open_days = [""]
    while open_days:
        sessions = open_days.pop()
        decision = decided(last, sessions)
        if isinstance(decision, Settled):
            yield sessions, decision
            continue
        alone = decision.solo or not forks
        open_days += [sessions + letter for letter in ("wb" if alone else "WB")]


@pytest.mark.parametrize("forks", [True, False], ids=["forked", "alone"])
@pytest.mark.parametrize("last", STANDING)
def test_no_day_settles_as_works_or_broken_on_sessions_that_contradict_each_other(
    last: CellVerdict | None, *, forks: bool
) -> None:
    """Mixed outcomes are flaky, after at least one more session; only a fork that always differs is the fork's."""
    for sessions, settled in lived(last, forks=forks):
        passes, fails = sum(each in "Ww" for each in sessions), sum(each in "Bb" for each in sessions)
        verdict = settled.verdict.verdict
        forked, alone = set(sessions) & {"W", "B"}, set(sessions) & {"w", "b"}
        if not (passes and fails):
            assert verdict is (CellVerdict.WORKS if passes else CellVerdict.BROKEN), sessions
        elif len(forked) > 1 or len(alone) > 1:
            assert verdict is CellVerdict.FLAKY, sessions
            assert len(sessions) >= 3, sessions
        else:
            assert verdict is (CellVerdict.WORKS if "w" in alone else CellVerdict.BROKEN), sessions
            assert all(sum(each in way for each in sessions) >= 2 for way in ("WB", "wb")), sessions
            assert settled.note
        if verdict is not last and last is not None:
            assert settled.changed
            assert len(sessions) >= 3, sessions
        if verdict is CellVerdict.BROKEN and last is None:
            assert fails >= 2, sessions  # one failing session of its own is not enough


@pytest.mark.parametrize("last", STANDING)
def test_the_order_of_sessions_decides_nothing(last: CellVerdict | None) -> None:
    for length in range(1, 5):
        for sessions in {"".join(sorted(each)) for each in product("WwBb", repeat=length)}:
            verdicts = {_said(decided(last, "".join(order))) for order in set(permutations(sessions))}
            assert len(verdicts) == 1, sessions


def _said(decision: Settled | RetryNeeded) -> tuple[str, str]:
    if isinstance(decision, Settled):
        return "settled", str(decision.verdict.verdict)
    return str(decision.why), ""


@pytest.mark.parametrize(
    ("last", "sessions", "verdict"),
    [
        (None, "Bwb", CellVerdict.FLAKY),
        (CellVerdict.BROKEN, "wbw", CellVerdict.FLAKY),  # broken, then a pass alone: not broken again
        (CellVerdict.BROKEN, "wbb", CellVerdict.FLAKY),
        (CellVerdict.WORKS, "bww", CellVerdict.FLAKY),
        (None, "BwBw", CellVerdict.WORKS),
        (None, "BwW", CellVerdict.FLAKY),
    ],
)
def test_mixed_days(last: CellVerdict | None, sessions: str, verdict: CellVerdict) -> None:
    settled = decided(last, sessions)
    assert isinstance(settled, Settled)
    assert settled.verdict.verdict is verdict


def test_a_cell_that_fails_one_session_in_twenty_is_hardly_ever_broken_on_its_first_day() -> None:
    """It read broken on 9.5 % of its first days when one failure, before or after a pass, was enough."""
    likely: Counter[CellVerdict] = Counter()
    for sessions, settled in lived(None, forks=True):
        likely[settled.verdict.verdict] += 0.95 ** sum(each in "Ww" for each in sessions) * 0.05 ** sum(  # type: ignore[assignment]
            each in "Bb" for each in sessions
        )
    assert sum(likely.values()) == pytest.approx(1)
    assert likely[CellVerdict.BROKEN] < 0.003


def test_a_pinned_version_works_by_two_sessions() -> None:
    from dataclasses import replace

    by_hand = replace(HERE, by_hand=True)
    assert isinstance(decide(None, [ATTEMPTS["W"]], by_hand), RetryNeeded)
    settled = decide(None, [ATTEMPTS["W"], ATTEMPTS["W"]], by_hand)
    assert isinstance(settled, Settled)
    assert settled.verdict.verdict is CellVerdict.WORKS


def test_a_quick_run_that_works_does_not_contradict_a_deep_one_that_fails() -> None:
    """It was not asked: otherwise what only the deep part sees would read as flaky on the first day."""
    deep = [Attempt(DEEP_BROKEN, solo=False), Attempt(DEEP_BROKEN, solo=True)]
    assert DEEP
    assert decided(None, "q") == decided(None, "qq")
    for attempts in ([ATTEMPTS["q"], *deep], [*deep, ATTEMPTS["q"]]):
        settled = decide(None, attempts, HERE)
        assert isinstance(settled, Settled)
        assert settled.verdict.verdict is CellVerdict.BROKEN
    again = decide(None, [ATTEMPTS["q"], deep[0]], HERE)
    assert isinstance(again, RetryNeeded)


def test_a_deep_run_that_works_agrees_with_a_quick_one() -> None:
    settled = decided(CellVerdict.BROKEN, "qWw")
    assert isinstance(settled, Settled)
    assert (settled.verdict.verdict, settled.changed) == (CellVerdict.WORKS, True)


def test_what_fails_in_the_quick_part_speaks_beside_a_deep_run() -> None:
    quick = Attempt(BROKEN, solo=True, deep=False)
    assert isinstance(decide(None, [ATTEMPTS["W"], quick], HERE), RetryNeeded)  # it contradicts itself
