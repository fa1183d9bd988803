"""Fetches one archive, checks its sha256, and unpacks the wanted members; runs in the installer with its Python.

The request names ``address`` (an URL or a file), ``sums`` (an URL of a list of sha256, "" without one), ``sha256`` (""
when not known), ``into`` (the folder of unpacked trees), ``work`` (an empty folder on the same file system), ``kept``
and ``dropped`` (patterns of names), ``wanted`` (a file that must be there) and ``uv``. The last line printed is
``{"sha256": ...}`` or ``{"why": ...}``; the exit code names the kind of failure.
"""

from __future__ import annotations

import contextlib
import errno
import fnmatch
import gzip
import hashlib
import importlib
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import urllib.error
import urllib.request
import zlib
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

NOT_FOUND, NETWORK, MISMATCH, REFUSED, DISK = 81, 82, 83, 84, 85
MAX_SUMS_BYTES = 1 << 20
CHUNK = 1 << 20
SILENCE_SECONDS = 60
ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"


class Ended(Exception):
    """The reason why there is no tree, with its exit code."""

    def __init__(self, code: int, why: str) -> None:
        super().__init__(why)
        self.code = code


class ArchiveLimits(NamedTuple):
    archive_bytes: int = 8 << 30
    tree_bytes: int = 16 << 30
    members: int = 20_000


ARCHIVE_LIMITS = ArchiveLimits()


def main(request: dict[str, Any], limits: ArchiveLimits = ARCHIVE_LIMITS) -> str:
    into, work = Path(request["into"]), Path(request["work"])
    sha256 = request["sha256"] or published(request["sums"], request["address"])
    if sha256 and (into / sha256).is_dir():
        return sha256
    archive = work / "archive"
    fetched = fetch(request["address"], archive, limits.archive_bytes)
    if sha256 and fetched != sha256:
        raise Ended(MISMATCH, f"Hash mismatch: {name_of(request['address'])} has {fetched}, {sha256} was expected")
    if not (into / fetched).is_dir():
        tree = work / "tree"
        unpack(archive, tree, request, limits)
        if not (tree / request["wanted"]).is_file():
            raise Ended(REFUSED, f"the archive holds no {request['wanted']}")
        try:
            tree.rename(into / fetched)
        except OSError as error:
            if error.errno not in {errno.ENOTEMPTY, errno.EEXIST}:  # another was faster, and its tree is the same
                raise
    return fetched


def published(sums: str, address: str) -> str:
    """Return the sha256 that the publisher lists for the archive, "" where no list names it."""
    if not sums:
        return ""
    try:
        with opened(sums) as stream:
            text = stream.read(MAX_SUMS_BYTES).decode(errors="replace")
    except Ended as error:
        if error.code == NOT_FOUND:
            return ""
        raise
    for line in text.splitlines():
        match = re.fullmatch(r"([0-9a-f]{64})\s+\*?(?:\./)?(\S+)", line.strip())
        if match and match[2] == name_of(address):
            return match[1]
    return ""


def name_of(address: str) -> str:
    return address.partition("?")[0].rpartition("/")[2]


def opened(address: str) -> Any:
    if "://" not in address:
        try:
            return Path(address).open("rb")
        except OSError as error:
            raise Ended(NOT_FOUND, f"{name_of(address)} cannot be read: {error.strerror}") from None
    try:
        return urllib.request.urlopen(address, timeout=SILENCE_SECONDS)  # noqa: S310 - its scheme was checked where it was configured
    except urllib.error.HTTPError as error:
        code = NOT_FOUND if error.code in {404, 410} else NETWORK
        raise Ended(code, f"{name_of(address)}: the server answers {error.code}") from None
    except OSError as error:
        raise Ended(NETWORK, f"{name_of(address)} cannot be fetched: {getattr(error, 'reason', error)}") from None


def fetch(address: str, target: Path, most_bytes: int) -> str:
    """Copy the archive, within its size limit, and return its sha256."""
    digest, size = hashlib.sha256(), 0
    with opened(address) as stream, target.open("wb") as out:
        while chunk := received(stream, address):
            size += len(chunk)
            if size > most_bytes:
                raise Ended(REFUSED, f"the archive is larger than {most_bytes >> 30} GiB")
            digest.update(chunk)
            out.write(chunk)
        length = getattr(stream, "length", None)
    if length:
        raise Ended(NETWORK, f"{name_of(address)}: the connection closed {length} bytes before the end")
    return digest.hexdigest()


def received(stream: Any, address: str) -> bytes:
    try:
        return bytes(stream.read(CHUNK))
    except OSError as error:
        raise Ended(NETWORK, f"{name_of(address)}: {error}") from None


