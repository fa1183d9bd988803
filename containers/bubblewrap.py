"""The sandbox of the process engine: a command line for bubblewrap with the rights of a role."""

from __future__ import annotations

import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from containers.engine import Command, Role

if TYPE_CHECKING:
    from collections.abc import Iterable

HOME = "/home/settle"
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
