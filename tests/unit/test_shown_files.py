"""No code of a model's folder is in what a probe sees: neither as files nor behind links."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from containers.engine import Mount
from monitor.domain import Subject, SubjectForm
from monitor.errors import NotACheckpoint
from monitor.runner.session import PreparedSubject, Script
from monitor.subjects.local_folder import folder_subject
from monitor.subjects.shown_files import shown_files

CODE = ("modeling_made.py", "custom_generate/generate.py", "native.so", "__pycache__/modeling_made.cpython-311.pyc")
PICKLES = (
    "pytorch_model.bin",
    "tokenizer.model.v3.pkl",
    "weights.pt",
    "original/consolidated.00.pth",
    "state.pkl",
    "DATA.NPZ",
)
DATA = (
    "config.json",
    "model.safetensors",
    "tokenizer.model",
    "additional_chat_templates/tools.jinja",
    "tokenizer.model.v3",
)


def write(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("{}", encoding="utf-8")
    return folder


def script(tmp_path: Path, folder: Path, *, isolated: bool) -> Script:
    prepared = PreparedSubject(Subject("a", "a", SubjectForm.FOLDER, "llama", "files"), folder, {})
    parts = {} if prepared.shown.is_whole else {folder: prepared.shown.files}
    return Script(
        tmp_path / "session", tmp_path / "env", tmp_path / "probes.pyz", "events.jsonl", [folder], isolated, parts
    )


def of_subject(mounts: tuple[Mount, ...], tmp_path: Path) -> list[Mount]:
    ours = {tmp_path / name for name in ("env", "probes.pyz", "session/request.json", "session/out")}
    return [mount for mount in mounts if mount.source not in ours]


def test_what_is_no_data_is_withheld(tmp_path: Path) -> None:
    shown = shown_files(write(tmp_path, *CODE, *PICKLES, *DATA, ".git/config", ".gitattributes", "README.md"))
    assert set(shown.files) == {*DATA}
    assert set(shown.withheld) == {*CODE, *PICKLES, "README.md"}
    assert not shown.is_whole


def test_a_folder_of_data_is_shown_as_it_is(tmp_path: Path) -> None:
    folder = write(tmp_path / "model", *DATA)
    assert shown_files(folder).is_whole
    mounts = of_subject(script(tmp_path, folder, isolated=True).mounts, tmp_path)
    assert mounts == [Mount(folder, "/settle/subjects/0")]


def test_a_container_gets_each_data_file_and_no_folder_with_code(tmp_path: Path) -> None:
    folder = write(tmp_path / "model", *CODE, *PICKLES, *DATA)
    mounts = of_subject(script(tmp_path, folder, isolated=True).mounts, tmp_path)
    assert {mount.target: mount.source for mount in mounts} == {
        f"/settle/subjects/0/{name}": folder / name for name in DATA
    }
    assert not any(mount.writable for mount in mounts)


def test_a_plain_process_gets_a_folder_of_links_to_the_data(tmp_path: Path) -> None:
    folder = write(tmp_path / "model", *CODE, *PICKLES, *DATA)
    process = script(tmp_path, folder, isolated=False)
    process.lay_out({})
    view = Path(process.inside(folder))
    assert {str(file.relative_to(view)) for file in view.rglob("*") if file.is_file()} == {*DATA}
    assert (view / "config.json").read_text() == "{}"
    sources = {mount.source for mount in of_subject(process.mounts, tmp_path)}
    assert sources == {view, *(folder / name for name in DATA)}  # a sandbox shows the links' aims, too


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json"])
def test_a_link_that_leads_out_is_not_followed(tmp_path: Path, name: str) -> None:
    secret = write(tmp_path, "secret.json") / "secret.json"
    folder = write(tmp_path / "model", "model.safetensors", "config.json")
    (folder / name).unlink(missing_ok=True)
    (folder / name).symlink_to(secret)
    shown = shown_files(folder)
    assert name not in shown.files
    assert shown.leading_out == (name,)
    with pytest.raises(NotACheckpoint, match="is a link to something outside of the folder"):
        folder_subject(folder)


def test_a_snapshot_of_the_hub_cache_is_its_blobs(tmp_path: Path) -> None:
    blobs, snapshot = write(tmp_path / "models--a--b" / "blobs", "0" * 40), tmp_path / "models--a--b/snapshots/main"
    snapshot.mkdir(parents=True)
    for name in ("config.json", "modeling.py"):
        (snapshot / name).symlink_to(f"../../blobs/{'0' * 40}")
    assert shown_files(snapshot).files == {"config.json": (blobs / ("0" * 40)).resolve()}
    mounts = of_subject(script(tmp_path, snapshot, isolated=True).mounts, tmp_path)
    assert mounts == [Mount((blobs / ("0" * 40)).resolve(), "/settle/subjects/0/config.json")]


def test_what_is_no_file_is_neither_read_nor_shown(tmp_path: Path) -> None:
    write(tmp_path, "config.json")
    os.mkfifo(tmp_path / "pipe.json")
    (tmp_path / "loop.json").symlink_to("loop.json")
    (tmp_path / "folder.json").symlink_to("/")
    assert set(shown_files(tmp_path).files) == {"config.json"}


def test_a_folder_without_an_end_is_refused(tmp_path: Path) -> None:
    deep = tmp_path / "/".join("d" * 20)
    deep.mkdir(parents=True)
    (deep / "a.json").touch()
    with pytest.raises(NotACheckpoint, match="deep"):
        shown_files(tmp_path)


def test_the_subject_changes_with_what_a_probe_sees(tmp_path: Path) -> None:
    folder = write(tmp_path, "config.json", "model.safetensors", ".git/index")
    (folder / "config.json").write_text(json.dumps({"model_type": "llama"}), encoding="utf-8")
    first = folder_subject(folder)[1].digest
    write(folder, ".git/other")
    assert folder_subject(folder)[1].digest == first
    write(folder, "tokenizer.json")
    assert folder_subject(folder)[1].digest != first