def unpack(archive: Path, tree: Path, request: dict[str, Any], limits: ArchiveLimits) -> None:
    """Write the wanted members below ``tree``: only regular files and links that stay inside."""
    tree.mkdir()
    size = count = 0
    try:
        with plain(archive, request["uv"]) as stream, tarfile.open(fileobj=stream, mode="r|*") as members:
            for member in members:
                count += 1
                if count > limits.members:
                    raise Ended(REFUSED, f"the archive has more than {limits.members} members")
                name = inner(member.name)
                if member.isdir() or not chosen(name, request):
                    continue
                size += member.size
                if size > limits.tree_bytes:
                    raise Ended(REFUSED, f"the archive unpacks to more than {limits.tree_bytes >> 30} GiB")
                put(member, name, members, tree)
        held_inside(tree)
    except (tarfile.TarError, gzip.BadGzipFile, zlib.error, EOFError, ValueError) as error:
        raise Ended(MISMATCH, f"the archive cannot be unpacked: {error}") from None


def held_inside(tree: Path) -> None:
    """Refuse a link that leads out through another link: the name of each stays inside."""
    for place, folders, files in os.walk(tree):
        for path in (Path(place, name) for name in (*folders, *files)):
            if path.is_symlink() and not path.resolve().is_relative_to(tree.resolve()):
                raise Ended(REFUSED, f"the archive links out of itself: {path.name[:200]!r}")


def inner(name: str) -> str:
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts:
        raise Ended(REFUSED, f"the archive names a path outside of itself: {name[:200]!r}")
    return str(path)


def chosen(name: str, request: dict[str, Any]) -> bool:
    def matches(patterns: list[str]) -> bool:
        return any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)

    return matches(request["kept"]) and not matches(request["dropped"])


def put(member: tarfile.TarInfo, name: str, members: tarfile.TarFile, tree: Path) -> None:
    target = tree / name
    # a link among the parents would lead out of the tree although every name stays inside
    parent = tree
    for part in PurePosixPath(name).parent.parts:
        parent /= part
        if parent.is_symlink():
            raise Ended(REFUSED, f"the archive writes through a link: {name[:200]!r}")
        parent.mkdir(exist_ok=True)
    if target.is_symlink() or target.exists():
        target.unlink()
    if member.issym() or member.islnk():
        put_link(member, name, target, tree)
    elif member.isfile():
        with target.open("wb") as out:
            content = members.extractfile(member)
            assert content is not None  # noqa: S101 - a regular file has one
            shutil.copyfileobj(content, out, CHUNK)
        target.chmod(0o755 if member.mode & 0o111 else 0o644)
    else:
        raise Ended(REFUSED, f"the archive holds neither file nor link: {name[:200]!r}")


def put_link(member: tarfile.TarInfo, name: str, target: Path, tree: Path) -> None:
    base = PurePosixPath(name).parent if member.issym() else PurePosixPath()
    aim = os.path.normpath(base / member.linkname)
    if PurePosixPath(member.linkname).is_absolute() or aim.startswith(".."):
        raise Ended(REFUSED, f"the archive links out of itself: {name[:200]!r}")
    if member.issym():
        target.symlink_to(member.linkname)
    elif (tree / aim).is_file() and not (tree / aim).is_symlink():
        os.link(tree / aim, target)
    else:
        raise Ended(REFUSED, f"the archive links to a file that it does not hold: {name[:200]!r}")


@contextlib.contextmanager
def plain(archive: Path, uv: str) -> Iterator[BinaryIO]:
    """Open the archive; zstd is decompressed here, because the Python of the base may not support it."""
    with archive.open("rb") as stream:
        compressed = stream.read(4) == ZSTD_MAGIC
        stream.seek(0)
        if not compressed:
            yield stream
            return
        module = zstd(archive.parent / "tool", uv)
        try:
            with module.open(stream, "rb") as inside:
                yield inside
        except module.ZstdError as error:
            raise Ended(MISMATCH, f"the archive cannot be unpacked: {error}") from None


def zstd(tool: Path, uv: str) -> Any:
    """Return the module that opens zstd: Python's from 3.14 on, else the package, installed aside for this run.

    Not the zstd program, which the usual base images lack, and not a package of the environment, which is under test.
    """
    with contextlib.suppress(ImportError):
        return importlib.import_module("compression.zstd")
    got = subprocess.run(
        [
            *(uv, "pip", "install", "--quiet", "--python", sys.executable),
            *("--target", str(tool), "--only-binary", ":all:", "zstandard"),
        ],
        stdout=2,
        check=False,
    )
    if got.returncode:
        sys.exit(got.returncode)  # uv has printed the reason, which from_execution reads
    sys.path.insert(0, str(tool))
    return importlib.import_module("zstandard")


if __name__ == "__main__":
    try:
        answer, code = {"sha256": main(json.loads(sys.argv[1]))}, 0
    except Ended as error:
        answer, code = {"why": str(error)}, error.code
    except OSError as error:
        answer, code = {"why": f"{error.strerror or error}"}, DISK
    sys.stdout.write(json.dumps(answer) + "\n")
    sys.exit(code)
