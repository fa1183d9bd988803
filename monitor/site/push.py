"""Commits the published site on a branch of a git remote and pushes it, never by force."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import git

from monitor.errors import InfraError, UsageError
from monitor.site.pages import MARKER

if TYPE_CHECKING:
    from pathlib import Path

AUTHOR = {"NAME": "settle", "EMAIL": "settle@localhost"}
KEPT = ("CNAME", "README.md", "LICENSE")  # of the branch's own, that no site of ours has
PATIENCE_S = 600
_ATTEMPTS = 2  # a second one where somebody else has pushed meanwhile
_SECRET = re.compile(r"(\w+://)[^/@\s]+@")


def push(site: Path, remote: str, branch: str, *, workshop: Path, message: str) -> bool:
    """Make the branch hold what the site holds; return False where it does already.

    ``workshop`` keeps the repository between two pushes; it can be removed at any time. Raises UsageError for a branch
    that holds something else than a site, and BenchError where the remote cannot be reached or refuses.
    """
    try:
        repository = git.Repo.init(workshop, bare=True)
        with repository.git.custom_environment(**_environment(site)):
            for attempt in range(_ATTEMPTS):
                tip = _fetched(repository, remote, branch)
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
        raise InfraError("there is no git to push the site with", hint="install git, or empty [site] remote") from None
    except git.GitCommandError as error:
        raise InfraError(
            f"the site was not pushed to {redacted(remote)}: {_said(error)}",
            hint="what was published into the folder stays; git's own settings say who may push",
        ) from None
    return True


def redacted(address: str) -> str:
    return _SECRET.sub(r"\1***@", address)


def _environment(site: Path) -> dict[str, str]:
    """Return what makes git work on the site's files without a look at anybody's hooks or settings of style."""
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


def _fetched(repository: git.Repo, remote: str, branch: str) -> str:
    """Return the branch's commit, fetched, or "" where there is no such branch yet."""
    tip = _tip(repository, remote, branch)
    if not tip:
        return ""
    repository.git.fetch(remote, f"refs/heads/{branch}", "--depth=1", "--no-tags", kill_after_timeout=PATIENCE_S)
    names = str(repository.git.ls_tree("--name-only", tip)).splitlines()
    if MARKER not in names and set(names) - set(KEPT):
        raise UsageError(
            f"the branch {branch} of {redacted(remote)} holds something else than a site",
            hint="name a branch of its own in [site] branch",
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


def _said(error: git.GitCommandError) -> str:
    lines = [line for line in str(error.stderr).splitlines() if line.strip()]
    return redacted(" ".join(lines[-3:]).strip().strip("'") or f"git ended with {error.status}")[:400]
