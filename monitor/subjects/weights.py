"""Stores full weights by content: fetches are checked and resumed, and stay within the disk budget."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import TYPE_CHECKING

from monitor.errors import DiskFull, InfraError, NoAnswer, NotACheckpoint, disk_full
from monitor.sources.changes import ModelPart, part_of
from monitor.sources.hub import Refused

if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Sequence

    from monitor.progress import Progress
    from monitor.sources.hub import HubClient
    from monitor.sources.hub_answers import TreeEntry

WEIGHTS = "weights"  # folder in the data directory
GIB = 1 << 30
_MOST_FAILURES = 3  # connections in a row that bring too little
_SLOWEST_BYTES_S = 16 << 10  # a hub that sends less would hold the daemon for weeks
_READ_BYTES = 1 << 20
_REPORT_BYTES = 1_000_000_000
_GGUF_KINDS = ("Q8_0", "Q4_K_M", "Q4_0")  # what most users load, the most exact first
_PART = re.compile(r"-\d{5}-of-\d{5}(?=\.gguf$)")
_LINKS = 2  # of a file in a single checkpoint: that of the blob and that of the checkpoint
_SMALL_PARTS = (ModelPart.CONFIG, ModelPart.TOKENIZER, ModelPart.TEMPLATE, ModelPart.LICENSE)


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A fetched checkpoint; ``freeable_bytes`` is the space that its removal frees."""

    digest: str
    freeable_bytes: int


def wanted(entries: Iterable[TreeEntry]) -> list[TreeEntry]:
    """Choose the files that loading needs: safetensors, or where there are none, the GGUF of one kind.

    Raises NotACheckpoint where there are neither: pickled weights are never loaded.
    """
    top = [entry for entry in entries if "/" not in entry.path]
    weights = [entry for entry in top if entry.path.endswith((".safetensors", ".safetensors.index.json"))]
    small = [entry for entry in top if part_of(entry.path) in _SMALL_PARTS and not entry.path.endswith(".py")]
    if not any(entry.path.endswith(".safetensors") for entry in weights):
        weights = _gguf_of_a_kind([entry for entry in top if entry.path.endswith(".gguf")])
    if not weights:
        raise NotACheckpoint("it has no weights as safetensors", hint="pickled weights are never loaded")
    return sorted([*weights, *small], key=lambda entry: entry.path)


def _gguf_of_a_kind(entries: Sequence[TreeEntry]) -> list[TreeEntry]:
    """Return the files of one quantization, in as many parts as it has: none is the model's own where several are."""
    kinds: dict[str, list[TreeEntry]] = {}
    for entry in entries:
        if not PurePath(entry.path).name.startswith("mmproj"):
            kinds.setdefault(_PART.sub("", entry.path), []).append(entry)
    preferred = (name for word in _GGUF_KINDS for name in sorted(kinds) if word in name.upper())
    smallest = min(kinds, key=lambda name: sum(entry.size for entry in kinds[name]), default="")
    return kinds.get(next(preferred, smallest), [])


def checkpoint_digest(entries: Sequence[TreeEntry]) -> str:
    """Digest a checkpoint's files: a revision that changes none of them is the same checkpoint."""
    return hashlib.sha256("".join(f"{entry.path}\0{_key(entry)}\n" for entry in entries).encode()).hexdigest()


def checkpoint_folder(home: Path, digest: str) -> Path:
    return home / WEIGHTS / "checkpoints" / digest


