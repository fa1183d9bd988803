"""The tensors of a checkpoint are those of the files that its index names, and of no file beside them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from probes.checkpoint import BadFileError, tensors
from tests.specimens.checkpoints import write_safetensors

if TYPE_CHECKING:
    from pathlib import Path


def write(folder: Path, file: str, *names: str) -> None:
    write_safetensors(folder / file, {name: ("F32", [2], bytes(8)) for name in names})


def index(folder: Path, **files: str) -> None:
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": files}), encoding="utf-8")


def test_the_index_says_which_files(tmp_path: Path) -> None:
    write(tmp_path, "one.safetensors", "a")
    write(tmp_path, "two.safetensors", "b")
    write(tmp_path, "consolidated.safetensors", "c")
    index(tmp_path, a="one.safetensors", b="two.safetensors")
    assert set(tensors(tmp_path)) == {"a", "b"}


def test_one_file_needs_no_index(tmp_path: Path) -> None:
    write(tmp_path, "model.safetensors", "a")
    write(tmp_path, "consolidated.safetensors", "c")
    assert set(tensors(tmp_path)) == {"a"}


def test_an_adapter_is_never_the_model(tmp_path: Path) -> None:
    write(tmp_path, "adapter_model.safetensors", "lora")
    assert tensors(tmp_path) == {}
    write(tmp_path, "weights.safetensors", "a")
    assert set(tensors(tmp_path)) == {"a"}


@pytest.mark.parametrize("named", ["absent.safetensors", "../beside.safetensors"])
def test_an_index_names_files_of_the_folder(tmp_path: Path, named: str) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    write(tmp_path, "beside.safetensors", "a")
    index(folder, a=named)
    with pytest.raises(BadFileError, match="not in the folder"):
        tensors(folder)


def test_an_index_of_something_else_is_told(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors.index.json").write_text('{"weight_map": {"a": 3}}', encoding="utf-8")
    with pytest.raises(BadFileError, match="names no files"):
        tensors(tmp_path)
