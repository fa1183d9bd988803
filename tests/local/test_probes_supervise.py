"""One bad subject costs one cell: crashes, hangs, leaks and floods of a child are seen, ended and told apart."""

from __future__ import annotations

import faulthandler
import os
import signal
import sys
import time
from pathlib import Path

import pytest

from probes.supervise import End, Limit, supervise
from probes.wire import OUR_BUG_EXIT

pytestmark = pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork.*:DeprecationWarning")
GENEROUS = Limit(seconds=30, memory_bytes=4 << 30)


def segfault() -> None:
    faulthandler.disable()  # pytest's own, which would print as if the tests had crashed
    os.kill(os.getpid(), signal.SIGSEGV)


def raise_error() -> None:
    raise RuntimeError("a bug of ours")


def eat_memory() -> None:
    kept = []
    while True:
        kept.append(bytearray(os.urandom(1 << 20) * 16))


def hang_despite_signals() -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    while True:
        time.sleep(1)


def flood() -> None:
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 1)
    for _ in range(2000):
        os.write(1, b"x" * (1 << 16))


def test_a_clean_end() -> None:
    end = supervise(lambda: None, GENEROUS)
    assert end.clean
    assert (end.exit_code, end.signal, end.timed_out, end.out_of_memory) == (0, None, False, False)
    assert end.peak_memory_bytes > 1 << 20


def test_a_short_subject_does_not_wait_for_the_next_look() -> None:
    began = time.monotonic()
    for _ in range(5):
        assert supervise(lambda: None, GENEROUS).clean
    assert time.monotonic() - began < 5


def test_a_crash_has_a_signal() -> None:
    end = supervise(segfault, GENEROUS)
    assert (end.exit_code, end.signal, end.clean) == (None, signal.SIGSEGV, False)


def test_our_own_bug_is_neither_clean_nor_a_crash(capfd: pytest.CaptureFixture[str]) -> None:
    end = supervise(raise_error, GENEROUS)
    assert (end.exit_code, end.signal) == (OUR_BUG_EXIT, None)
    assert "a bug of ours" in capfd.readouterr().err


def test_leaving_with_a_code_is_told() -> None:
    assert supervise(lambda: sys.exit(3), GENEROUS).exit_code == 3


def test_memory_over_the_limit_ends_it() -> None:
    limit = Limit(seconds=60, memory_bytes=400 << 20)
    end = supervise(eat_memory, limit)
    assert (end.out_of_memory, end.timed_out, end.signal) == (True, False, signal.SIGKILL)
    assert end.peak_memory_bytes > limit.memory_bytes


def test_a_hang_ends_at_the_limit() -> None:
    began = time.monotonic()
    end = supervise(hang_despite_signals, Limit(seconds=0.5, memory_bytes=4 << 30))
    assert (end.timed_out, end.out_of_memory, end.signal) == (True, False, signal.SIGKILL)
    assert 0.5 <= time.monotonic() - began < 10


def test_a_flood_of_output_is_no_fault() -> None:
    assert supervise(flood, GENEROUS).clean


def test_what_a_subject_leaves_running_goes_with_it(tmp_path: Path) -> None:
    note = tmp_path / "pid"

    def leave_one_running() -> None:
        child = os.fork()
        if child == 0:
            time.sleep(60)
            os._exit(0)
        note.write_text(str(child))

    end: End = supervise(leave_one_running, GENEROUS)
    assert end.clean
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        try:
            state = Path(f"/proc/{note.read_text()}/stat").read_text(encoding="ascii").split()[2]
        except FileNotFoundError:
            return
        if state == "Z":
            return
        time.sleep(0.02)
    pytest.fail("it still runs")


def test_the_child_is_what_the_kernel_kills_first(tmp_path: Path) -> None:
    note = tmp_path / "score"

    def tell() -> None:
        note.write_text(Path("/proc/self/oom_score_adj").read_text(encoding="ascii"))

    assert supervise(tell, GENEROUS).clean
    assert note.read_text().strip() == "1000"