class WeightStore:
    """``blobs/<hash>``, and ``checkpoints/<digest>/`` of hard links, which a container sees as plain files."""

    def __init__(self, home: Path, *, budget_bytes: int, floor_bytes: int, kept: Container[str] = ()) -> None:
        self.root = home / WEIGHTS
        self._kept = kept  # digests that are never removed
        self._budget, self._floor = budget_bytes, floor_bytes
        self._blobs, self._checkpoints = self.root / "blobs", checkpoint_folder(home, "")

    def folder(self, digest: str) -> Path:
        return self._checkpoints / digest

    def fetch(self, hub: HubClient, name: str, revision: str, progress: Progress) -> str:
        """Fetch a revision's files unless they are here; return the checkpoint's digest.

        Raises DiskFull before it fetches anything that does not fit, and InfraError as the hub does. Partial files are
        kept, and the next attempt resumes them.
        """
        entries = wanted(hub.tree(name, revision))
        digest = checkpoint_digest(entries)
        if self.folder(digest).is_dir():
            os.utime(self.folder(digest))
            return digest
        missing = {_key(entry): entry for entry in entries if not self._blob(entry).exists()}
        needed = sum(entry.size - self._there(entry) for entry in missing.values())
        self._make_room(needed, {_key(entry) for entry in entries}, progress)
        try:
            self._blobs.mkdir(parents=True, exist_ok=True)
            for entry in missing.values():
                progress.message(f"{name}: fetching {entry.path}, {entry.size / 1e6:.1f} MB")
                self._fetch(hub, name, revision, entry, progress)
            self._link(entries, digest)
        except OSError as error:
            raise disk_full(error) or InfraError(f"{self.root} cannot be written: {error}") from error
        return digest

    def checkpoints(self) -> list[Checkpoint]:
        """Return the removable checkpoints, longest unused first."""
        folders = [
            path
            for path in self._checkpoints.glob("*")
            if not path.name.startswith(".") and path.name not in self._kept
        ]
        return [
            Checkpoint(
                path.name, sum(stat.st_size for file in path.iterdir() if (stat := file.stat()).st_nlink <= _LINKS)
            )
            for path in sorted(folders, key=lambda path: path.stat().st_mtime)
        ]

    def used_bytes(self) -> int:
        return sum(path.stat().st_size for path in self._blobs.glob("*"))

    def loose_bytes(self) -> int:
        """Return the size of files without a checkpoint: unfinished fetches, and files that a kill left unlinked."""
        return sum(path.stat().st_size for path in self._loose())

    def remove_loose(self, *, but: Container[str] = ()) -> None:
        for path in self._loose():
            if path.stem not in but:
                path.unlink()

    def remove(self, digest: str, *, but: Container[str] = ()) -> None:
        """Remove a checkpoint and those of its files that neither another one has nor ``but`` names."""
        only_here = [blob for blob in (self.folder(digest).iterdir()) if blob.stat().st_nlink <= _LINKS]
        inodes = {blob.stat().st_ino for blob in only_here}
        shutil.rmtree(self.folder(digest), ignore_errors=True)
        for blob in self._blobs.glob("*"):
            if blob.stat().st_ino in inodes and blob.name not in but:
                blob.unlink()

    def _loose(self) -> list[Path]:
        return [path for path in self._blobs.glob("*") if path.stat().st_nlink == 1]

    def _make_room(self, needed: int, ours: Container[str], progress: Progress) -> None:
        if self._excess(needed) > 0:
            self.remove_loose(but=ours)
        others = self.checkpoints()
        while others and self._excess(needed) > 0:
            oldest = others.pop(0)
            progress.message(f"removing the longest unused weights, {oldest.freeable_bytes / 1e9:.1f} GB")
            self.remove(oldest.digest, but=ours)
        if (excess := self._excess(needed)) > 0:
            raise DiskFull(
                f"{needed / 1e9:.1f} GB of weights are {excess / 1e9:.1f} GB too many",
                hint="raise budget_gib or lower floor_gib in [disk], or probe the miniature",
            )

    def _excess(self, needed: int) -> int:
        """Return the bytes that are missing in the budget or on the disk."""
        self.root.mkdir(parents=True, exist_ok=True)
        over_budget = self.used_bytes() + needed - self._budget
        return max(over_budget, needed + self._floor - shutil.disk_usage(self.root).free)

    def _blob(self, entry: TreeEntry) -> Path:
        return self._blobs / _key(entry)

    def _part(self, entry: TreeEntry) -> Path:
        return self._blobs / f"{_key(entry)}.part"

    def _there(self, entry: TreeEntry) -> int:
        part = self._part(entry)
        return part.stat().st_size if part.exists() else 0

    def _fetch(self, hub: HubClient, name: str, revision: str, entry: TreeEntry, progress: Progress) -> None:
        """Fetch a file over as many connections as needed, and store it once its hash is right."""
        failures = 0
        while (before := self._there(entry)) < entry.size or not self._part(entry).exists():
            began = time.monotonic()
            try:
                self._receive(hub, name, revision, entry, progress)
            except NoAnswer:
                enough = (time.monotonic() - began) * _SLOWEST_BYTES_S
                failures = 0 if self._there(entry) - before > enough else failures + 1
                if failures >= _MOST_FAILURES:
                    raise
        part = self._part(entry)
        if _hash_of(part, entry) != _key(entry):
            part.unlink()
            raise InfraError(
                f"{entry.path} of {name} differs from the hash that the hub lists", hint="a proxy may have changed it"
            )
        part.chmod(0o644)  # the probe runs as another user
        part.rename(self._blob(entry))

    def _receive(self, hub: HubClient, name: str, revision: str, entry: TreeEntry, progress: Progress) -> None:
        with hub.open(name, revision, entry.path, start=self._there(entry)) as opened:
            if isinstance(opened, Refused):
                message = f"{entry.path} of {name}: {opened.reason}"
                raise InfraError(message, hint="a gated model needs a token in [hub]")
            with self._part(entry).open("r+b" if opened.start else "wb") as file:
                size = reported = file.seek(opened.start)
                for chunk in opened.chunks:
                    size += file.write(chunk[: entry.size - size])
                    if size >= reported + _REPORT_BYTES:
                        reported = size
                        progress.message(f"{name}: {reported / 1e9:.0f} of {entry.size / 1e9:.0f} GB of {entry.path}")
                    if size >= entry.size:
                        break
                file.flush()
                os.fsync(file.fileno())
                if size < entry.size:
                    raise NoAnswer(f"{entry.path} of {name} ended early, at {size} of {entry.size} bytes")

    def _link(self, entries: Sequence[TreeEntry], digest: str) -> None:
        self._checkpoints.mkdir(exist_ok=True)
        aside = Path(tempfile.mkdtemp(prefix=".", dir=self._checkpoints))
        try:
            for entry in entries:
                os.link(self._blob(entry), aside / entry.path)
            aside.chmod(0o755)
            aside.rename(self.folder(digest))
        finally:
            shutil.rmtree(aside, ignore_errors=True)


def _key(entry: TreeEntry) -> str:
    """Return the sha256 of a large file, and git's hash of a small one, for which the hub lists no other."""
    return entry.lfs.oid if entry.lfs else entry.oid


def _hash_of(path: Path, entry: TreeEntry) -> str:
    digest = hashlib.sha256()
    if not entry.lfs:
        digest = hashlib.sha1(b"blob %d\0" % entry.size)  # noqa: S324 - git's
    with path.open("rb") as file:
        while chunk := file.read(_READ_BYTES):
            digest.update(chunk)
    return digest.hexdigest()
