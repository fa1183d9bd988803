"""What every engine owes: rights, limits, endings, and nothing left behind; the same tests for each."""

from __future__ import annotations

import contextlib
import resource
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import docker
import pytest

from containers.engine import Command, CommandLimits, Mount, Role

if TYPE_CHECKING:
    from collections.abc import Callable

    from containers.base import Base
    from containers.engine import Engine, Execution

pytestmark = [pytest.mark.engine, pytest.mark.slow]

LIMITS = CommandLimits(seconds=30, memory_bytes=256 << 20, pids=64, log_bytes=64 << 10)
ROOT = Path(__file__).parents[2]


@pytest.fixture
def probe(engine: Engine, base: Base) -> Command:
    """Give a probe's command, to be completed with what it runs."""
    assert engine.isolated == bool(base.image)
    return Command(argv=(), role=Role.PROBE, limits=LIMITS, image=base.image)


def shell(command: Command, script: str) -> Command:
    return replace(command, argv=("/bin/sh", "-c", script))


def python(command: Command, code: str) -> Command:
    return replace(command, argv=("python3", "-I", "-c", code))


def running(needle: str) -> list[str]:
    """Return the command lines on this machine, containers included, that hold a word."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = path.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if needle in line and "pytest" not in line:
            found.append(line)
    return found


def wait_for(condition: object, seconds: float = 20) -> bool:
    assert callable(condition)
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def ending(execution: Execution) -> tuple[int | None, int | None, bool, bool, str]:
    return (
        execution.exit_code,
        execution.signal,
        execution.out_of_memory,
        execution.timed_out,
        execution.engine_fault,
    )


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("print('hello')", (0, None, False, False, "")),
        ("raise SystemExit(3)", (3, None, False, False, "")),
        ("import ctypes; ctypes.string_at(0)", (139, 11, False, False, "")),
        ("import os; os.abort()", (134, 6, False, False, "")),
        ("import os; os.kill(os.getpid(), 15)", (143, 15, False, False, "")),
        (
            "x = bytearray(1 << 30)\nfor i in range(0, 1 << 30, 4096): x[i] = 1\nimport time; time.sleep(9)",
            (137, 9, True, False, ""),
        ),
    ],
    ids=["clean", "exit", "segfault", "abort", "terminated", "memory"],
)
def test_an_ending_is_told_as_it_was(
    engine: Engine, probe: Command, code: str, expected: tuple[int | None, int | None, bool, bool, str]
) -> None:
    execution = engine.run(python(probe, code))

    assert ending(execution) == expected, execution.log
    assert 0 < execution.seconds < 20
    if execution.out_of_memory:
        assert execution.peak_memory_bytes is not None
        assert execution.peak_memory_bytes > LIMITS.memory_bytes * 0.9


def test_a_missing_program_is_the_commands_failure(engine: Engine, probe: Command) -> None:
    execution = engine.run(replace(probe, argv=("no-such-program",)))

    assert execution.exit_code not in {0, None}
    assert not execution.engine_fault
    assert b"no-such-program" in execution.log


def test_what_cannot_be_shown_is_the_engines_fault(engine: Engine, probe: Command, home: Path) -> None:
    missing = home / "nothing"
    execution = engine.run(replace(shell(probe, "true"), mounts=(Mount(missing, str(missing)),)))

    assert execution.engine_fault
    assert execution.exit_code is None
    assert not missing.exists()


def test_a_time_limit_ends_the_whole_tree(engine: Engine, probe: Command) -> None:
    needle = f"31{time.monotonic_ns() % 10**9}"
    script = f"(setsid sleep {needle} &) ; env -u SETTLE_PROCESS sleep {needle}"
    execution = engine.run(replace(shell(probe, script), limits=replace(LIMITS, seconds=2)))

    assert execution.timed_out
    assert not execution.out_of_memory
    assert 2 <= execution.seconds < 15
    assert wait_for(lambda: not running(f"sleep {needle}"), 5), running(needle)


def test_a_flood_is_bounded(engine: Engine, probe: Command) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    gigabyte = 1 << 30
    code = (
        "import sys; out = sys.stdout.buffer; out.write(b'the head'); block = b'x' * (1 << 20)\n"
        "for _ in range(1024): out.write(block)\nout.write(b'the tail')"
    )
    execution = engine.run(replace(python(probe, code), limits=replace(LIMITS, seconds=120)))

    assert execution.exit_code == 0
    assert execution.log.startswith(b"the head")
    assert execution.log.endswith(b"the tail")
    assert len(execution.log) < LIMITS.log_bytes + 200
    assert execution.log_dropped_bytes == gigabyte + 16 - LIMITS.log_bytes
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 64 << 10  # kilobytes


def test_a_fork_bomb_is_bounded(engine: Engine, probe: Command) -> None:
    needle = f"32{time.monotonic_ns() % 10**9}"
    code = (
        f"import os, time; needle = {needle}; made = 0\n"
        "for _ in range(300):\n"
        "    try:\n        pid = os.fork()\n    except OSError:\n        break\n"
        "    if pid == 0:\n        time.sleep(600)\n    made += 1\n    time.sleep(0.005)\n"
        "print('made', made)"
    )
    execution = engine.run(python(probe, code))

    if engine.isolated:
        assert int(execution.log.split()[1]) < LIMITS.pids
    else:
        assert execution.signal == 9
        assert b"killed at more than 64 processes" in execution.log
    assert wait_for(lambda: not running(needle), 5)


def test_a_probe_has_no_network(engine: Engine, probe: Command) -> None:
    code = "import socket; print(sorted(name for _, name in socket.if_nameindex() if name == 'eth0' or name != 'lo'))"
    execution = engine.run(python(probe, code))

    if "WITHOUT ISOLATION" in engine.describe():
        assert "has the network" in engine.describe()
    else:
        assert execution.log.strip() == b"[]"


def test_a_probe_is_nobody_and_may_write_only_where_it_is_told(engine: Engine, probe: Command, home: Path) -> None:
    if "WITHOUT ISOLATION" in engine.describe():
        assert "this user's rights and this user's files" in engine.describe()
        return
    shown, given = home / "shown", home / "given"
    for folder in (shown, given):
        folder.mkdir()
        folder.chmod(0o777)
    (shown / "words").write_text("read me")
    script = f"""
    id -u; cat {shown}/words; echo
    touch {shown}/no {shown}/words /no /usr/no /etc/no 2>/dev/null && echo WROTE
    touch /tmp/yes "$HOME/yes" && echo scratch
    echo written > {given}/yes
    grep CapEff /proc/self/status; grep NoNewPrivs /proc/self/status
    """
    execution = engine.run(
        replace(shell(probe, script), mounts=(Mount(shown, str(shown)), Mount(given, str(given), writable=True)))
    )

    said = execution.log.decode().split()
    assert said == ["1000", "read", "me", "scratch", "CapEff:", "0000000000000000", "NoNewPrivs:", "1"]
    assert (given / "yes").read_text() == "written\n"
    assert list(shown.iterdir()) == [shown / "words"]


def test_an_installer_may_use_the_network_and_writes_as_ourselves(engine: Engine, probe: Command, home: Path) -> None:
    given = home / "given"
    given.mkdir()
    command = replace(probe, role=Role.INSTALLER, mounts=(Mount(given, str(given), writable=True),))
    code = f"import socket; open('{given}/x', 'w').write('x'); print(len(socket.if_nameindex()) > 1)"
    execution = engine.run(python(command, code))

    assert execution.log.strip() == b"True"
    assert (given / "x").stat().st_uid == home.stat().st_uid


def test_who_asks_for_the_users_name_gets_one(engine: Engine, probe: Command) -> None:
    script = "import getpass, pathlib; print(getpass.getuser(), pathlib.Path.home().is_dir())"
    execution = engine.run(replace(probe, argv=("python3", "-I", "-c", script)))

    assert execution.log.decode().split() == ["settle", "True"]


def test_a_command_sees_nothing_of_our_environment(
    engine: Engine, probe: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SETTLE_TEST_TOKEN", "secret")
    execution = engine.run(shell(replace(probe, env={"GIVEN": "yes"}), "env"))

    assert b"GIVEN=yes" in execution.log
    assert b"secret" not in execution.log


ORPHAN = """
import sys
sys.path[:0] = [{root!r}, {here!r}]
from pathlib import Path
from containers.engine import *
from conftest import make_engine
engine = make_engine({kind!r}, Path({home!r}))
engine.run(Command(argv=("/bin/sh", "-c", "(setsid sleep {needle} &); sleep {needle}"), role=Role.PROBE,
    image={image!r}, limits=CommandLimits(seconds=600, memory_bytes=64 << 20)))
