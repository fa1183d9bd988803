"""Each check of a server finds its own defect: one that obeys passes all of them, one that does not fails its own."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from probes.checks import serves
from probes.faults import classify
from probes.served import Server, ServerError, wait_until_ready
from tests.standins.openai import DEFECTS, LETTERS, serving

if TYPE_CHECKING:
    from pathlib import Path

CHECKS = ("completes", "streams", "limits", "stop", "seed", "bias", "penalties", "schema", "alike")


def outcomes(folder: Path, address: str, coarse: str = "") -> dict[str, tuple[str, str | None]]:
    vocabulary = {letter: index for index, letter in enumerate(LETTERS)}
    (folder / "tokenizer.json").write_text(json.dumps({"model": {"vocab": vocabulary}}), encoding="utf-8")
    server = Server(address, "letters")
    runtime = SimpleNamespace(serve=lambda _: (server, wait_until_ready(server, lambda: True)))
    given = {"golden": {"texts": ["a"]}, "config_json": {}, "coarse": coarse}
    subject: Any = SimpleNamespace(runtime=runtime, folder=folder, **given)
    assert serves.ready(subject).outcome == "passed"
    answers = {name: getattr(serves, name)(subject) for name in CHECKS}
    return {name: (answer.outcome, answer.fault) for name, answer in answers.items()}


def test_a_server_that_obeys_passes_everything(tmp_path: Path) -> None:
    with serving() as address:
        assert set(outcomes(tmp_path, address).values()) == {("passed", None)}


WRONG = {
    "ignores stop": {"stop": "parameter-ignored"},
    "ignores seed": {"seed": "parameter-ignored"},
    # what is to be pushed cannot be held to a few letters either, and of all letters none need come twice
    "ignores logit_bias": {"bias": "parameter-ignored"},
    "ignores frequency_penalty": {"penalties": "parameter-ignored"},
    "streams something else": {"streams": "stream-differs"},
    "counts wrongly": {"limits": "parameter-ignored"},
    "breaks the schema": {"schema": "schema-violated"},
    "remembers": {"alike": "cache-differs"},
    "mixes": {"alike": "batch-differs"},
    "varies its choices": {"alike": "batch-differs"},
}


@pytest.mark.parametrize("defect", DEFECTS)
def test_a_defect_fails_its_own_check(tmp_path: Path, defect: str) -> None:
    with serving(defect) as address:
        found = outcomes(tmp_path, address)
    failed = {name: fault for name, (outcome, fault) in found.items() if outcome == "failed"}
    assert WRONG[defect].items() <= failed.items()
    # a server that remembers is caught wherever the same is asked twice
    assert set(failed) == set(WRONG[defect]) or defect == "remembers"


def test_rounding_of_a_coarser_type_may_choose_other_tokens(tmp_path: Path) -> None:
    with serving("mixes") as address:
        assert outcomes(tmp_path, address, coarse="in bfloat16 alone")["alike"] == ("skipped", None)


def test_a_server_that_is_not_there_is_the_runtimes_fault() -> None:
    with pytest.raises(ServerError, match="ended before it was ready") as caught:
        wait_until_ready(Server("http://127.0.0.1:9", "m"), lambda: False)
    assert classify(caught.value, "serves.ready", "xllamacpp") == "server-error"


def test_a_server_that_our_memory_limit_ended_is_nobodys_fault() -> None:
    kills = iter([0, 0, 1])  # when it began, at the first question, at its end
    with pytest.raises(MemoryError) as caught:
        wait_until_ready(Server("http://127.0.0.1:9", "m", kills=lambda: next(kills)), lambda: False)
    assert classify(caught.value, "serves.ready", "xllamacpp") == "infra-memory"
