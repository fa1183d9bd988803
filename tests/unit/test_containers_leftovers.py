"""What a program leaves in its folder ends nothing of ours: it is measured within bounds, and removed."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from containers.leftovers import Bounds, excess, remove
from containers.storage import disk_bytes

if TYPE_CHECKING:
    from pathlib import Path

BOUNDS = Bounds(bytes=1 << 20, entries=100, depth=10)
DEEPER_THAN_ANY_STACK = 1500  # and its path is longer than any system call takes


def nested(folder: Path, depth: int, *, name: str = "deep") -> Path:
    """Nest folders as a program can, step by step."""
    folder.mkdir()
    descriptor = os.open(folder, os.O_RDONLY)
    for _ in range(depth):
        os.mkdir(name, dir_fd=descriptor)
        inner = os.open(name, os.O_RDONLY, dir_fd=descriptor)
        os.close(descriptor)
        descriptor = inner
    os.close(os.open("last", os.O_CREAT | os.O_WRONLY, dir_fd=descriptor))
    os.close(descriptor)
    return folder


def test_a_tree_deeper_than_any_stack(tmp_path: Path) -> None:
    folder = nested(tmp_path / "out", DEEPER_THAN_ANY_STACK)
    assert excess(folder, BOUNDS) == "folders more than 10 deep"
    assert disk_bytes(folder) >= 0
    assert remove(folder)
    assert not folder.exists()


def test_paths_longer_than_any_system_call_takes(tmp_path: Path) -> None:
    folder = nested(tmp_path / "out", 40, name="x" * 200)
    assert excess(folder, Bounds(bytes=1 << 30, depth=1000)) == "longer paths than can be followed"
    assert disk_bytes(folder) >= 0
    assert remove(folder)


def test_empty_files_are_limited(tmp_path: Path) -> None:
    for number in range(101):
        (tmp_path / str(number)).touch()
    assert excess(tmp_path, BOUNDS) == "more than 100 files"


def test_bytes_are_limited(tmp_path: Path) -> None:
    (tmp_path / "inner").mkdir()
    (tmp_path / "inner" / "large").write_bytes(bytes(2 << 20))
    assert excess(tmp_path, BOUNDS) == "more than 1048576 bytes"
    (tmp_path / "inner" / "large").unlink()
    assert excess(tmp_path, BOUNDS) == ""


def test_what_is_not_there_has_nothing_in_it(tmp_path: Path) -> None:
    assert excess(tmp_path / "gone", BOUNDS) == ""
    assert disk_bytes(tmp_path / "gone") == 0
    assert remove(tmp_path / "gone")


@pytest.mark.skipif(os.getuid() == 0, reason="root may enter any folder")
def test_a_folder_that_is_closed_to_us_is_too_much(tmp_path: Path) -> None:
    (tmp_path / "closed").mkdir(mode=0o000)
    assert excess(tmp_path, BOUNDS) == "a folder that cannot be looked into"


def test_closed_folders_and_anything_that_is_no_file_are_removed(tmp_path: Path) -> None:
    folder = tmp_path / "out"
    (folder / "closed" / "inner").mkdir(parents=True)
    (folder / "closed" / "inner" / "file").touch()
    os.mkfifo(folder / "pipe")
    (folder / "dangling").symlink_to("nowhere")
    for closed in ("closed/inner", "closed"):
        (folder / closed).chmod(0o000)
    folder.chmod(0o500)
    assert remove(folder)
    assert not folder.exists()


def test_no_link_is_followed(tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    (kept / "inner").mkdir(parents=True)
    (kept / "inner" / "file").touch()
    folder = tmp_path / "out"
    (folder / "a").mkdir(parents=True)
    (folder / "a" / "link").symlink_to(kept, target_is_directory=True)
    assert excess(folder, Bounds(bytes=1 << 20, entries=2)) == ""
    assert remove(folder)
    (tmp_path / "link").symlink_to(kept, target_is_directory=True)
    assert remove(tmp_path / "link")
    assert (kept / "inner" / "file").exists()


def test_many_files_are_removed(tmp_path: Path) -> None:
    folder = tmp_path / "out"
    for number in range(20):
        (folder / str(number) / "inner").mkdir(parents=True)
        for name in range(100):
            (folder / str(number) / f"{name}").touch()
    assert remove(folder)
