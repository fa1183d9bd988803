"""Models without text: each defect of vectors and scores is found."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from probes.checkpoint import sees_all
from tests.specimens import checkpoints
from tests.unit.test_probes_checks import CONFIG, GOLDEN, faults, outcomes

if TYPE_CHECKING:
    from pathlib import Path

CHECKS = ("generates.vectors", "generates.sight", "generates.scores")
EMBEDS = {"architectures": ["XModel"], "is_causal": False}
RANKS = {"architectures": ["XForSequenceClassification"], "is_causal": False, "id2label": {"0": "LABEL_0"}}


def asked(tmp_path: Path, defect: str, config: dict[str, Any]) -> dict[str, Any]:
    return outcomes(tmp_path, checkpoints.bare(tmp_path / "good", **CONFIG, **config), defect, golden=GOLDEN)


@pytest.mark.parametrize(("config", "passing"), [(EMBEDS, CHECKS[:2]), (RANKS, CHECKS)], ids=["vectors", "scores"])
def test_a_good_model_without_text_passes(tmp_path: Path, config: dict[str, Any], passing: tuple[str, ...]) -> None:
    finished = asked(tmp_path, "", config)
    assert tuple(check for check in CHECKS if finished[check]["outcome"] == "passed") == passing
    assert not faults(finished)


DEFECTS = {
    "batch": {"generates.vectors": "batch-differs", "generates.scores": "batch-differs"},
    "causal": {"generates.sight": "wrong-config"},
    "labels": {"generates.scores": "wrong-config"},
    "scores": {"generates.scores": "flat-logits"},
}


@pytest.mark.parametrize("defect", DEFECTS)
def test_each_defect_is_found(tmp_path: Path, defect: str) -> None:
    found = faults(asked(tmp_path, defect, RANKS))
    assert {check: fault for check, fault in found.items() if check in CHECKS} == DEFECTS[defect]


def test_a_model_that_is_to_look_back_only_and_sees_all_is_found(tmp_path: Path) -> None:
    assert faults(asked(tmp_path, "", {**EMBEDS, "is_causal": True}))["generates.sight"] == "wrong-config"


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ({"model_type": "bert"}, True),
        ({"model_type": "bert", "is_decoder": True}, False),
        ({"model_type": "gemma3_text", "use_bidirectional_attention": True}, True),
        ({"model_type": "gemma3_text"}, None),
        ({"text_config": {"is_causal": False}}, True),
    ],
)
def test_what_a_configuration_says_of_sight(config: dict[str, Any], expected: bool | None) -> None:
    assert sees_all(config) is expected
