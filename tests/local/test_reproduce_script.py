"""The script that repeats a run by hand gives the probe the same files: those of a miniature, or a folder's data."""

from __future__ import annotations

import shlex
import subprocess
import sys
from importlib.resources import files
from pathlib import Path

import pytest

from monitor.miniatures.manifest import read_miniature
from monitor.miniatures.writer import write_miniature
from monitor.report.reproduce import _DATA, _FOLDER, _writer
from monitor.subjects.shown_files import shown_files

NAMES = ("config.json", "a b.jinja", "inner/tokenizer.model", "tokenizer.model.v3", "modeling.py", "weights.bin",
         "inner/generate.py", ".git/config.json", ".hidden.json")  # fmt: skip


def test_a_folder_is_repeated_without_its_code(tmp_path: Path) -> None:
    folder = tmp_path / "the model"
    for name in NAMES:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(name, encoding="utf-8")
    script = _FOLDER.format(folder=shlex.quote(str(folder)), data=_DATA)
    subprocess.run(["/bin/sh", "-euc", script], cwd=tmp_path, check=True)
    view = tmp_path / "subject"
    shown = {str(file.relative_to(view)): file.read_text() for file in view.rglob("*") if file.is_file()}
    assert shown == {name: name for name in shown_files(folder).files}
    assert len(shown) == 4


@pytest.mark.parametrize("slug", ["llama", "qwen3", "gpt-oss"])
def test_a_miniature_is_written_again_by_python_alone(tmp_path: Path, slug: str) -> None:
    miniature = Path(str(files("monitor"))) / "data" / "miniatures" / slug
    (tmp_path / "writer.pyz").write_bytes(_writer(miniature))
    # -S: as in the script's environment, nothing of ours is installed beside the runtime
    command = [sys.executable, "-I", "-S", "writer.pyz", "subject"]
    written = subprocess.run(command, cwd=tmp_path, check=True, capture_output=True, text=True).stdout.strip()
    here = write_miniature(read_miniature(miniature), tmp_path / "here")
    assert contents(tmp_path / written) == contents(here)


def contents(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in folder.iterdir()}
