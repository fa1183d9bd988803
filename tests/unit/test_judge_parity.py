"""A runtime beside the pinned reference, and the reference beside two families that agree against it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from monitor.domain import Blame, CheckResult, Outcome, Rung, Runtime, Subject, SubjectForm, Verdict
from monitor.judge.control import Control
from monitor.judge.parity import agree, compared_of, doubt, trace_of
from monitor.judge.verdict import Circumstances, judge_run
from probes import subject as probing
from probes.checks import matches
from probes.runtimes.traces import PlainTrace
from tests.specimens.runtimes import PlainRuntime

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


def probed(folder: Path, trace: dict[str, Any] | None = None, *, window: int = 16) -> probing.Subject:
    given = {"path": str(folder), "golden": {"trace": trace, "pins": True}}
    made = probing.Subject(PlainRuntime(), "transformers", given, seed=0)  # type: ignore[arg-type]
    made.config_json = {"vocab_size": 64, "sliding_window": 16}
    made.model = made.runtime.model(folder, None, {}, "eager")
    made.model.window = window  # type: ignore[attr-defined]
    return made


@pytest.fixture
def trace(tmp_path: Path) -> dict[str, Any]:
    reference = probed(tmp_path)
    assert matches.trace(reference).outcome == "skipped"
    return {"runtime": "transformers", "version": "5.4.0", "day": "2026-04-01", **reference.facts["trace"]}


def test_a_trace_crosses_the_window_and_survives_the_wire(trace: dict[str, Any]) -> None:
    assert [len(prompt["ids"]) for prompt in trace["prompts"]] == [12, 28, 56]
    wired = trace_of(json.loads(json.dumps(trace)))
    assert wired is not None
    assert json.loads(json.dumps(wired["prompts"])) == json.loads(json.dumps(trace["prompts"]))


def test_the_same_model_is_within_rounding_of_its_reference(tmp_path: Path, trace: dict[str, Any]) -> None:
    answer = matches.logprobs(probed(tmp_path, trace))
    assert (answer.outcome, answer.evidence["top_equal"], answer.evidence["untold"]) == ("passed", 36, 0)
    assert answer.evidence["maximum"] < 1e-5


def test_another_window_shows_only_beyond_the_seam(tmp_path: Path, trace: dict[str, Any]) -> None:
    other = probed(tmp_path, trace, window=20)
    answer = matches.logprobs(other)
    assert (answer.outcome, answer.fault) == ("failed", "differs-from-reference")
    assert answer.evidence["prompt"] in {1, 2}
    assert answer.evidence["position"] >= 16
    assert compared_of(other.facts["heard"]) is not None


def test_what_is_not_told_differs_at_least_by_what_is(tmp_path: Path, trace: dict[str, Any]) -> None:
    """A runtime that tells its likeliest tokens alone, and has none of the reference's among them, is no better off."""
    few = probed(tmp_path, trace, window=20)
    whole = few.model.forward

    def forward(row: Sequence[int]) -> PlainTrace:
        ranked = [sorted(each.items(), key=lambda pair: pair[1])[-3:] for each in whole(row).rows]  # type: ignore[attr-defined]
        return PlainTrace([dict(each) for each in ranked])

    few.model.forward = forward  # type: ignore[method-assign]
    answer = matches.logprobs(few)
    assert (answer.outcome, answer.fault) == ("failed", "differs-from-reference")
    assert answer.evidence["untold"] > 0


def test_what_is_computed_in_a_coarser_type_is_not_compared(tmp_path: Path, trace: dict[str, Any]) -> None:
    other = probed(tmp_path, trace, window=20)
    other.model.coarse = "in bfloat16 alone"  # type: ignore[attr-defined]
    answer = matches.logprobs(other)
    assert (answer.outcome, answer.message) == ("skipped", "in bfloat16 alone, and the reference is of float32")
    assert not other.facts  # and it is no witness


def test_one_that_runs_the_references_own_code_is_no_witness_against_it(tmp_path: Path, trace: dict[str, Any]) -> None:
    other = probed(tmp_path, trace, window=20)
    other.model.independent = False
    assert matches.logprobs(other).outcome == "failed"
    assert "heard" not in other.facts


def test_without_a_reference_nothing_is_compared_and_with_one_nothing_is_pinned(
    tmp_path: Path, trace: dict[str, Any]
) -> None:
    assert matches.logprobs(probed(tmp_path)).outcome == "skipped"
    assert matches.logprobs(probed(tmp_path, {"version": "5.4.0"})).outcome == "skipped"
    assert matches.trace(probed(tmp_path, trace)).message == "pinned by transformers 5.4.0 of 2026-04-01"


@pytest.mark.parametrize(
    "spoilt",
    [
        None,
        {},
        {"prompts": [], "spread": 1, "trembling": 0},
        {"prompts": [{"ids": [1, 2], "from": 0, "top": [[[1], [-1.0]]]}], "spread": 1, "trembling": 0},
        {"prompts": [{"ids": [1], "from": 0, "top": [[[1], ["nan"]]]}], "spread": 1, "trembling": 0},
        {"prompts": [{"ids": [1], "from": 0, "top": [[[1, 2], [-1.0]]]}], "spread": 1, "trembling": 0},
        {"prompts": [{"ids": [1] * 30_000, "from": 29_999, "top": [[[1], [-1.0]]]}], "spread": 1, "trembling": 0},
        {"prompts": [{"ids": [1], "from": 0, "top": [[[1], [-1.0]]]}], "spread": -1, "trembling": 0},
    ],
)
def test_what_is_no_trace_is_not_pinned(spoilt: Any) -> None:
    assert trace_of(spoilt) is None


def test_two_families_that_agree_put_the_reference_in_doubt() -> None:
    assert agree((-1.0, None, *[-2.0] * 20), (-1.0001, -3.0, *[-2.0] * 20), 1e-3)
    assert not agree((-1.0, -2.0), (-1.1, -2.0), 1e-3)
    assert not agree((None, -2.0), (-1.1, -2.0), 1e-3)  # too little in common to speak of agreement
    assert doubt({"llama.cpp": (-1.0,), "vllm": (-1.0,)}, 1e-3) == "llama.cpp and vllm agree with each other"
    assert not doubt({"llama.cpp": (-1.0,)}, 1e-3)
    families = [Runtime(name).record.family for name in ("xllamacpp", "llama-cpp-python", "vllm")]
    assert families[0] == families[1] != families[2]


@pytest.mark.parametrize(
    ("why", "verdict", "blame"),
    [("", Verdict.FAILED, Blame.RUNTIME), ("a and b agree with each other", Verdict.UNKNOWN, Blame.REFERENCE)],
)
def test_no_runtime_is_blamed_while_the_reference_is_in_doubt(why: str, verdict: Verdict, blame: Blame) -> None:
    failed = CheckResult(
        "matches.logprobs", Rung.MATCHES, Outcome.FAILED, "differs-from-reference", Blame.RUNTIME, "differs by 1"
    )
    subject = Subject("a", "m", SubjectForm.MINIATURE, "newarch", "d", qualified=True)
    told = judge_run([failed], Circumstances(subject, Runtime.TRANSFORMERS, "1", Control.GREEN, doubt=why))
    (rung,) = [one for one in told.rungs if one.rung is Rung.MATCHES]
    assert (rung.verdict, rung.blame) == (verdict, blame)
    assert why in rung.reason
