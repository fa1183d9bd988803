"""Commits the published site on a branch of a git remote and pushes it, never by force."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import git

from monitor.errors import InfraError, UsageError
from monitor.site.names import MARKER

if TYPE_CHECKING:
    from pathlib import Path

AUTHOR = {"NAME": "settle", "EMAIL": "settle@localhost"}
KEPT = ("CNAME", "README.md", "LICENSE")  # files of the branch that no site of ours has
PATIENCE_S = 600
_ATTEMPTS = 2  # the second is for a push by someone else in between
_SECRET = re.compile(r"(\w+://)[^/@\s]+@")


def push(site: Path, remote: str, branch: str, *, clone: Path, message: str) -> bool:
    """Make the branch hold the site's files; return False where it holds them already.

    ``clone`` stays between two pushes and can be removed at any time. Raises UsageError for a branch that holds
    something other than a site, and InfraError where the remote cannot be reached or refuses.
    """
    try:
        repository = git.Repo.init(clone, bare=True)
        with repository.git.custom_environment(**_environment(site)):
            for attempt in range(_ATTEMPTS):
                tip = _fetched_tip(repository, remote, branch)
                commit = _commit(repository, tip, message)
                if commit == tip:
                    return False
                try:
                    repository.git.push(remote, f"{commit}:refs/heads/{branch}", kill_after_timeout=PATIENCE_S)
                except git.GitCommandError:
                    if attempt + 1 == _ATTEMPTS or _tip(repository, remote, branch) == tip:
                        raise
                else:
                    return True
    except git.GitCommandNotFound:
        raise InfraError(
            "the site was not pushed: there is no git", hint="install git, or empty [site] remote"
        ) from None
    except git.GitCommandError as error:
        raise InfraError(
            f"the site was not pushed to {redacted(remote)}: {_reason(error)}",
            hint="the site's folder is complete; git's own settings decide who may push",
        ) from None
    return True


def redacted(address: str) -> str:
    return _SECRET.sub(r"\1***@", address)


def _environment(site: Path) -> dict[str, str]:
    """Return the variables for git on the site's files, without hooks and without rewriting of lines."""
    people = {f"GIT_{who}_{name}": value for who in ("AUTHOR", "COMMITTER") for name, value in AUTHOR.items()}
    settings = {"core.hooksPath": "/dev/null", "core.autocrlf": "false", "core.fileMode": "false", "gc.auto": "0"}
    listed = {f"GIT_CONFIG_KEY_{at}": key for at, key in enumerate(settings)}
    listed |= {f"GIT_CONFIG_VALUE_{at}": value for at, value in enumerate(settings.values())}
    return {
        **people,
        **listed,
        "GIT_CONFIG_COUNT": str(len(settings)),
        "GIT_WORK_TREE": str(site.resolve()),
        "GIT_TERMINAL_PROMPT": "0",
        "LC_ALL": "C",
    }


def _tip(repository: git.Repo, remote: str, branch: str) -> str:
    listed = str(repository.git.ls_remote(remote, f"refs/heads/{branch}", kill_after_timeout=PATIENCE_S))
    return listed.partition("\t")[0]


def _fetched_tip(repository: git.Repo, remote: str, branch: str) -> str:
    """Return the branch's commit, fetched, or "" where there is no such branch yet."""
    tip = _tip(repository, remote, branch)
    if not tip:
        return ""
    repository.git.fetch(remote, f"refs/heads/{branch}", "--depth=1", "--no-tags", kill_after_timeout=PATIENCE_S)
    names = str(repository.git.ls_tree("--name-only", tip)).splitlines()
    if MARKER not in names and set(names) - set(KEPT):
        raise UsageError(
            f"the branch {branch} of {redacted(remote)} holds something other than a site",
            hint="name a new branch in [site] branch",
        )
    return tip


def _commit(repository: git.Repo, tip: str, message: str) -> str:
    """Return a commit of the site's files on top of ``tip``, or ``tip`` where nothing differs."""
    repository.git.read_tree(tip) if tip else repository.git.read_tree("--empty")
    repository.git.add("--all", "--force", "--", ".", *(f":(exclude){name}" for name in KEPT))
    tree = str(repository.git.write_tree())
    if tip and tree == str(repository.git.rev_parse(f"{tip}^{{tree}}")):
        return tip
    return str(repository.git.commit_tree(tree, "-m", message, *(("-p", tip) if tip else ())))


def _reason(error: git.GitCommandError) -> str:
    lines = [line for line in str(error.stderr).splitlines() if line.strip()]
    return redacted(" ".join(lines[-3:]).strip().strip("'") or f"git ended with {error.status}")[:400]
