"""A home on a read-only file system is read, and what cannot be read there says why."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from monitor.store import open_store
from tests.standins.days import FIRST, World

_READ_ONLY = """
mount --bind "$1" "$1" && mount -o remount,ro,bind "$1"
exec "$2" query "SELECT count(*) AS n FROM runs" --csv
"""
SETTLE = Path(sys.executable).with_name("settle")


def query_read_only(home: Path) -> subprocess.CompletedProcess[str]:
    """Ask in a namespace of mounts in which the home cannot be written."""
    unshare = shutil.which("unshare")
    if os.geteuid() != 0 or unshare is None:
        pytest.skip("needs the right to mount")
    if subprocess.run([unshare, "-m", "true"], capture_output=True, check=False).returncode:
        pytest.skip("no namespace of mounts here")
    return subprocess.run(
        [unshare, "-m", "sh", "-c", _READ_ONLY, "sh", str(home), str(SETTLE)],
        capture_output=True,
        text=True,
        env={**os.environ, "SETTLE_HOME": str(home)},
        check=False,
    )


def test_a_read_only_mount_is_read(tmp_path: Path) -> None:
    with open_store(tmp_path) as store:
        World(store).run("W", FIRST)
    done = query_read_only(tmp_path)
    assert (done.returncode, done.stdout.split(), done.stderr) == (0, ["n", "1"], "")


def test_a_database_that_was_not_closed_says_where_its_latest_part_is(tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    with open_store(tmp_path / "home") as store:
        World(store).run("W", FIRST)
        copy.mkdir()
        for name in ("settle.db", "settle.db-wal"):
            shutil.copy(tmp_path / "home" / name, copy / name)
    done = query_read_only(copy)
    assert done.returncode == 4
    assert "its latest part is in settle.db-wal" in done.stderr
