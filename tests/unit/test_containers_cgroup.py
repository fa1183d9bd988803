from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from containers.processes import memory_group

if TYPE_CHECKING:
    from pathlib import Path

V1 = "5:cpu,cpuacct:/docker/abc\n4:memory:/docker/abc\n0::/system\n"
V2 = "0::/system.slice/docker-abc.scope\n"


@pytest.mark.parametrize(
    ("lines", "folder", "files"),
    [
        (
            V1,
            "memory/docker/abc",
            {"memory.max_usage_in_bytes": "123\n", "memory.oom_control": "oom_kill 2"},
        ),
        (V2, "system.slice/docker-abc.scope", {"memory.peak": "123\n", "memory.events": "oom 9\noom_kill 2\n"}),
        (V2, "system.slice/docker-abc.scope", {"memory.current": "123\n", "memory.events": "oom_kill 2\n"}),
    ],
    ids=["v1", "v2", "v2 without a peak"],
)
def test_memory_is_read_in_both_versions(tmp_path: Path, lines: str, folder: str, files: dict[str, str]) -> None:
    proc, root = tmp_path / "proc", tmp_path / "cgroup"
    (proc / "7").mkdir(parents=True)
    (proc / "7" / "cgroup").write_text(lines)
    (root / folder).mkdir(parents=True)
    for name, text in files.items():
        (root / folder / name).write_text(text)

    group = memory_group(7, "abc", proc=proc, root=root)

    assert group is not None
    assert (group.peak_bytes(), group.kills()) == (123, 2)
    for name in files:
        (root / folder / name).unlink()
    assert (group.peak_bytes(), group.kills()) == (None, 0)


def test_a_stranger_with_that_number_is_not_the_container(tmp_path: Path) -> None:
    (tmp_path / "7").mkdir()
    (tmp_path / "7" / "cgroup").write_text(V2 + "4:memory:/user/me\n")
    assert memory_group(7, "other", proc=tmp_path) is None
    assert memory_group(8, "abc", proc=tmp_path) is None
