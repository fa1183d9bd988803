"""The reference beside all other answers: which side is right, since when, or that nobody can decide."""

from __future__ import annotations

from datetime import date
from itertools import permutations
from typing import TYPE_CHECKING

import pytest

from monitor.domain import Blame, Outcome, Runtime
from monitor.judge.checks import fault_result, passed
from monitor.judge.parity import MATCHES, RECORDS
from monitor.judge.reference import AnswerVerdict, Ruling, TracedRelease, grouped, ruling
from monitor.judge.ruled import as_ruled

if TYPE_CHECKING:
    from collections.abc import Mapping

    from monitor.judge.changes import Logprobs

DAY = date(2026, 4, 1)
HF, CPP, PYTHON, VLLM = Runtime.TRANSFORMERS, Runtime.XLLAMACPP, Runtime.LLAMA_CPP_PYTHON, Runtime.VLLM


def answer(lower: float, *, prompts: int = 2) -> Logprobs:
    return {((number, 1), 0): ({7: -1.0 - lower, 8: -2.0 - lower},) for number in range(prompts)}


def rule(*groups: tuple[float, list[tuple[Runtime, str]]], readers: Mapping[str, str] | None = None) -> Ruling:
    """Rule on answers, each a number of nats with the releases that gave it; ``readers`` is by version of vLLM."""
    answers = {number: answer(lower) for number, (lower, _) in enumerate(groups)}
    releases = {
        number: [
            TracedRelease(runtime, version, DAY, runtime is not HF, (readers or {}).get(version, ""))
            for runtime, version in released
        ]
        for number, (_, released) in enumerate(groups)
    }
    return ruling(answers, releases, 1e-3)


OLD, NEW = [(HF, "5.0.0"), (HF, "5.21.0")], [(HF, "5.22.0"), (HF, "5.24.0")]


def test_the_side_with_an_independent_code_base_is_right_and_the_other_wrong_in_every_release() -> None:
    """The first answer that worked was the pinned one, and the note stood on the repaired releases."""
    ruled = rule((0.0, OLD), (4.1, [*NEW, (CPP, "2026.10")]))
    assert (ruled.of(0), ruled.of(1)) == (AnswerVerdict.WRONG, AnswerVerdict.RIGHT)
    assert ruled.witnesses == ("llama.cpp",)
    assert ruled.reason == (
        "llama.cpp agrees with transformers 5.22.0 to 5.24.0, and transformers 5.0.0 to 5.21.0 differs by 4.1 nat"
    )


def test_a_reference_that_contradicts_itself_is_disputed_where_nobody_decides() -> None:
    ruled = rule((0.0, OLD), (4.1, NEW), (8.0, [(CPP, "2026.10")]))
    assert [ruled.of(number) for number in range(3)] == [AnswerVerdict.DISPUTED] * 3
    assert "no independent code base decides: 5.0.0 to 5.21.0 and 5.22.0 to 5.24.0" in ruled.reason


def test_one_code_base_with_two_bindings_is_one_and_two_on_both_sides_decide_nothing() -> None:
    both = rule((0.0, OLD), (4.1, [*NEW, (CPP, "2026.10"), (PYTHON, "0.3.36")]))
    assert both.witnesses == ("llama.cpp",)
    apart = rule((0.0, [*OLD, (PYTHON, "0.3.36")]), (4.1, [*NEW, (CPP, "2026.10")]))
    assert apart.of(0) is apart.of(1) is AnswerVerdict.DISPUTED  # the code base contradicts itself
    against = rule((0.0, [*OLD, (CPP, "1")]), (4.1, [*NEW, (VLLM, "0.32.0")]), readers={"0.32.0": "5.0.0"})
    assert (
        against.of(0) is AnswerVerdict.DISPUTED
    )  # vLLM differs from what reads for it, so that it has a vote of its own


def test_one_that_reads_configurations_through_the_reference_has_no_vote_where_those_are_the_question() -> None:
    """OLMo 3's flat rope theta is lost in transformers 5 and in vLLM, which reads through it; llama.cpp is right."""
    readers = {"0.32.0": "5.24.0"}
    ruled = rule((0.0, [(HF, "4.57.6"), (CPP, "2026.10")]), (1.6, [(HF, "5.24.0"), (VLLM, "0.32.0")]), readers=readers)
    assert (ruled.of(0), ruled.of(1)) == (AnswerVerdict.RIGHT, AnswerVerdict.WRONG)
    assert ruled.witnesses == ("llama.cpp",)
    elsewhere = rule(
        (0.0, OLD), (4.1, [*NEW, (VLLM, "0.32.0")]), (8.0, [(CPP, "2026.10")]), readers={"0.32.0": "5.24.0"}
    )
    assert elsewhere.of(1) is AnswerVerdict.DISPUTED  # what reads by itself agrees with neither side
    follows = rule(
        (0.0, [(HF, "4.57.6"), (VLLM, "0.20.0")]),
        (1.6, [(HF, "5.24.0"), (VLLM, "0.32.0")]),
        readers={"0.20.0": "4.57.6", "0.32.0": "5.24.0"},
    )
    assert follows.of(0) is follows.of(1) is AnswerVerdict.DISPUTED  # it goes where the reference goes


def test_one_that_reads_through_the_reference_decides_what_nothing_else_contradicts() -> None:
    alone = rule((0.0, OLD), (4.1, [*NEW, (VLLM, "0.32.0")]), readers={"0.32.0": "5.24.0"})
    assert (alone.of(0), alone.of(1), alone.witnesses) == (AnswerVerdict.WRONG, AnswerVerdict.RIGHT, ("vllm",))


