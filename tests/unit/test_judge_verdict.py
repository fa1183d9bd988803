"""Blame: which failures count, against whom, and what a person reads."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.domain import BAR, Blame, CellVerdict, CheckResult, Outcome, Rung, Runtime, Subject, SubjectForm, Verdict
from monitor.judge.checks import checks_of, fault_result, passed
from monitor.judge.confirm import Attempt, Confirmed, RetryNeeded, RetryReason, Settled, decide
from monitor.judge.control import Control, control_says
from monitor.judge.merging import merge
from monitor.judge.verdict import Circumstances, judge_run
from probes import catalogue

SUBJECT = Subject("a", "m", SubjectForm.MINIATURE, "gemma4", "d", qualified=True, first_known="5.5.0")
HERE = Circumstances(SUBJECT, Runtime.TRANSFORMERS, "5.4.1", Control.GREEN)
OWN = checks_of(Runtime.TRANSFORMERS)
ALL = tuple(passed(name) for name in (*catalogue.INSTALLS, *OWN))


def checks(**faults: str) -> tuple[CheckResult, ...]:
    """Return every check passed but those named, as ``loads__model="load-error"``."""
    named = {name.replace("__", "."): fault for name, fault in faults.items()}
    return tuple(fault_result(one.name, named[one.name], "boom") if one.name in named else one for one in ALL)


def skipped(*names: str) -> tuple[CheckResult, ...]:
    return tuple(
        replace(one, outcome=Outcome.SKIPPED, message="no such thing") if one.name in names else one for one in ALL
    )


@pytest.mark.parametrize(
    ("version", "first_known", "said"),
    [
        ("5.4.1", "5.5.0", "not registered (too old: first known in 5.5.0)"),
        ("5.4.1", "5.5", "not registered (too old: first known in 5.5)"),
        ("5.5.0", "5.5", "not registered (first known in 5.5)"),
        ("5.10.0", "5.9.0", "not registered (first known in 5.9.0)"),
        ("4.48.0", "<=4.49.0", "not registered (too old: first known in 4.49.0 or earlier)"),
        ("5.4.1", "", "not registered"),
        ("nightly", "5.5.0", "not registered (first known in 5.5.0)"),
    ],
)
def test_an_unknown_architecture_is_told_with_its_bracket(version: str, first_known: str, said: str) -> None:
    here = Circumstances(replace(SUBJECT, first_known=first_known), Runtime.TRANSFORMERS, version)
    verdict = judge_run(checks(knows__architecture="unknown-architecture"), here)
    assert verdict.reason == f"knows: the architecture gemma4 is {said}"
    assert (verdict.verdict, verdict.rung, str(verdict.blame)) == (CellVerdict.BROKEN, Rung.KNOWS, "runtime")


def test_a_class_that_is_missing_further_up_is_told_as_it_was_seen() -> None:
    verdict = judge_run(checks(loads__model="unknown-architecture"), HERE)
    assert verdict.reason == "loads: loads.model: boom (too old: first known in 5.5.0)"


@pytest.mark.parametrize(
    ("fault", "subject", "control", "verdict"),
    [
        ("load-error", SUBJECT, Control.ABSENT, "unknown"),  # nobody has shown that this bench can run anything
        ("unknown-architecture", SUBJECT, Control.ABSENT, "broken"),
        ("load-error", SUBJECT, Control.GREEN, "broken"),
        ("load-error", SUBJECT, Control.RELEASE, "broken"),
        ("load-error", replace(SUBJECT, qualified=False), Control.GREEN, "unknown"),
        ("load-error", replace(SUBJECT, qualified=False, form=SubjectForm.FOLDER), Control.GREEN, "broken"),
        ("load-error", SUBJECT, Control.INFRA, "unknown"),
        ("load-error", SUBJECT, Control.PENDING, "unknown"),
        ("missing-dependency", SUBJECT, Control.GREEN, "unknown"),  # our recipe decides what is installed
        ("missing-dependency", replace(SUBJECT, form=SubjectForm.FOLDER), Control.GREEN, "broken"),
        ("unsupported-on-platform", SUBJECT, Control.GREEN, "broken"),
        ("unsupported-on-platform", replace(SUBJECT, qualified=False), Control.GREEN, "broken"),  # no kernel for anyone
        ("needs-remote-code", SUBJECT, Control.GREEN, "broken"),
        ("bad-checkpoint", SUBJECT, Control.GREEN, "unknown"),  # a miniature is our own checkpoint
        ("bad-checkpoint", replace(SUBJECT, form=SubjectForm.FOLDER), Control.GREEN, "broken"),
        ("pickle-weights", replace(SUBJECT, form=SubjectForm.FULL), Control.GREEN, "broken"),
        ("infra-miniature", SUBJECT, Control.GREEN, "unknown"),
        ("unclassified", SUBJECT, Control.GREEN, "broken"),
        ("unclassified", SUBJECT, Control.RELEASE, "broken"),
        ("unclassified", SUBJECT, Control.ABSENT, "unknown"),
        ("unclassified", replace(SUBJECT, qualified=False), Control.GREEN, "unknown"),
        ("cache-differs", replace(SUBJECT, qualified=False), Control.GREEN, "broken"),  # one model contradicts itself
        ("attention-differs", replace(SUBJECT, qualified=False), Control.GREEN, "unknown"),  # two that were loaded
    ],
)
def test_which_failures_count(fault: str, subject: Subject, control: Control, verdict: str) -> None:
    results = checks(loads__model=fault)
    reproduced = frozenset(one.signature for one in results)
    assert (
        str(judge_run(results, Circumstances(subject, Runtime.TRANSFORMERS, "5.4.1", control, reproduced)).verdict)
        == verdict
    )


def test_an_unclassified_failure_must_be_reproduced() -> None:
    results = checks(loads__model="unclassified")
    assert "not reproduced" in judge_run(results, HERE).reason
    assert judge_run(results, HERE).verdict is CellVerdict.UNKNOWN


def test_a_package_that_our_recipe_does_not_install_is_ours() -> None:
    verdict = judge_run(checks(loads__model="missing-dependency"), HERE)
    assert (verdict.fault, str(verdict.blame)) == ("infra-recipe", "infra")
    importing = judge_run(checks(installs__imports="missing-dependency"), HERE)
    assert (importing.verdict, str(importing.blame)) == (CellVerdict.BROKEN, "dependency")


def test_an_import_error_needs_no_control_but_a_bench_that_is_able() -> None:
    results = checks(installs__imports="import-error")
    assert judge_run(results, replace(HERE, control=Control.ABSENT)).verdict is CellVerdict.BROKEN
    assert judge_run(results, replace(HERE, control=Control.PENDING)).verdict is CellVerdict.BROKEN
    assert judge_run(results, replace(HERE, control=Control.INFRA)).verdict is CellVerdict.UNKNOWN


def test_every_rung_of_the_bar_needs_a_check_that_applies() -> None:
    assert judge_run(skipped("speaks.template"), HERE).verdict is CellVerdict.WORKS
    of_its_own = ("speaks.templates", "speaks.ends")
    none = judge_run(skipped("speaks.template", "speaks.tokenizer", "speaks.roundtrip", *of_its_own), HERE)
    assert (none.verdict, none.rung, none.reason) == (CellVerdict.UNKNOWN, Rung.SPEAKS, "speaks: no such thing")
    assert none.rungs[Rung.SPEAKS].verdict is Verdict.NOT_APPLICABLE


def test_a_rung_above_the_bar_is_a_track_of_its_own() -> None:
    failing = replace(fault_result("loads.model", "load-error", "boom"), rung=Rung.SERVES)
    verdict = judge_run((*ALL, failing), HERE)
    assert verdict.verdict is CellVerdict.WORKS
    assert [(str(one.rung), str(one.verdict)) for one in verdict.rungs][-1] == ("serves", "failed")


@given(st.permutations(checks(loads__model="infra-memory", generates__cache="cache-differs")))
def test_the_order_of_rungs_decides_and_not_the_order_of_results(results: list[CheckResult]) -> None:
    verdict = judge_run(results, HERE)
    assert (verdict.verdict, verdict.rung) == (CellVerdict.BROKEN, Rung.GENERATES)


WORKS, BROKEN, OURS = ALL, checks(loads__model="load-error"), checks(loads__model="infra-engine")


@given(
    st.lists(st.tuples(st.sampled_from([WORKS, BROKEN, OURS]), st.booleans()), min_size=1, max_size=7),
    st.sampled_from([None, CellVerdict.WORKS, CellVerdict.BROKEN, CellVerdict.FLAKY]),
)
def test_a_run_that_knows_nothing_turns_nothing_around(
    story: list[tuple[tuple[CheckResult, ...], bool]], last: CellVerdict | None
) -> None:
    attempts = [Attempt(results, solo) for results, solo in story]
    standing = Confirmed(last) if last else None
    before = decide(standing, attempts, HERE)
    after = decide(standing, [*attempts, Attempt(OURS, solo=True)], HERE)
    if isinstance(before, Settled) and isinstance(after, Settled):
        known = {before.verdict.verdict, after.verdict.verdict}
        assert not {CellVerdict.WORKS, CellVerdict.BROKEN} <= known


@given(st.lists(st.booleans(), min_size=1, max_size=9))
def test_only_faults_of_ours_are_never_broken(solos: list[bool]) -> None:
    decision = decide(Confirmed(CellVerdict.WORKS), [Attempt(OURS, solo) for solo in solos], HERE)
    verdict = decision.verdict if isinstance(decision, Settled) else decision.leaning
    assert verdict.verdict is CellVerdict.UNKNOWN


@given(
    st.sampled_from([None, CellVerdict.WORKS, CellVerdict.BROKEN, CellVerdict.FLAKY]),
    st.lists(st.sampled_from([WORKS, BROKEN, OURS, checks(loads__model="unclassified")]), min_size=10, max_size=10),
)
def test_every_story_ends(last: CellVerdict | None, outcomes: list[tuple[CheckResult, ...]]) -> None:
    attempts: list[Attempt] = []
    for outcome in outcomes:
        decision = decide(Confirmed(last) if last else None, attempts, HERE)
        if isinstance(decision, Settled):
            return
        attempts.append(Attempt(outcome, decision.solo, decision.limit_factor))
    raise AssertionError(f"still not settled after {len(attempts)} attempts")


@pytest.mark.parametrize(
    ("fault", "attempts"),
    [("infra-memory", 2), ("infra-events", 2), ("infra-engine", 3), ("infra-time", 3), ("infra-miniature", 1)],
)
def test_how_often_a_fault_of_ours_is_tried_again(fault: str, attempts: int) -> None:
    made = [Attempt(checks(loads__model=fault), solo=False)]
    while isinstance(again := decide(None, made, HERE), RetryNeeded):
        made.append(Attempt(checks(loads__model=fault), again.solo))
    assert len(made) == attempts
    assert again.verdict.verdict is CellVerdict.UNKNOWN


def test_a_change_to_flaky_needs_three_fresh_runs_too() -> None:
    made = [Attempt(WORKS, solo=True), Attempt(BROKEN, solo=True)]
    again = decide(Confirmed(CellVerdict.WORKS), made, HERE)
    assert isinstance(again, RetryNeeded)
    assert again.why is RetryReason.CHANGE
    settled = decide(Confirmed(CellVerdict.WORKS), [*made, Attempt(WORKS, solo=True)], HERE)
    assert isinstance(settled, Settled)
    assert (settled.verdict.verdict, settled.changed) == (CellVerdict.FLAKY, True)


def test_a_folder_that_runs_out_of_time_is_slow_and_does_not_hang() -> None:
    here = replace(HERE, subject=replace(SUBJECT, form=SubjectForm.FOLDER))
    made: list[Attempt] = []
    while isinstance(again := decide(None, made, here), RetryNeeded) and len(made) < 5:
        counts = again.solo and again.limit_factor > 1
        hung = fault_result("generates.forward", "hung", "no answer")
        hung = hung if counts else replace(hung, outcome=Outcome.UNKNOWN, blame=Blame.UNATTRIBUTED)
        results = tuple(hung if one.name == hung.name else one for one in ALL)
        made.append(Attempt(results, again.solo, again.limit_factor))
    assert isinstance(again, Settled)
    assert [one.limit_factor for one in made] == [1, 3]
    assert (str(again.verdict.verdict), again.verdict.fault) == ("unknown", "infra-time")


def test_nothing_tried_leans_to_nothing() -> None:
    decision = decide(None, [], HERE)
    assert isinstance(decision, RetryNeeded)
    assert (decision.why, decision.solo, decision.leaning.verdict) == (RetryReason.FIRST, False, CellVerdict.UNKNOWN)


def test_another_failure_than_before_is_noted_and_no_change() -> None:
    decision = decide(Confirmed(CellVerdict.BROKEN, "other"), [Attempt(BROKEN, solo=True)], HERE)
    assert isinstance(decision, Settled)
    assert (decision.changed, decision.note) == (False, "still broken, by another failure than before")


def test_runs_that_disagree_about_a_rung_make_it_flaky() -> None:
    merged = merge([judge_run(WORKS, HERE), judge_run(BROKEN, HERE), judge_run(BROKEN, HERE)], BAR)
    assert (merged.verdict, merged.rung) == (CellVerdict.FLAKY, Rung.LOADS)
    assert merged.reason == "loads: failed in 2 of 3 runs: loads.model: boom"


@pytest.mark.parametrize(
    ("here", "elsewhere", "says"),
    [
        ("W", "", "green"),
        ("BW", "", "green"),
        ("B", "W", "release"),
        ("B", "B", "infra"),
        ("B", "?", "pending"),
        ("B", "", "pending"),
        ("?", "W", "absent"),
        ("", "", "absent"),
    ],
)
def test_what_the_control_says(here: str, elsewhere: str, says: str) -> None:
    letters = {"W": CellVerdict.WORKS, "B": CellVerdict.BROKEN, "?": CellVerdict.UNKNOWN}
    control = control_says([letters[one] for one in here], [letters[one] for one in elsewhere])
    assert str(control) == says
    assert control.reason
