"""What a session said and how its process ended, as a table: who is to blame for a check that never answered."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.domain import BAR, Blame, CellVerdict, CheckResult, Ending, Outcome, Rung, Runtime, Subject, SubjectForm
from monitor.judge.checks import checks_of, fault_result, judge_subject
from monitor.judge.control import Control
from monitor.judge.faults import BLAME
from monitor.judge.observations import Finished, Session, SubjectNotes
from monitor.judge.runs import Stage, checks_of_session, checks_without_environment, of_its_day
from monitor.judge.verdict import Circumstances, judge_run
from monitor.wire.events import RETIRED, parse_event
from probes import catalogue, wire

HERE = Runtime.TRANSFORMERS
SUBJECT_CHECKS = checks_of(HERE)
CLEAN = Ending(exit_code=0)
SUBJECT = Subject("a", "m", SubjectForm.MINIATURE, "newarch", "d", qualified=True)


def passed(check: str) -> Finished:
    return Finished(check, "passed", 0.1)


IMPORTED = SubjectNotes(None, ("installs.imports",), (passed("installs.imports"),))


def session(said: SubjectNotes, *, own: SubjectNotes = IMPORTED, malformed: str = "") -> Session:
    return Session(False, own, {"a": said}, malformed)


def until(check: str, *, died: Ending | None = None, spoiled: str = "") -> SubjectNotes:
    """Return what was said when every check before ``check`` passed and ``check`` started and never finished."""
    before = SUBJECT_CHECKS[: SUBJECT_CHECKS.index(check)]
    return SubjectNotes("a", (*before, check), tuple(map(passed, before)), died=died, spoiled=spoiled)


def result(said: SubjectNotes, ending: Ending | None, check: str, *, hang_counts: bool = False) -> CheckResult:
    results = judge_subject(session(said), "a", ending, runtime=HERE, hang_counts=hang_counts)
    return next(one for one in results if one.name == check)


@pytest.mark.parametrize(
    ("ending", "outcome", "fault"),
    [
        (Ending(signal=11, exit_code=139), "failed", "crashed"),
        (Ending(signal=6), "failed", "crashed"),
        (Ending(exit_code=3), "failed", "crashed"),
        (Ending(signal=9), "unknown", "infra-interrupted"),
        (Ending(signal=15), "unknown", "infra-interrupted"),
        (Ending(signal=9, out_of_memory=True), "unknown", "infra-memory"),
        (Ending(signal=9, timed_out=True), "unknown", "hung"),
        (Ending(engine_fault="gone"), "unknown", "infra-engine"),
        (Ending(), "unknown", "infra-interrupted"),
        (None, "unknown", "infra-interrupted"),
        (CLEAN, "unknown", "infra-events"),
    ],
)
def test_the_ending_answers_for_a_check_that_did_not(ending: Ending | None, outcome: str, fault: str) -> None:
    by_container = result(until("generates.cache"), ending, "generates.cache")
    assert (str(by_container.outcome), by_container.fault) == (outcome, fault)
    if ending is not None:
        by_parent = result(until("generates.cache", died=ending), CLEAN, "generates.cache")
        assert (by_parent.outcome, by_parent.fault) == (by_container.outcome, by_container.fault)


@pytest.mark.parametrize("check", ["knows.architecture", "generates.cache"])
def test_what_our_own_code_raises_is_ours(check: str) -> None:
    for said, ending in (
        (until(check, died=Ending(exit_code=wire.OUR_BUG_EXIT)), CLEAN),
        (until(check), Ending(exit_code=wire.OUR_BUG_EXIT)),
        (until(check), Ending(exit_code=1)),  # the session's main raised
        (until(check), Ending(exit_code=2)),
    ):
        judged = result(said, ending, check)
        assert (str(judged.outcome), judged.fault, judged.blame) == ("unknown", "infra-recipe", Blame.INFRA)
    assert result(until(check, died=Ending(exit_code=1)), CLEAN, check).fault == "crashed"  # the runtime called exit


def test_a_signal_blames_whom_it_speaks_of() -> None:
    bus = result(until("generates.cache", died=Ending(signal=7)), CLEAN, "generates.cache")
    assert (bus.outcome, bus.blame) == (Outcome.UNKNOWN, Blame.UNATTRIBUTED)
    assert "SIGBUS" in bus.message
    illegal = result(until("generates.cache", died=Ending(signal=4)), CLEAN, "generates.cache")
    assert (illegal.outcome, illegal.blame) == (Outcome.FAILED, Blame.PLATFORM)


def test_a_hang_alone_with_three_times_the_limit_counts() -> None:
    hang = Ending(timed_out=True)
    assert result(until("generates.cache"), hang, "generates.cache", hang_counts=True).outcome is Outcome.FAILED
    for solo, factor, outcome in ((True, 3, "failed"), (True, 1, "unknown"), (False, 3, "unknown")):
        said = session(until("loads.model"))
        checks = checks_of_session(said, "a", hang, runtime=HERE, solo=solo, limit_factor=factor)
        assert str(next(one for one in checks if one.fault == "hung").outcome) == outcome


def test_what_comes_after_is_not_reached_and_what_came_before_stands() -> None:
    results = judge_subject(session(until("loads.tensors")), "a", Ending(signal=11), runtime=HERE, hang_counts=False)
    by_name = {one.name: one for one in results}
    assert by_name["loads.model"].outcome is Outcome.PASSED
    assert by_name["loads.parts"].outcome is Outcome.NOT_REACHED
    assert by_name["loads.parts"].message == "not reached: the process ended in loads.tensors"
    assert [one.name for one in results] == ["installs.imports", *SUBJECT_CHECKS]


def test_a_failed_import_is_every_subjects() -> None:
    own = SubjectNotes(None, ("installs.imports",), (Finished("installs.imports", "failed", 1, "import-error", "no"),))
    results = judge_subject(session(SubjectNotes("a"), own=own), "a", CLEAN, runtime=HERE, hang_counts=False)
    assert (results[0].outcome, results[0].blame) == (Outcome.FAILED, Blame.RUNTIME)
    assert {one.outcome for one in results[1:]} == {Outcome.NOT_REACHED}


def test_a_subject_whose_turn_never_came_says_nothing_about_the_runtime() -> None:
    for ending in (Ending(signal=11), Ending(timed_out=True), Ending(exit_code=1), Ending(out_of_memory=True), CLEAN):
        checks = checks_of_session(session(SubjectNotes("a")), "a", ending, runtime=HERE, solo=True, limit_factor=3)
        verdict = judge_run(checks, Circumstances(SUBJECT, HERE, "5.0.0"))
        assert (verdict.verdict, verdict.blame) == (CellVerdict.UNKNOWN, Blame.INFRA)


def test_a_check_left_out_without_a_reason_is_noticed() -> None:
    most = SubjectNotes("a", SUBJECT_CHECKS[1:], tuple(map(passed, SUBJECT_CHECKS[1:])))
    assert result(most, CLEAN, SUBJECT_CHECKS[0]).fault == "infra-events"


@given(
    st.sampled_from(SUBJECT_CHECKS),
    st.sampled_from([Ending(signal=11), Ending(exit_code=1), CLEAN, Ending(timed_out=True)]),
    st.booleans(),
    st.sampled_from(["unknown-architecture", "load-error", "unclassified"]),
)
def test_a_malformed_file_never_breaks_anyone(check: str, ending: Ending, spoiled: bool, fault: str) -> None:
    said = until(check, died=ending, spoiled="line 7" if spoiled else "")
    failed = Finished(check, "failed", 0.1, fault, "no")
    said = SubjectNotes("a", said.started, (*said.finished, failed), died=ending, spoiled=said.spoiled)
    checks = checks_of_session(session(said, malformed="line 7"), "a", ending, runtime=HERE, solo=True, limit_factor=3)
    verdict = judge_run(
        checks, Circumstances(SUBJECT, HERE, "5.0.0", Control.GREEN, frozenset(c.signature for c in checks))
    )
    assert verdict.verdict is not CellVerdict.BROKEN


@pytest.mark.parametrize("outcome", ["passed", "skipped", "failed"])
def test_nothing_of_a_spoiled_record_counts(outcome: str) -> None:
    """Whoever spoiled it may have written its passes, too."""
    fault = "load-error" if outcome == "failed" else ""
    answers = tuple(Finished(check, outcome, 0.1, fault) for check in SUBJECT_CHECKS)
    forged = SubjectNotes("a", SUBJECT_CHECKS, answers, spoiled="line 7")
    judged = judge_subject(session(forged, malformed="line 7"), "a", CLEAN, runtime=HERE, hang_counts=False)
    assert {(str(one.outcome), one.fault) for one in judged[1:]} == {("unknown", "infra-events")}
    whole = SubjectNotes("a", SUBJECT_CHECKS, tuple(map(passed, SUBJECT_CHECKS)))  # done before the line that spoils
    judged = judge_subject(session(whole, malformed="line 7"), "a", CLEAN, runtime=HERE, hang_counts=False)
    assert {str(one.outcome) for one in judged} == {"passed"}


def test_equal_failures_in_other_places_have_equal_signatures() -> None:
    def failing(message: str, line: int) -> CheckResult:
        evidence = {"frames": [{"file": "modeling.py", "line": line, "function": "forward"}]}
        finished = Finished("loads.model", "failed", 0.1, "load-error", message, evidence)
        said = SubjectNotes("a", SUBJECT_CHECKS[:3], (*map(passed, SUBJECT_CHECKS[:2]), finished))
        return result(said, CLEAN, "loads.model")

    assert failing("no /a/b.py at 0x1f", 10).signature == failing("no /c.py at 0xee", 99).signature
    assert failing("no", 1).signature != failing("yes", 1).signature


@pytest.mark.parametrize("fault", ["unresolvable", "inconsistent"])
def test_an_installation_that_fails_is_a_dependencys(fault: str) -> None:
    checks = checks_without_environment(HERE, Stage.RESOLVES, fault, "no")
    of_the_installation = set(catalogue.INSTALLS)
    assert {one.name for one in checks} == {*of_the_installation, *SUBJECT_CHECKS}
    verdict = judge_run(checks, Circumstances(SUBJECT, HERE, "5.0.0"))
    assert (verdict.verdict, verdict.blame) == (CellVerdict.BROKEN, Blame.DEPENDENCY)


@pytest.mark.parametrize("fault", sorted(slug for slug, blame in BLAME.items() if blame is Blame.INFRA))
@pytest.mark.parametrize("stage", list(Stage))
def test_our_own_installers_faults_are_unknown(stage: Stage, fault: str) -> None:
    verdict = judge_run(
        checks_without_environment(HERE, stage, fault, "no"),
        Circumstances(SUBJECT, HERE, "5.0.0"),
    )
    assert (verdict.verdict, verdict.blame) == (CellVerdict.UNKNOWN, Blame.INFRA)


@given(st.dictionaries(st.sampled_from(SUBJECT_CHECKS), st.sampled_from(sorted(BLAME)), max_size=4))
def test_faults_of_ours_never_break_a_cell(faults: dict[str, str]) -> None:
    ours = {
        check: fault
        for check, fault in faults.items()
        if BLAME[fault] is Blame.INFRA and (fault == "infra-events" or not catalogue.checks()[check].finding)
    }
    finished = [
        Finished(check, "failed", 0.1, ours[check], "no") if check in ours else passed(check)
        for check in SUBJECT_CHECKS
    ]
    said = SubjectNotes("a", SUBJECT_CHECKS, tuple(finished))
    checks = checks_of_session(session(said), "a", CLEAN, runtime=HERE, solo=True, limit_factor=3)
    verdict = judge_run(checks, Circumstances(SUBJECT, HERE, "5.0.0"))
    at_the_bar = any(Rung(wire.rung_of(check)) in BAR for check in ours)
    assert verdict.verdict is (CellVerdict.UNKNOWN if at_the_bar else CellVerdict.WORKS)
    assert tuple(one.rung for one in verdict.rungs) == (*BAR, Rung.MATCHES)


def test_a_run_of_earlier_probes_is_judged_by_what_they_asked() -> None:
    """Defect: judging a history again with one more check made everything unknown that had worked before it."""
    asked = (*SUBJECT_CHECKS[:-1], *RETIRED)
    event = {"event": "finished", "subject": "a", "outcome": "passed", "seconds": 0.1, "at": 1.0}
    assert all(parse_event(json.dumps({**event, "check": name}).encode()) for name in RETIRED)
    said = session(SubjectNotes("a", asked, tuple(map(passed, asked))))

    def verdict(names: tuple[str, ...]) -> CellVerdict:
        checks = checks_of_session(said, "a", CLEAN, runtime=HERE, solo=True, limit_factor=3, asked=names)
        return judge_run(checks, Circumstances(SUBJECT, HERE, "5.0.0")).verdict

    assert verdict(asked) is CellVerdict.WORKS
    assert verdict(SUBJECT_CHECKS) is CellVerdict.UNKNOWN  # today's probes would have to ask the last one, too


@pytest.mark.parametrize("how", ["it never ran", "it failed", "it ended the process"])
def test_what_comes_of_a_finding_speaks_for_no_rung(how: str) -> None:
    """Defect: a model that failed to load was unknown on the rung below, whose finding comes after everything else."""
    (finding,) = [check for check in SUBJECT_CHECKS if catalogue.checks()[check].finding]
    others = [passed(check) for check in SUBJECT_CHECKS if check != finding]
    if how == "it never ran":
        above = next(check for check in SUBJECT_CHECKS if Rung(wire.rung_of(check)) not in BAR)
        others = [Finished(above, "failed", 0.1, "unclassified", "no"), *(one for one in others if one.check != above)]
    failed = [Finished(finding, "failed", 0.1, "unclassified", "no")] if how == "it failed" else []
    started = SUBJECT_CHECKS if how != "it never ran" else SUBJECT_CHECKS[:-1]
    ending = Ending(signal=11) if how == "it ended the process" else CLEAN
    said = SubjectNotes("a", started, (*others, *failed))
    checks = checks_of_session(session(said), "a", ending, runtime=HERE, solo=True, limit_factor=3)
    assert {check.name: check.outcome for check in checks}[finding] is Outcome.SKIPPED
    verdict = judge_run(checks, Circumstances(SUBJECT, HERE, "5.0.0"))
    assert {rung.rung: str(rung.verdict) for rung in verdict.rungs}[Rung.KNOWS] == "passed"
    assert verdict.verdict is CellVerdict.WORKS  # what failed first is above the bar


def test_the_fault_that_a_finding_proves_counts() -> None:
    (finding,) = [check for check in catalogue.checks().values() if check.finding and check.proves]
    finished = [
        Finished(check, "failed", 0.1, finding.proves, "no") if check == finding.name else passed(check)
        for check in SUBJECT_CHECKS
    ]
    said = SubjectNotes("a", SUBJECT_CHECKS, tuple(finished))
    checks = checks_of_session(session(said), "a", CLEAN, runtime=HERE, solo=True, limit_factor=3)
    (failed,) = [check for check in checks if check.outcome is not Outcome.PASSED]
    assert (failed.name, failed.outcome, failed.blame) == (finding.name, Outcome.FAILED, Blame.RUNTIME)


def test_what_only_a_package_of_a_later_day_refuses_is_ours() -> None:
    refused = fault_result("loads.reload", "unclassified", "RuntimeError: masked_fill_ only supports boolean masks")
    other = fault_result("loads.tensors", "missing-tensors", "one is missing")
    for later, fault in ((["torch"], "infra-recipe"), (["setuptools"], "unclassified"), ([""], "unclassified")):
        excused, kept = of_its_day([refused, other], later)
        assert (excused.fault, excused.outcome is Outcome.UNKNOWN) == (fault, fault == "infra-recipe")
        assert kept == other


def test_what_a_runtime_stands_on_is_blamed_for_its_own_checks() -> None:
    """A checkpoint that does not load is no fault of the library for adapters; an adapter that fails is."""
    checks = checks_of(Runtime.PEFT)
    failing = {"loads.reload": "reload-differs", "trains.overfits": "does-not-learn", "trains.lora": "adapter-error"}
    finished = tuple(
        Finished(one, "failed", 0.1, fault=failing[one], message="") if one in failing else passed(one)
        for one in checks
    )
    results = judge_subject(
        session(SubjectNotes("a", checks, finished)), "a", CLEAN, runtime=Runtime.PEFT, hang_counts=False
    )
    assert {one.name: one.blame for one in results if one.blame} == {
        "loads.reload": Blame.DEPENDENCY,
        "trains.overfits": Blame.DEPENDENCY,
        "trains.lora": Blame.RUNTIME,
    }
