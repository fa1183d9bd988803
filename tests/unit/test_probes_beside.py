"""What goes in beside text: each defect of images is found, and what is not asked says why."""

from __future__ import annotations

import struct
import zlib
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from monitor.miniatures.manifest import load_miniature, miniature_slugs
from monitor.miniatures.processors import processor_of
from probes.pictures import FIRST, SECOND
from tests.specimens import checkpoints
from tests.unit.test_probes_checks import CONFIG, GOLDEN, faults, outcomes

if TYPE_CHECKING:
    from pathlib import Path

SENTENCE = "the model takes images, and none is given: not measured"
TAKES_IMAGES = {**GOLDEN, "not_measured": {"images": SENTENCE}}
CHECKS = ("generates.images", "generates.image_cache")


def asked(tmp_path: Path, defect: str, *, processor: bool = True) -> dict[str, Any]:
    folder = checkpoints.bare(tmp_path / "good", **CONFIG)
    if processor:
        for name in ("preprocessor_config.json", "processor_config.json"):
            (folder / name).write_text("{}", encoding="utf-8")
    return outcomes(tmp_path, folder, defect, golden=TAKES_IMAGES)


def test_a_model_that_takes_images_in_their_order_passes(tmp_path: Path) -> None:
    finished = asked(tmp_path, "")
    assert [finished[check]["outcome"] for check in CHECKS] == ["passed", "passed"]
    evidence = finished["generates.images"]["evidence"]
    assert evidence["as_first"] <= 1e-6 < evidence["as_second"]


DEFECTS = {
    "deaf to images": {"generates.images": "image-ignored"},
    "deaf to the second": {"generates.images": "image-ignored"},
    "swaps images": {"generates.images": "images-swapped"},
    "one image at most": {"generates.images": "image-error"},
    "text beside": {"generates.images": "image-error"},
    "cache beside": {"generates.image_cache": "cache-differs"},
}


@pytest.mark.parametrize("defect", DEFECTS)
def test_each_defect_of_images_is_found(tmp_path: Path, defect: str) -> None:
    assert faults(asked(tmp_path, defect)) == DEFECTS[defect]


def test_a_processor_that_cannot_be_made_here_is_no_fault(tmp_path: Path) -> None:
    finished = asked(tmp_path, "no processor")
    assert not faults(finished)
    assert "requires a library" in finished["generates.images"]["message"]


def test_a_miniature_without_a_processor_says_what_was_not_measured(tmp_path: Path) -> None:
    assert asked(tmp_path, "", processor=False)["generates.images"]["message"] == SENTENCE


def test_a_picture_is_a_png_file() -> None:
    data = FIRST.png()
    assert data.startswith(b"\x89PNG\r\n\x1a\n")
    width, height = struct.unpack(">II", data[16:24])
    (length,) = struct.unpack(">I", data[33:37])
    rows = zlib.decompress(data[41 : 41 + length])
    assert (width, height, len(rows)) == (FIRST.width, FIRST.height, FIRST.height * (3 * FIRST.width + 1))
    assert rows[1 : 1 + 3 * width] == FIRST.rgb[: 3 * width]
    assert SECOND.png() != data


def test_only_what_takes_images_and_has_their_tokens_gets_a_processor() -> None:
    made = {slug: processor_of(load_miniature(slug).config, load_miniature(slug).tokens) for slug in miniature_slugs()}
    assert made["gemma3"] is not None
    assert made["gemma3-text"] is None
    assert made["gemma3"].files["preprocessor_config.json"]["size"] == {"height": 112, "width": 112}
    miniature = load_miniature("gemma3")
    assert processor_of(miniature.config, replace(miniature.tokens, extra=())) is None
