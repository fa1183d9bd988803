from __future__ import annotations

import os
import subprocess
import sys
import time
from typing import TYPE_CHECKING

from containers.processes import MARK, home_digest, kill_marked, marks, owner_lives, owner_token, resident_bytes, tree

if TYPE_CHECKING:
    from pathlib import Path


def test_an_owner_lives_until_it_is_gone_and_is_not_its_successor() -> None:
    with subprocess.Popen(["/bin/sleep", "60"]) as process:
        token = owner_token(process.pid)
        assert owner_lives(token)
        pid, _started, boot = token.split("-")
        assert not owner_lives(f"{pid}-1-{boot}"), "the same number, started at another time"
        process.kill()
        process.wait()
        assert not owner_lives(token)
    assert owner_lives(owner_token())


def test_what_names_no_owner_has_none() -> None:
    for token in ("", "x", "-1", "1", f"{os.getpid()}-0-0", "99999999-5-x", "../etc"):
        assert not owner_lives(token), token


def test_a_home_is_named_without_its_path(tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(tmp_path, target_is_directory=True)
    assert home_digest(link) == home_digest(tmp_path)
    assert home_digest(tmp_path / "other") != home_digest(tmp_path)
    assert len(home_digest(tmp_path)) == 16


def test_a_marked_tree_is_killed_with_those_who_left_it() -> None:
    mark = f"test:{os.getpid()}:{time.monotonic_ns()}"
    with subprocess.Popen(
        ["/bin/sh", "-c", "setsid sleep 60 & sleep 60"], env={MARK: mark, "PATH": "/usr/bin:/bin"}
    ) as process:
        while list(marks().values()).count(mark) < 3:
            time.sleep(0.01)
        assert len(tree(process.pid, at_most=10)) == 3
        assert len(tree(process.pid, at_most=2)) == 2
        assert kill_marked("test:another") == 0
        assert kill_marked(mark) == 3
        assert process.wait() == -9
    assert mark not in marks().values()


def test_memory_shared_between_forks_counts_once() -> None:
    code = (
        "import os, sys; data = bytearray(os.urandom(1) * (64 << 20))\n"
        "for _ in range(3):\n    if os.fork() == 0:\n        sys.stdin.read(); os._exit(0)\n"
        "print('ready', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        pids = tree(process.pid, at_most=10)
        assert len(pids) == 4
        assert 64 << 20 < resident_bytes(pids, worth_asking=0) < 128 << 20
        assert resident_bytes(pids, worth_asking=1 << 30) > 256 << 20  # cheap, and never too small
        process.communicate()