"""


def test_a_sweep_removes_what_a_killed_daemon_left_and_only_that(
    engine: Engine, probe: Command, kind: str, home: Path, engine_of: Callable[[str, Path], Engine]
) -> None:
    stamp = time.monotonic_ns() % 10**8
    orphan, living = f"33{stamp}", f"34{stamp}"
    code = ORPHAN.format(
        root=str(ROOT), here=str(Path(__file__).parent), kind=kind, home=str(home), needle=orphan, image=probe.image
    )
    answers: list[Execution] = []
    thread = threading.Thread(target=lambda: answers.append(engine.run(shell(probe, f"sleep 8; echo {living}"))))
    with subprocess.Popen([sys.executable, "-c", code], cwd=ROOT) as daemon:
        try:
            assert wait_for(lambda: running(f"sleep {orphan}"), 60), "the orphan never started"
            thread.start()  # only now: the other process takes its time to start on a busy machine
            assert wait_for(lambda: running(living))
        finally:
            daemon.kill()
    elsewhere = home.parent / "elsewhere"
    elsewhere.mkdir()

    with contextlib.closing(engine_of(kind, elsewhere)) as stranger:
        assert stranger.sweep() == []
    swept = engine.sweep()
    thread.join()

    assert swept
    assert wait_for(lambda: not running(f"sleep {orphan}"), 5), running(orphan)
    assert ending(answers[0]) == (0, None, False, False, "")
    assert engine.sweep() == []


def test_a_cancelled_command_ends_alone_and_the_engine_goes_on(engine: Engine, probe: Command) -> None:
    cancel = threading.Event()
    stamp = time.monotonic_ns() % 10**8
    first, beside = f"35{stamp}", f"36{stamp}"
    answers: dict[str, Execution] = {}

    def run(name: str, script: str, event: threading.Event | None) -> threading.Thread:
        def work() -> None:
            answers[name] = engine.run(shell(probe, script), cancel=event)

        thread = threading.Thread(target=work)
        thread.start()
        return thread

    threads = [run("cancelled", f"sleep {first}; true", cancel), run("beside", f"sleep 4; echo {beside}", None)]
    assert wait_for(lambda: running(f"sleep {first}")), "it never started"
    cancel.set()
    for thread in threads:
        thread.join(30)

    assert not answers["cancelled"].ok
    assert not answers["cancelled"].timed_out
    assert not running(f"sleep {first}")
    assert ending(answers["beside"]) == (0, None, False, False, "")
    assert engine.run(shell(probe, "true")).ok


@pytest.mark.parametrize("kind", ["docker"])
def test_a_container_writes_no_log_to_disk_and_tells_whose_it_is(engine: Engine, probe: Command, home: Path) -> None:
    thread = threading.Thread(target=engine.run, args=(shell(replace(probe, labels={"mine": "yes"}), "sleep 4"),))
    thread.start()
    client = docker.APIClient(version="auto")
    found: list[dict[str, object]] = []

    def look() -> bool:
        found[:] = client.containers(filters={"label": "mine=yes"})
        return bool(found)

    assert wait_for(look)
    inspected = client.inspect_container(str(found[0]["Id"]))
    client.close()
    thread.join()

    labels, host = inspected["Config"]["Labels"], inspected["HostConfig"]
    assert labels["settle.role"] == "probe"
    assert str(home) not in str(labels)
    assert host["LogConfig"]["Type"] == "none"
    assert host["Memory"] == host["MemorySwap"] == LIMITS.memory_bytes
    assert host["PidsLimit"] == LIMITS.pids
    assert host["ReadonlyRootfs"]
    assert host["CapDrop"] == ["ALL"]
