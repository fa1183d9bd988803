"""The catalogue: every family watched, every name found, every miniature known."""

from __future__ import annotations

import csv
import io
from datetime import UTC, date, datetime

import pytest
from packaging.version import Version

from monitor.errors import UnknownName
from monitor.miniatures.golden import golden
from monitor.miniatures.manifest import data_folder, load_miniature, miniature_slugs
from monitor.subjects.catalogue import load_catalogue
from tools.first_known import Wheel, first_known, registered_types, stable_wheels

FAMILIES = (
    "Gemma 3", "Gemma 4", "Gemma 4 E2B", "Gemma 4 E4B", "Gemma 4 MoE", "Qwen 3", "Qwen 3 MoE", "Qwen 3 Next",
    "Qwen 3.5", "Qwen 3.5 MoE", "Kimi K2.5", "GLM-5", "MiniMax M2.5", "MiniMax M2", "gpt-oss", "Arcee Trinity Large",
    "Arcee Trinity Mini", "Nemotron 3 Nano", "OLMo 3", "OLMo Hybrid",
)  # fmt: skip


def test_every_family_is_there_with_the_day_it_came_out() -> None:
    released = {model.family: model.released for model in load_catalogue().models}
    assert set(FAMILIES) <= set(released)
    assert all(released[family] for family in FAMILIES)


def test_enough_architectures() -> None:
    assert len({subject.architecture for subject in load_catalogue().subjects()}) >= 45


def test_subjects_are_unique_and_use_every_miniature() -> None:
    catalogue = load_catalogue()
    ids = [subject.id for subject in catalogue.subjects()]
    assert len(ids) == len(set(ids))
    assert {slug for entry in catalogue for slug in entry.miniatures} == set(miniature_slugs())


def test_there_is_one_control() -> None:
    catalogue = load_catalogue()
    assert catalogue.control.model.id == "meta-llama/Llama-3.1-8B-Instruct"
    assert [model.id for model in catalogue.models if model.control] == [catalogue.control.model.id]
    assert all(subject.qualified for subject in catalogue.control.subjects())


@pytest.mark.parametrize(
    ("name", "model"),
    [
        ("google/gemma-4-31B-it", "google/gemma-4-31B-it"),
        ("GEMMA-4-31b-IT", "google/gemma-4-31B-it"),
        ("gemma 4", "google/gemma-4-31B-it"),
        ("Gemma 4 E2B", "google/gemma-4-E2B-it"),
        ("google/gemma-4-31B-it#text", "google/gemma-4-31B-it"),
        ("architecture/lfm3", "architecture/lfm3"),
        ("architecture/mistral", "mistralai/Mistral-7B-v0.1"),  # what it was called before
        ("mistral", "mistralai/Mistral-7B-v0.1"),
    ],
)
def test_a_name_finds_its_model(name: str, model: str) -> None:
    found = load_catalogue().find(name)
    assert (found.entry.model.id, found.note) == (model, "")


def test_a_name_that_fits_several_says_which() -> None:
    found = load_catalogue().find("minimax_m2")
    assert found.entry.model.id == "MiniMaxAI/MiniMax-M2.5"
    assert "not MiniMaxAI/MiniMax-M2" in found.note


def test_an_unknown_name_gets_a_near_match() -> None:
    with pytest.raises(UnknownName) as caught:
        load_catalogue().find("gemma 44")
    assert "did you mean" in caught.value.hint


def test_the_miniature_of_a_subject() -> None:
    catalogue = load_catalogue()
    assert catalogue.miniature_of("google/gemma-4-31B-it#text").slug == "gemma4-text"
    with pytest.raises(UnknownName):
        catalogue.miniature_of("nobody/nothing")


@pytest.mark.parametrize("slug", [slug for slug in miniature_slugs() if "vision" in load_miniature(slug).parts])
def test_a_wrapped_miniature_has_its_towers(slug: str) -> None:
    parts = load_miniature(slug).parts
    assert parts["vision"] > 100_000


def test_every_published_file_has_an_origin() -> None:
    rows = csv.DictReader(io.StringIO((data_folder() / "ORIGIN.csv").read_text(encoding="utf-8")))
    told = {row["file"] for row in rows}
    there = {f"published/{entry.name}" for entry in (data_folder() / "published").iterdir()}
    assert there <= told


WHEELS = (
    Wheel(Version("4.49.0"), datetime(2025, 2, 17, tzinfo=UTC), ""),
    Wheel(Version("5.0.0"), datetime(2026, 1, 26, tzinfo=UTC), ""),
    Wheel(Version("4.57.7"), datetime(2026, 2, 1, tzinfo=UTC), ""),
)


def test_the_first_release_is_the_first_day_not_the_lowest_number() -> None:
    history = zip(WHEELS, ({"llama"}, {"llama", "afmoe"}, {"llama", "afmoe"}), strict=True)
    found = {row.model_type: (row.release, row.published) for row in first_known(history)}
    assert found == {"llama": ("<=4.49.0", None), "afmoe": ("5.0.0", date(2026, 1, 26))}


def test_types_are_read_from_either_spelling() -> None:
    source = '("afmoe", "AfmoeConfig"),\n(\n    "xlm-roberta",\n    "XLMRobertaConfig",\n),\n("bert", "BERT Model"),'
    assert registered_types(source) == {"afmoe", "xlm-roberta"}


def test_yanked_old_and_candidate_wheels_are_left_out() -> None:
    def file(version: str, **more: object) -> dict[str, object]:
        name = f"transformers-{version}-py3-none-any.whl"
        return {"filename": name, "upload-time": "2025-03-01T00:00:00Z", "url": name, **more}

    page = {
        "files": [
            file("4.50.0"),
            file("4.48.0"),
            file("5.0.0rc1"),
            file("4.57.0", yanked="broken"),
            {**file("4.51.0"), "filename": "transformers-4.51.0.tar.gz"},
        ]
    }
    assert [str(wheel.version) for wheel in stable_wheels(page)] == ["4.50.0"]


def test_a_configuration_put_together_from_literals_is_not_a_whole_one() -> None:
    assert golden(load_miniature("qwen3"))["published"]
    assert not golden(load_miniature("granite-h"))["published"]  # a key that it lacks proves nothing against a reader
    assert not golden(load_miniature("olmoe"))["published"]