def test_a_reference_that_agrees_with_itself_stands_against_one_and_falls_to_two_that_agree() -> None:
    one = rule((0.0, [*OLD, *NEW]), (4.1, [(CPP, "1")]))
    assert (one.of(0), one.of(1), one.reason) == (AnswerVerdict.UNCONTESTED, AnswerVerdict.APART, "")
    two = rule((0.0, [*OLD, *NEW]), (4.1, [(CPP, "1"), (VLLM, "2")]), readers={"2": "5.24.0"})
    assert (two.of(0), two.of(1)) == (AnswerVerdict.WRONG, AnswerVerdict.RIGHT)
    assert two.reason.startswith("llama.cpp and vllm agree with each other, and transformers 5.0.0 to 5.24.0 differs")
    read_alike = rule((0.0, [*NEW, (VLLM, "2")]), (4.1, [(CPP, "1")]), readers={"2": "5.24.0"})
    assert (read_alike.of(0), read_alike.of(1)) == (AnswerVerdict.UNCONTESTED, AnswerVerdict.APART)
    confirmed = rule((0.0, [*NEW, (CPP, "1")]), (4.1, [(VLLM, "2")]), readers={"2": "5.24.0"})
    assert (confirmed.of(0), confirmed.of(1)) == (AnswerVerdict.RIGHT, AnswerVerdict.APART)


def test_only_the_newest_release_of_a_code_base_speaks_for_it() -> None:
    ruled = rule((0.0, [*OLD, (CPP, "2026.2")]), (4.1, [*NEW, (CPP, "2026.10")]))
    assert (ruled.of(0), ruled.of(1)) == (AnswerVerdict.WRONG, AnswerVerdict.RIGHT)


def test_one_that_computes_with_the_references_own_code_is_no_witness() -> None:
    releases = {0: [TracedRelease(HF, "5.0.0", DAY, False)], 1: [TracedRelease(HF, "5.1.0", DAY, False)]}
    releases[1].append(TracedRelease(VLLM, "1", DAY, independent=False, reader="5.1.0"))
    assert ruling({0: answer(0), 1: answer(1)}, releases, 0.0).of(1) is AnswerVerdict.DISPUTED


def test_since_when_it_is_right_is_said_in_ranges() -> None:
    ruled = rule((0.0, [(HF, "4.57.0"), *NEW, (CPP, "1")]), (1.0, OLD))
    assert ruled.reason.startswith(
        "llama.cpp agrees with transformers 4.57.0, 5.22.0 to 5.24.0, and transformers 5.0.0 to"
    )


def test_the_order_of_answers_decides_nothing() -> None:
    groups = [(0.0, OLD), (4.1, [*NEW, (CPP, "1")]), (8.0, [(VLLM, "2")]), (4.1005, [(PYTHON, "3")])]
    found = {
        (ruled.reason, tuple(ruled.of(order.index(group)) for group in groups))
        for order in permutations(groups)
        for ruled in [rule(*order)]
    }
    assert len(found) == 1


def test_an_answer_to_fewer_prompts_ties_nothing_together() -> None:
    left, right = answer(0.0, prompts=3), {**answer(0.0, prompts=2), ((2, 1), 0): ({7: -3.0, 8: -4.0},)}
    assert {frozenset({1}), frozenset({2})} == set(grouped({0: answer(0.0), 1: left, 2: right}, 1e-3))
    assert set(grouped({0: answer(0.0), 1: left}, 1e-3)) == {frozenset({0, 1})}
    assert set(grouped({0: answer(9.0), 1: left}, 1e-3)) == {frozenset({0}), frozenset({1})}
    assert grouped({}, 1e-3) == []


@pytest.mark.parametrize(
    ("standing", "outcome", "fault", "blame"),
    [
        (AnswerVerdict.RIGHT, Outcome.PASSED, "", None),
        (AnswerVerdict.WRONG, Outcome.FAILED, "wrong-answer", Blame.RUNTIME),
        (AnswerVerdict.DISPUTED, Outcome.UNKNOWN, "disputed-answer", Blame.REFERENCE),
        (AnswerVerdict.UNCONTESTED, Outcome.PASSED, "", None),
    ],
)
def test_what_the_ruling_makes_of_the_references_check(
    standing: AnswerVerdict, outcome: Outcome, fault: str, blame: Blame | None
) -> None:
    (check,) = as_ruled([passed(RECORDS, "recorded")], standing, "why", HF)
    assert (check.outcome, check.fault, check.blame) == (outcome, fault, blame)
    assert check.message == ("recorded" if standing is AnswerVerdict.UNCONTESTED else "why")


@pytest.mark.parametrize(
    ("standing", "differs", "outcome", "blame"),
    [
        (AnswerVerdict.RIGHT, True, Outcome.PASSED, None),
        (AnswerVerdict.RIGHT, False, Outcome.PASSED, None),
        (AnswerVerdict.WRONG, False, Outcome.FAILED, Blame.RUNTIME),
        (AnswerVerdict.WRONG, True, Outcome.FAILED, Blame.RUNTIME),
        (AnswerVerdict.APART, True, Outcome.FAILED, Blame.RUNTIME),
        (AnswerVerdict.DISPUTED, True, Outcome.UNKNOWN, Blame.REFERENCE),
        (AnswerVerdict.DISPUTED, False, Outcome.UNKNOWN, Blame.REFERENCE),
    ],
)
def test_what_the_ruling_makes_of_another_runtimes_comparison(
    standing: AnswerVerdict, outcome: Outcome, blame: Blame | None, *, differs: bool
) -> None:
    compared = fault_result(MATCHES, "differs-from-reference", "by 4") if differs else passed(MATCHES)
    (check,) = as_ruled([compared], standing, "why", CPP)
    assert (check.outcome, check.blame) == (outcome, blame)
