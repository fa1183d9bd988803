"""The real xllamacpp: a miniature, a folder that its converter recognises, and the same with one tensor left out."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from tests.specimens import checkpoints
from tests.specimens.pieces import with_pieces
from tests.specimens.product import NO_USE

if TYPE_CHECKING:
    from pathlib import Path

    from tests.specimens.product import Product

pytestmark = [pytest.mark.engine, pytest.mark.index, pytest.mark.slow, pytest.mark.timeout(1800)]

GOOD = "meta-llama/Llama-3.1-8B-Instruct"  # the control as well
LIMITS = {"check_seconds": 120, "import_seconds": 300, "install_seconds": 900}


def test_a_miniature_is_converted_loaded_and_served(product: Product) -> None:
    answer = replace(product, seconds=900).ask("probe", GOOD, "--runtime", "xllamacpp", limits=LIMITS)
    assert answer.data is not None, answer.said
    assert answer.settled(GOOD)["verdict"] == "works", answer.said
    checks = {one["name"]: one for one in answer.runs(GOOD)[-1]["checks"]}
    outcomes = {name: check["outcome"] for name, check in checks.items() if not name.startswith("matches.")}
    assert {name for name, outcome in outcomes.items() if outcome == "skipped"} == NO_USE
    assert set(outcomes.values()) == {"passed", "skipped"}


def test_a_tensor_left_out_is_seen_by_the_loader_and_is_the_files_fault(product: Product, tmp_path: Path) -> None:
    good = with_pieces(tmp_path)
    broken = checkpoints.missing_tensor(good, tmp_path / "broken")
    outcomes = {}
    for folder in (good, broken):
        answer = replace(product, seconds=900).ask("probe", str(folder), "--runtime", "xllamacpp", limits=LIMITS)
        assert answer.data is not None, answer.said
        outcomes[folder] = {one["name"]: one for one in answer.data["runs"][-1]["checks"]}
    for name in ("loads.converts", "loads.metadata", "loads.model", "generates.forward", "serves.completes"):
        assert outcomes[good][name]["outcome"] == "passed", outcomes[good][name]
    assert outcomes[broken]["loads.converts"]["outcome"] == "passed"
    failed = outcomes[broken]["loads.model"]
    assert (failed["fault"], failed["blame"]) == ("bad-checkpoint", "model"), failed
    assert "o_proj" not in failed["message"]  # in llama.cpp's own words
    assert "not found" in failed["message"]
