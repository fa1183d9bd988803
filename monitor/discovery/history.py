"""Reads which revisions of a model have come since the last look: their day, their files, what each changed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from monitor.sources.hub import Refused
from monitor.sources.model_changes import EPOCH, has_weights, what_changed
from monitor.store.published import Revision

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Mapping, Sequence

    from monitor.sources.hub import Hub
    from monitor.sources.published import Commit, Published, TreeEntry

# what a miniature is made from; weights and vocabularies are no small files
KEPT = ("config.json", "generation_config.json", "tokenizer_config.json", "chat_template.jinja")
_KEPT_BYTES = 2 << 20
_AT_ONCE = 20  # commits since the last look; of more, the newest


def unseen_revisions(
    hub: Hub, seen: Published, *, known: Sequence[str], last_tree: Mapping[str, str]
) -> list[Revision]:
    """Return the revisions that are new, oldest first. Raises BenchError as the hub does.

    Of a model's time before it was discovered two count: the first commit with weights, and what it is now.
    """
    assert seen.sha is not None  # noqa: S101 - the caller has looked
    commits = hub.commits(seen.id, seen.sha)[::-1]
    entries: dict[str, list[TreeEntry]] = {}

    def tree_of(commit: Commit) -> dict[str, str]:
        if commit.id not in entries:
            entries[commit.id] = hub.tree(seen.id, commit.id)
        return {entry.path: entry.lfs.oid if entry.lfs else entry.oid for entry in entries[commit.id]}

    fresh = _since(commits, known) if known else _first_and_last(commits, tree_of)
    found: list[Revision] = []
    before = last_tree
    for commit in fresh:
        tree = tree_of(commit)
        found.append(Revision(commit.id, commit.date, what_changed(before, tree), tree))
        before = tree
    if found and (not known or any(set(one.changed) & set(EPOCH) for one in found)):
        last = found[-1]
        files = small_files(hub, seen.id, last.revision, last.tree)
        found[-1] = Revision(last.revision, last.committed_at, last.changed, last.tree, files)
    return found


def _since(commits: Sequence[Commit], known: Sequence[str]) -> Sequence[Commit]:
    """Return the commits after the last that is known; where none is, the history was rewritten, and its end counts."""
    places = [place for place, commit in enumerate(commits) if commit.id in set(known)]
    return commits[max(places) + 1 :][-_AT_ONCE:] if places else commits[-1:]


def _first_and_last(commits: Sequence[Commit], tree_of: Callable[[Commit], Mapping[str, str]]) -> Sequence[Commit]:
    """Find the first commit with weights by halving: once there, weights are seldom taken away."""
    if not commits or not has_weights(tree_of(commits[-1])):
        return commits[-1:]
    low, high = 0, len(commits) - 1
    while low < high:
        middle = (low + high) // 2
        if has_weights(tree_of(commits[middle])):
            high = middle
        else:
            low = middle + 1
    return list(dict.fromkeys([commits[low], commits[-1]]))


def small_files(hub: Hub, name: str, revision: str, paths: Container[str]) -> dict[str, bytes | str]:
    """Read what a miniature is made from, or why it may not be read."""
    files: dict[str, bytes | str] = {}
    for path in KEPT:
        if path not in paths:
            continue
        answer = hub.file(name, revision, path, limit=_KEPT_BYTES)
        files[path] = answer.why if isinstance(answer, Refused) else answer
    return files or {"config.json": "there is no config.json"}
