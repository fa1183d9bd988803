"""Commands as plain processes, in bubblewrap where it is usable; names the isolation that is missing."""

from __future__ import annotations

import contextlib
import itertools
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING

from containers.engine import HOME, USER_NAMES, BoundedLog, Command, CommandLimits, Execution, Role, ending_signal
from containers.leftovers import remove
from containers.processes import MARK, home_digest, kill_marked, marks, owner_lives, owner_token, resident_bytes, tree

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


# no core files; the shell is replaced by the command
NO_CORE = ("/bin/sh", "-c", 'ulimit -c 0; exec "$@"', "sh")
WATCH_SECONDS = (0.02, 0.1)  # first look, and the interval it grows to
DRAIN_SECONDS = 10.0
TRIAL_SECONDS = 10
# What programs need of the host: its libraries, and of /etc only what is no secret, because the files are read with
# the daemon's rights whatever user the sandbox shows.
SYSTEM = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32")
SETTINGS = (
    "/etc/alternatives", "/etc/ca-certificates", "/etc/group", "/etc/hosts", "/etc/ld.so.cache", "/etc/ld.so.conf",
    "/etc/ld.so.conf.d", "/etc/localtime", "/etc/nsswitch.conf", "/etc/passwd", "/etc/pki/ca-trust",
    "/etc/pki/tls/certs", "/etc/resolv.conf", "/etc/ssl/certs", "/run/systemd/resolve",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Bubblewrap:
    program: str
    version: str

    def argv(self, command: Command) -> list[str]:
        """Wrap a command: new namespaces, a read-only root, and nothing else but its mounts."""
        # with --die-with-parent a killed daemon takes the whole process namespace with it
        argv = [self.program, "--unshare-all", "--die-with-parent", "--new-session", "--hostname", "settle"]
        if command.role is not Role.PROBE:
            argv.append("--share-net")
        if command.role is not Role.INSTALLER:
            argv += ["--uid", "1000", "--gid", "1000"]
        for path in (*SYSTEM, *SETTINGS, *_interpreter_folders(command.argv[0])):
            argv += ["--ro-bind-try", path, path]
        size = str(command.limits.tmpfs_bytes)
        argv += ["--proc", "/proc", "--dev", "/dev"]
        for path in ("/tmp", HOME):  # noqa: S108 - the sandbox's own
            argv += ["--perms", "1777", "--size", size, "--tmpfs", path]
        for mount in sorted(command.mounts, key=lambda mount: mount.target):
            argv += ["--bind" if mount.writable else "--ro-bind", str(mount.source), mount.target]
        return [*argv, "--remount-ro", "/", "--chdir", "/tmp", "--", *command.argv]  # noqa: S108 - as above


def find_bubblewrap() -> Bubblewrap | None:
    """Return bubblewrap if it is installed and the kernel allows it (some forbid user namespaces)."""
    program = shutil.which("bwrap")
    if program is None:
        return None
    namespaces = ("--unshare-all", "--uid", "1000", "--ro-bind", "/", "/", "--proc", "/proc", "--dev", "/dev")
    try:
        version = subprocess.run([program, "--version"], capture_output=True, timeout=TRIAL_SECONDS, check=True)
        subprocess.run([program, *namespaces, "true"], capture_output=True, timeout=TRIAL_SECONDS, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return Bubblewrap(program, version.stdout.decode().strip().rpartition(" ")[2])


def _interpreter_folders(program: str) -> Iterable[str]:
    """Yield the installations that a program's links lead to: an environment's python is a link to another folder."""
    yield sys.base_prefix
    path = Path(program)
    while path.is_symlink():
        path = path.parent / path.readlink()
        folder = path.parent.parent.resolve()
        # /bin/sh is a link, too, and the folder above /bin is everything
        if path.parent.name == "bin" and folder != Path("/") and not folder.is_relative_to("/usr"):
            yield str(folder)


class ProcessEngine:
    """Weaker than containers: limits are watched from outside, the kernel does not enforce them."""

    name = "process"
    isolated = False

    def __init__(self, *, home: Path, bubblewrap: Bubblewrap | None) -> None:
        self._home = home_digest(home)
        self._scratch = home / "scratch"
        self._bubblewrap = bubblewrap
        self.mounts_read_only = bubblewrap is not None
        self._count = itertools.count()
        self._stopped = False

    def describe(self) -> str:
        if self._bubblewrap is None:
            return (
                "plain processes WITHOUT ISOLATION: a probe has the network, this user's rights and this user's files; "
                "memory and process counts are watched, not enforced; no limit on processors or shared memory; "
                "every environment is a copy of about 1 GB, unless the file system can share blocks "
                "(install bubblewrap, or better Docker or Podman)"
            )
        return (
            f"plain processes in bubblewrap {self._bubblewrap.version}: no network, read-only root, own process ids; "
            "MISSING compared with containers: memory and process counts are watched, not enforced; no limit on "
            "processors or shared memory, no system call filter"
        )

    def run(self, command: Command, *, cancel: threading.Event | None = None) -> Execution:
        began = time.monotonic()
        if fault := self._mount_fault(command):
            return _fault(fault)
        log = BoundedLog(command.limits.log_bytes)
        token = owner_token()
        mark = f"{self._home}:{token}:{next(self._count)}"
        try:
            self._scratch.mkdir(parents=True, exist_ok=True)
            scratch = Path(tempfile.mkdtemp(prefix=f"{token}.", dir=self._scratch))
        except OSError as error:
            return _fault(f"no scratch folder: {error}")
        try:
            return self._run_in(scratch, command, mark, log, began, cancel=cancel or threading.Event())
        finally:
            kill_marked(mark)
            remove(scratch)

    def stop(self) -> None:
        self._stopped = True
        for mark in set(marks().values()):
            if mark.startswith(f"{self._home}:{owner_token()}:"):
                kill_marked(mark)

    def sweep(self) -> list[str]:
        """Kill the processes of this home whose owner is gone; remove their scratch folders."""
        removed = []
        for mark in sorted(set(marks().values())):
            home, owner, _number = (*mark.split(":"), "", "")[:3]
            if home == self._home and not owner_lives(owner):
                removed.append(f"{kill_marked(mark)} processes of {owner}")
        if self._scratch.is_dir():
            for folder in self._scratch.iterdir():
                if not owner_lives(folder.name.partition(".")[0]):
                    remove(folder)
                    removed.append(f"scratch {folder.name}")
        return removed

    def close(self) -> None:
        """Hold nothing open between two commands."""

    def _mount_fault(self, command: Command) -> str:
        for mount in command.mounts:
            if not mount.source.exists():
                return f"{mount.source} does not exist, so it cannot be shown"
            if self._bubblewrap is None and mount.target != str(mount.source):
                return f"without bubblewrap {mount.source} cannot be shown as {mount.target}"
        return ""

    def _run_in(
        self, scratch: Path, command: Command, mark: str, log: BoundedLog, began: float, *, cancel: threading.Event
    ) -> Execution:
        wrapped = list(command.argv) if self._bubblewrap is None else self._bubblewrap.argv(command)
        try:
            process = subprocess.Popen(
                [*NO_CORE, *wrapped],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                env=self._environment(command.env, scratch, mark),
                cwd=scratch,
                start_new_session=True,
            )
        except OSError as error:
            return _fault(f"cannot start a process: {error}")
        with process:
            reader = threading.Thread(target=_drain, args=(process.stdout, log), name="process-log", daemon=True)
            reader.start()
            try:
                # stop() finds the processes that had begun by then; a later one ends here
                end = _End(reason="stopped") if self._stopped else _watch(process, command.limits, began, cancel)
            finally:  # also when a signal to us ends the watching: leaving the block waits for the process
                if process.returncode is None:  # not reaped, so the number is still its own
                    with contextlib.suppress(ProcessLookupError, PermissionError):
                        os.killpg(process.pid, signal.SIGKILL)
                kill_marked(mark)  # a process that left the group still holds the output open
            code = process.wait()
            reader.join(DRAIN_SECONDS)
        code = 128 - code if code < 0 else code
        if end.reason:
            log.write(f"\n[settle: {end.reason}]\n".encode())
        return Execution(
            exit_code=code,
            signal=ending_signal(code),
            out_of_memory=end.out_of_memory,
            timed_out=end.timed_out,
            seconds=time.monotonic() - began,
            peak_memory_bytes=end.peak_bytes or None,
            log=log.text(),
            log_dropped_bytes=log.dropped_bytes,
        )

    def _environment(self, env: Mapping[str, str], scratch: Path, mark: str) -> dict[str, str]:
        """Pass none of the daemon's variables on: they may hold tokens."""
        sandboxed = self._bubblewrap is not None
        return {
            "PATH": "/usr/local/bin:/usr/bin:/bin",
            "LANG": "C.UTF-8",
            **USER_NAMES,
            "HOME": HOME if sandboxed else str(scratch),
            "TMPDIR": "/tmp" if sandboxed else str(scratch),  # noqa: S108 - the sandbox's own
            **env,
            MARK: mark,
        }


@dataclass(slots=True)
class _End:
    timed_out: bool = False
    out_of_memory: bool = False
    reason: str = ""
    peak_bytes: int = 0


def _watch(process: subprocess.Popen[bytes], limits: CommandLimits, began: float, cancel: threading.Event) -> _End:
    """Wait for the end or for the first limit that is crossed; the caller kills what crosses it."""
    end = _End()
    interval, slowest = WATCH_SECONDS
    while True:
        left = began + limits.seconds - time.monotonic()
        if cancel.is_set():
            end.reason = "cancelled"
            return end
        if left <= 0:
            end.timed_out = True
            return end
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(min(interval, left))
            return end
        interval = min(slowest, interval * 1.5)
        pids = tree(process.pid, at_most=limits.pids + 1)
        if len(pids) > limits.pids:
            end.reason = f"killed at more than {limits.pids} processes"
            return end
        end.peak_bytes = max(end.peak_bytes, resident_bytes(pids, worth_asking=end.peak_bytes))
        if end.peak_bytes > limits.memory_bytes:
            end.out_of_memory = True
            end.reason = f"killed at {end.peak_bytes} bytes of memory, the limit is {limits.memory_bytes}"
            return end


def _drain(pipe: IO[bytes], log: BoundedLog) -> None:
    with contextlib.suppress(OSError, ValueError):  # it closes after the end
        while chunk := os.read(pipe.fileno(), 1 << 16):
            log.write(chunk)


def _fault(reason: str) -> Execution:
    return Execution(engine_fault=f"process: {reason}")
