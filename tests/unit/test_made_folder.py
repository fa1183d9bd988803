"""A folder that `settle miniature` wrote is known as ours, and its tokenizer is blamed on no runtime."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from monitor.domain import SubjectForm
from monitor.miniatures.golden import golden_of_folder
from monitor.miniatures.manifest import load_miniature
from monitor.miniatures.tokenizer import TEXTS
from monitor.miniatures.writer import digest_of, write_miniature
from monitor.subjects.local_folder import folder_subject, gguf_architecture
from monitor.subjects.made_folder import MARK, made_of, mark

if TYPE_CHECKING:
    from pathlib import Path


def test_a_written_folder_is_the_miniature_that_it_was_written_of(tmp_path: Path) -> None:
    miniature = load_miniature("qwen3")
    folder = write_miniature(miniature, tmp_path)
    assert made_of(folder) is None
    mark(folder, miniature)
    made = made_of(folder)
    assert made is not None
    assert digest_of(made) == digest_of(miniature)
    _, subject = folder_subject(folder)
    # a failure may be the miniature's, and its id is still a path: it shares no session, and appears on no page
    assert (subject.form, subject.shares_sessions) == (SubjectForm.MINIATURE, False)


def test_a_folder_that_another_changed_is_the_users(tmp_path: Path) -> None:
    miniature = load_miniature("qwen3")
    folder = write_miniature(miniature, tmp_path)
    mark(folder, miniature)
    (folder / "config.json").write_text(json.dumps({**miniature.config, "rope_theta": 1.0}), encoding="utf-8")
    assert made_of(folder) is None
    assert folder_subject(folder)[1].form is SubjectForm.FOLDER
    # its tokenizer is ours all the same: llama.cpp's converter cannot recognise it
    assert golden_of_folder(folder)["texts"] == list(TEXTS)
    (folder / MARK).write_text("[" * 100_000, encoding="utf-8")
    assert made_of(folder) is None


@pytest.mark.parametrize("change", ["shortened", "removed", "added"])
def test_a_folder_with_other_weights_is_the_users(tmp_path: Path, change: str) -> None:
    miniature = load_miniature("qwen3")
    folder = write_miniature(miniature, tmp_path)
    mark(folder, miniature)
    weights = folder / "model.safetensors"
    if change == "shortened":
        weights.write_bytes(weights.read_bytes()[:-8])
    elif change == "removed":
        weights.rename(folder / "pytorch_model.bin")
    else:
        (folder / "adapter_model.safetensors").write_bytes(b"")
    assert made_of(folder) is None


def test_a_folder_of_a_gguf_alone_is_a_subject(tmp_path: Path) -> None:
    name = b"general.architecture"
    head = b"GGUF" + bytes(20) + bytes([len(name)]) + bytes(7) + name + bytes([8, 0, 0, 0]) + bytes([5]) + bytes(7)
    (tmp_path / "model-Q8_0.gguf").write_bytes(head + b"llama" + bytes(64))
    model, subject = folder_subject(tmp_path)
    assert (model.architecture, subject.form) == ("llama", SubjectForm.FOLDER)
    (tmp_path / "other.gguf").write_bytes(b"GGUF")
    assert gguf_architecture(tmp_path / "other.gguf") == ""
