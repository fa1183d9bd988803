"""The tensors of a checkpoint are those of the files that its index names, and of no file beside them."""

from __future__ import annotations

import json
import struct
from typing import TYPE_CHECKING, Any

import pytest

from probes.checkpoint import BadFileError, require_weights, tensors
from probes.faults import classify
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


def with_header(folder: Path, header: object, data: bytes = bytes(64)) -> Path:
    head = header if isinstance(header, bytes) else json.dumps(header).encode()
    (folder / "model.safetensors").write_bytes(struct.pack("<Q", len(head)) + head + data)
    return folder


def tensor(first: Any = 0, last: Any = 8, shape: Any = (2,), dtype: Any = "F32") -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": [first, last]}


@pytest.mark.parametrize(
    ("header", "reason"),
    [
        ([], "holds a list, not an object"),
        (3, "holds a int, not an object"),
        (b"[" * 100_000, "not JSON"),
        (b"\xff{", "not JSON"),
        ({"a": []}, "not described"),
        ({"a": None}, "not described"),
        ({"a": {"dtype": "F32", "shape": [2]}}, "not described"),
        ({"a": tensor(dtype=4)}, "not described"),
        ({"a": tensor(shape=2)}, "not described"),
        ({"a": tensor(shape=[-2])}, "not described"),
        ({"a": tensor(shape=["2"])}, "not described"),
        ({"a": tensor(shape=[True])}, "not described"),
        ({"a": {**tensor(), "data_offsets": [0]}}, "not described"),
        ({"a": {**tensor(), "data_offsets": [0, 8, 16]}}, "not described"),
        ({"a": tensor(-8, 0)}, "not described"),
        ({"a": tensor(0.0, 8.0)}, "not described"),
        ({"a": tensor(8, 0)}, "ends before it begins"),
        ({"a": tensor(0, 8), "b": tensor(4, 12)}, "overlap by 4 bytes"),
        ({"a": tensor(0, 8), "b": tensor(0, 8)}, "overlap by 8 bytes"),
        ({"a": tensor(0, 80, (20,))}, "ends 16 bytes before the end"),
        ({"a": tensor(0, 8, (1 << 62, 1 << 62))}, "has 8 bytes for shape"),
    ],
)
def test_a_header_that_is_none_is_the_files_fault(tmp_path: Path, header: object, reason: str) -> None:
    with pytest.raises(BadFileError, match=reason) as raised:
        tensors(with_header(tmp_path, header))
    assert classify(raised.value, "loads.model", "xllamacpp") == "bad-checkpoint"


def test_empty_tensors_overlap_with_nothing(tmp_path: Path) -> None:
    header = {"__metadata__": [], "a": tensor(0, 0, (0, 3)), "b": tensor(0, 8), "c": tensor(8, 8, (0,))}
    assert set(tensors(with_header(tmp_path, header))) == {"a", "b", "c"}


@pytest.mark.parametrize("name", ["InvalidOffset", "TensorInvalidInfo", "MetadataIncompleteBuffer", "TensorOverlap"])
def test_what_the_library_says_of_a_header_is_the_files_fault(name: str) -> None:
    error = ValueError(f'Error while deserializing: {name}("model.embed")')
    assert classify(error, "loads.model", "transformers") == "bad-checkpoint"


def test_pickles_that_are_not_shown_are_named(tmp_path: Path) -> None:
    (tmp_path / "config.json").touch()
    with pytest.raises(BadFileError, match=r"only there as pickle \(pytorch_model\.bin\)") as raised:
        require_weights(tmp_path, ["modeling.py", "pytorch_model.bin"])
    assert raised.value.fault == "pickle-weights"
