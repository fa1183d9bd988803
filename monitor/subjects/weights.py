"""Keeps the files of models that are probed whole: by content, checked, resumed, within the disk's budget."""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from monitor.errors import DiskFull, InfraError, NoAnswer, NotACheckpoint, disk_full
from monitor.sources.hub import Refused
from monitor.sources.model_changes import Part, part_of

if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Sequence

    from monitor.progress import Progress
    from monitor.sources.hub import Hub
    from monitor.sources.published import TreeEntry

WEIGHTS = "weights"  # folder of the home
GIB = 1 << 30
_IN_VAIN = 3  # connections in a row that brought nothing
_READ_BYTES = 1 << 20
_TELL_BYTES = 1_000_000_000
_LINKS = 2  # of a file that no other checkpoint has: the blob's own, and the checkpoint's
_BESIDE = (Part.CONFIG, Part.TOKENIZER, Part.TEMPLATE, Part.LICENSE)


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A fetched checkpoint; ``own_bytes`` is what giving it up would free."""

    digest: str
    own_bytes: int


def wanted(entries: Iterable[TreeEntry]) -> list[TreeEntry]:
    """Choose the files that loading needs, safetensors only: other formats of the same weights stay where they are.

    Raises NotACheckpoint where there are none: pickled weights are never loaded.
    """
    top = [entry for entry in entries if "/" not in entry.path]
    weights = [entry for entry in top if entry.path.endswith((".safetensors", ".safetensors.index.json"))]
    beside = [entry for entry in top if part_of(entry.path) in _BESIDE and not entry.path.endswith(".py")]
    if not any(entry.path.endswith(".safetensors") for entry in weights):
        raise NotACheckpoint("it has no weights as safetensors", hint="pickled weights are never loaded")
    return sorted([*weights, *beside], key=lambda entry: entry.path)


def checkpoint_digest(entries: Sequence[TreeEntry]) -> str:
    """Name a checkpoint by its files: a revision that changes none of them is the same one."""
    return hashlib.sha256("".join(f"{entry.path}\0{_key(entry)}\n" for entry in entries).encode()).hexdigest()


def checkpoint_folder(home: Path, digest: str) -> Path:
    return home / WEIGHTS / "checkpoints" / digest


class WeightStore:
    """``blobs/<hash>``, and ``checkpoints/<digest>/`` of hard links to them, which a container sees as plain files."""

    def __init__(self, home: Path, *, budget_bytes: int, floor_bytes: int, kept: Container[str] = ()) -> None:
        self.root = home / WEIGHTS
        self._kept = kept  # digests that are never given up
        self._budget, self._floor = budget_bytes, floor_bytes
        self._blobs, self._checkpoints = self.root / "blobs", checkpoint_folder(home, "")

    def folder(self, digest: str) -> Path:
        return self._checkpoints / digest

    def fetch(self, hub: Hub, name: str, revision: str, progress: Progress) -> str:
        """Fetch a revision's files unless they are here; return the checkpoint's digest.

        Raises DiskFull before anything is fetched that would not fit, and BenchError as the hub does; what came until
        then is kept, and the next attempt goes on from there.
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
        """Return what may be given up, longest unused first."""
        every = self._checkpoints.glob("*")
        found = [path for path in every if not path.name.startswith(".") and path.name not in self._kept]
        return [
            Checkpoint(
                path.name, sum(fact.st_size for file in path.iterdir() if (fact := file.stat()).st_nlink <= _LINKS)
            )
            for path in sorted(found, key=lambda path: path.stat().st_mtime)
        ]

    def used_bytes(self) -> int:
        return sum(path.stat().st_size for path in self._blobs.glob("*"))

    def loose_bytes(self) -> int:
        """Return the size of what belongs to no checkpoint: what broke off, and what a kill left unlinked."""
        return sum(path.stat().st_size for path in self._loose())

    def remove_loose(self, *, but: Container[str] = ()) -> None:
        for path in self._loose():
            if path.stem not in but:
                path.unlink()

    def remove(self, digest: str, *, but: Container[str] = ()) -> None:
        """Give up a checkpoint, and what of its files neither another has nor ``but`` names."""
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
            progress.message(f"giving up weights that nobody used for longest, {oldest.own_bytes / 1e9:.1f} GB")
            self.remove(oldest.digest, but=ours)
        if (excess := self._excess(needed)) > 0:
            raise DiskFull(
                f"{needed / 1e9:.1f} GB of weights are {excess / 1e9:.1f} GB too many",
                hint="raise budget_gib in [disk], lower floor_gib, or probe the miniature",
            )

    def _excess(self, needed: int) -> int:
        """Return by how many bytes too little room there is, in the budget or on the disk."""
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

    def _fetch(self, hub: Hub, name: str, revision: str, entry: TreeEntry, progress: Progress) -> None:
        """Fetch one file, over as many connections as it takes, and keep it under its hash once that is right."""
        in_vain = 0
        while (before := self._there(entry)) < entry.size or not self._part(entry).exists():
            try:
                self._receive(hub, name, revision, entry, progress)
            except NoAnswer:
                in_vain = 0 if self._there(entry) > before else in_vain + 1
                if in_vain >= _IN_VAIN:
                    raise
        part = self._part(entry)
        if _hash_of(part, entry) != _key(entry):
            part.unlink()
            raise InfraError(
                f"{entry.path} of {name} came otherwise than the hub says it is", hint="a proxy may have changed it"
            )
        part.chmod(0o644)  # the probe runs as another user
        part.rename(self._blob(entry))

    def _receive(self, hub: Hub, name: str, revision: str, entry: TreeEntry, progress: Progress) -> None:
        with hub.open(name, revision, entry.path, start=self._there(entry)) as opened:
            if isinstance(opened, Refused):
                raise InfraError(f"{entry.path} of {name}: {opened.why}", hint="a gated model needs a token in [hub]")
            with self._part(entry).open("r+b" if opened.start else "wb") as file:
                file.seek(opened.start)
                told = opened.start
                for chunk in opened.chunks:
                    file.write(chunk[: entry.size - file.tell()])
                    if file.tell() >= told + _TELL_BYTES:
                        told = file.tell()
                        progress.message(f"{name}: {told / 1e9:.0f} of {entry.size / 1e9:.0f} GB of {entry.path}")
                    if file.tell() >= entry.size:
                        break
                file.flush()
                os.fsync(file.fileno())
                if file.tell() < entry.size:
                    raise NoAnswer(f"{entry.path} of {name} ended early, at {file.tell()} of {entry.size} bytes")

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
    """Return the sha256 of a large file; of a small one git's own hash is all that the hub tells."""
    return entry.lfs.oid if entry.lfs else entry.oid


def _hash_of(path: Path, entry: TreeEntry) -> str:
    digest = hashlib.sha256()
    if not entry.lfs:
        digest = hashlib.sha1(b"blob %d\0" % entry.size)  # noqa: S324 - git's
    with path.open("rb") as file:
        while chunk := file.read(_READ_BYTES):
            digest.update(chunk)
    return digest.hexdigest()
