"""Tags and branch heads of a remote repository, through git and without cloning it."""

from __future__ import annotations

import os
import signal
import threading
from contextlib import suppress
from typing import TYPE_CHECKING

from containers.lock import redacted
from monitor.errors import InfraError
from monitor.sources.release_events import BRANCHES, TAGS, Refs

if TYPE_CHECKING:
    from collections.abc import Mapping
    from subprocess import Popen

    from containers.settings import InstallSettings

SECONDS = 60.0
LIMIT_BYTES = 32 << 20
_PEELED = "^{}"  # an annotated tag is listed twice: itself, and the commit it stands for
# the branch that people build from and those that releases come from; others are somebody's work
_ASKED = ("HEAD", f"{BRANCHES}*release*", f"{TAGS}*")


def fetch_refs(address: str, settings: InstallSettings, *, seconds: float = SECONDS) -> Refs:
    """Ask a repository where its tags and its main and release branches point.

    Raises BenchError when git is not there, or the repository does not answer in time or lists no tag.
    """
    told, complaint = _ls_remote(address, settings, seconds)
    refs = refs_of(told)
    if not any(name.startswith(TAGS) for name in refs.targets):
        # taken at its word, this would be the removal of every tag
        raise InfraError(f"{redacted(address)} lists no tags {complaint}".rstrip(), hint="is the address right?")
    return refs


def refs_of(told: str) -> Refs:
    """Read the lines of ``git ls-remote --symref``: a tag is the commit it stands for, HEAD the branch it names."""
    targets: dict[str, str] = {}
    for line in told.splitlines():
        target, _, name = line.partition("\t")
        if target.startswith(f"ref: {BRANCHES}"):
            targets[target.removeprefix("ref: ")] = ""  # the next line but says where it points
        elif name == "HEAD":
            targets |= {branch: target for branch, known in targets.items() if not known}
        elif name.endswith(_PEELED):
            targets[name.removesuffix(_PEELED)] = target
        elif name.startswith((TAGS, BRANCHES)):
            targets[name] = target
    return Refs({name: target for name, target in targets.items() if target})


def _ls_remote(address: str, settings: InstallSettings, seconds: float) -> tuple[str, str]:
    try:
        from git.cmd import Git
        from git.exc import GitError
    except ImportError as error:  # GitPython looks for the program as it is imported
        raise InfraError("git is not there to ask for tags", hint="install git") from error
    command = ["git", "-c", "credential.helper=", "ls-remote", "--symref", "--", address, *_ASKED]
    try:
        # in a group of its own: git leaves the transfer to a child, which would outlive it
        asked = Git().execute(command, as_process=True, env=dict(_environment(settings)), start_new_session=True)
    except (GitError, OSError) as error:
        raise InfraError(f"git cannot be run: {redacted(str(error))[:200]}") from error
    assert asked.proc is not None  # noqa: S101 - it has just been started
    return _heard(asked.proc, address, seconds)


def _heard(process: Popen[bytes], address: str, seconds: float) -> tuple[str, str]:
    late = threading.Event()

    def end() -> None:
        late.set()
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)

    assert process.stdout is not None  # noqa: S101 - GitPython always asks for both
    assert process.stderr is not None  # noqa: S101
    watch = threading.Timer(seconds, end)
    watch.daemon = True
    watch.start()
    try:
        told = process.stdout.read(LIMIT_BYTES)
        too_much = len(told) == LIMIT_BYTES
        if too_much:
            end()
        complaint = redacted(process.stderr.read(LIMIT_BYTES).decode(errors="replace")).strip()[-300:]
        status = process.wait()
    finally:
        watch.cancel()
    if status == 0:
        return told.decode(errors="replace"), complaint
    why = "it tells too much" if too_much else f"not within {seconds:g} s" if late.is_set() else complaint
    raise InfraError(f"{redacted(address)} does not tell its tags: {why}", hint="is the address right, and public?")


def _environment(settings: InstallSettings) -> Mapping[str, str]:
    # nobody is there to be asked for a password, and no other transport than these was configured
    said = {"GIT_TERMINAL_PROMPT": "0", "GIT_ASKPASS": "", "SSH_ASKPASS": "", "GIT_ALLOW_PROTOCOL": "https:http:file"}
    if settings.ca_bundle:
        said["GIT_SSL_CAINFO"] = str(settings.ca_bundle)
    proxies = {
        "http_proxy": settings.http_proxy,
        "https_proxy": settings.https_proxy,
        "no_proxy": settings.no_proxy,
    }
    return said | {name: value for name, value in proxies.items() if value}
