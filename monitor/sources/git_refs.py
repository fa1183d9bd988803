"""Lists the tags and branch heads of a remote repository through git, without cloning it."""

from __future__ import annotations

import os
import re
import signal
import threading
from contextlib import suppress
from typing import TYPE_CHECKING

from containers.lock import redacted
from monitor.errors import InfraError
from monitor.sources.changes import BRANCHES, TAGS, Refs

if TYPE_CHECKING:
    from collections.abc import Mapping
    from subprocess import Popen

    from containers.settings import InstallSettings

SECONDS = 60.0
LIMIT_BYTES = 32 << 20
_COMMIT = re.compile(r"[0-9a-f]{40}(?:[0-9a-f]{24})?")
_NAME_CHARACTERS = 250
_PEELED = "^{}"  # an annotated tag is listed twice: itself, and the commit it stands for
# the default branch and the release branches; other branches are work in progress
_PATTERNS = ("HEAD", f"{BRANCHES}*release*", f"{TAGS}*")


def fetch_refs(address: str, settings: InstallSettings, *, seconds: float = SECONDS) -> Refs:
    """Fetch where the tags and the main and release branches of a repository point.

    Raises InfraError when git is not installed, or the repository does not answer in time or lists no tag.
    """
    listing, complaint = _ls_remote(address, settings, seconds)
    refs = refs_of(listing)
    if not any(name.startswith(TAGS) for name in refs.targets):
        # otherwise every tag would count as removed
        raise InfraError(f"{redacted(address)} lists no tags {complaint}".rstrip(), hint="is the address right?")
    return refs


def refs_of(listing: str) -> Refs:
    """Parse ``git ls-remote --symref``: a tag points to its commit, HEAD to the branch that it names."""
    targets: dict[str, str] = {}
    for line in listing.splitlines():
        target, _, name = line.partition("\t")
        if target.startswith(f"ref: {BRANCHES}"):
            targets[target.removeprefix("ref: ")] = ""  # a later line has its commit
        elif name == "HEAD":
            targets |= {branch: target for branch, known in targets.items() if not known}
        elif name.endswith(_PEELED):
            targets[name.removesuffix(_PEELED)] = target
        elif name.startswith((TAGS, BRANCHES)):
            targets[name] = target
    return Refs({name: target for name, target in targets.items() if _is_ref(name, target)})


def _is_ref(name: str, target: str) -> bool:
    return bool(_COMMIT.fullmatch(target)) and len(name) <= _NAME_CHARACTERS and name.isprintable()


def _ls_remote(address: str, settings: InstallSettings, seconds: float) -> tuple[str, str]:
    try:
        from git.cmd import Git
        from git.exc import GitError
    except ImportError as error:  # importing GitPython looks for the program
        raise InfraError("git is needed to list tags, and it is not installed", hint="install git") from error
    command = ["git", "-c", "credential.helper=", "ls-remote", "--symref", "--", address, *_PATTERNS]
    try:
        # in a new session: git leaves the transfer to a child process, which would outlive it
        git = Git().execute(command, as_process=True, env=dict(_environment(settings)), start_new_session=True)
    except (GitError, OSError) as error:
        raise InfraError(f"git cannot be run: {redacted(str(error))[:200]}") from error
    assert git.proc is not None  # noqa: S101 - it has just been started
    return _output(git.proc, address, seconds)


def _output(process: Popen[bytes], address: str, seconds: float) -> tuple[str, str]:
    late = threading.Event()

    def end() -> None:
        late.set()
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)

    assert process.stdout is not None  # noqa: S101 - GitPython always pipes both
    assert process.stderr is not None  # noqa: S101
    watch = threading.Timer(seconds, end)
    watch.daemon = True
    watch.start()
    try:
        listing = process.stdout.read(LIMIT_BYTES)
        too_much = len(listing) == LIMIT_BYTES
        if too_much:
            end()
        complaint = redacted(process.stderr.read(LIMIT_BYTES).decode(errors="replace")).strip()[-300:]
        status = process.wait()
    finally:
        watch.cancel()
    if status == 0:
        return listing.decode(errors="replace"), complaint
    why = "its list is too long" if too_much else f"not within {seconds:g} s" if late.is_set() else complaint
    raise InfraError(f"{redacted(address)} does not list its tags: {why}", hint="is the address right, and public?")


def _environment(settings: InstallSettings) -> Mapping[str, str]:
    # no person can type a password, and the configuration allows only these transports
    variables = {"GIT_TERMINAL_PROMPT": "0", "GIT_ASKPASS": "", "SSH_ASKPASS": ""}
    variables["GIT_ALLOW_PROTOCOL"] = "https:http:file"
    if settings.ca_bundle:
        variables["GIT_SSL_CAINFO"] = str(settings.ca_bundle)
    proxies = {
        "http_proxy": settings.http_proxy,
        "https_proxy": settings.https_proxy,
        "no_proxy": settings.no_proxy,
    }
    return variables | {name: value for name, value in proxies.items() if value}
