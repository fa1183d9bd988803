"""The script that repeats a run by hand gives the probe the same files of a folder: its data, and no code."""

from __future__ import annotations

import shlex
import subprocess
from typing import TYPE_CHECKING

from monitor.report.reproduce import _DATA, _FOLDER
from monitor.subjects.shown_files import shown_files

if TYPE_CHECKING:
    from pathlib import Path

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
