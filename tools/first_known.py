"""Reads out of the wheels of transformers' stable releases when each architecture was first registered."""

from __future__ import annotations

import csv
import io
import re
import zipfile
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any

import httpx
from packaging.utils import parse_wheel_filename
from packaging.version import Version

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

OLDEST = Version("4.49.0")  # what it registers counts as "always known": written "<=4.49.0"
INDEX = "https://pypi.org/simple"

# The mapping moved in 5.x from configuration_auto.py to a generated neighbour; both are read in every release.
_SOURCES = ("transformers/models/auto/configuration_auto.py", "transformers/models/auto/auto_mappings.py")
_ENTRY = re.compile(r'\(\s*"([\w.-]+)",\s*"\w+Config",?\s*\)')


@dataclass(frozen=True, slots=True)
class FirstKnown:
    """``release`` is ``<=4.49.0`` (and ``published`` None) for an architecture of the oldest release that was read."""

    model_type: str
    release: str
    published: date | None


@dataclass(frozen=True, slots=True)
class Wheel:
    version: Version
    published: datetime
    url: str


def registered_types(source: str) -> set[str]:
    """Model types in the text of a mapping module: pairs of a name and a class that ends in ``Config``."""
    return set(_ENTRY.findall(source))


def first_known(history: Iterable[tuple[Wheel, set[str]]]) -> list[FirstKnown]:
    """Earliest release by upload day, not by number: a branch's late patch release is no first."""
    first: dict[str, FirstKnown] = {}
    for wheel, types in sorted(history, key=lambda pair: pair[0].published):
        for name in types - first.keys():
            old = wheel.version <= OLDEST
            first[name] = FirstKnown(
                name, f"<={OLDEST}" if old else str(wheel.version), None if old else wheel.published.date()
            )
    return [first[name] for name in sorted(first)]


def stable_wheels(page: dict[str, Any]) -> list[Wheel]:
    """Wheels of a PEP 691 project page from the oldest release on; no prereleases, nothing yanked."""
    wheels = []
    for file in page["files"]:
        if not file["filename"].endswith(".whl") or file.get("yanked"):
            continue
        version = parse_wheel_filename(file["filename"])[1]
        if version < OLDEST or version.is_prerelease:
            continue
        published = datetime.fromisoformat(file["upload-time"]).astimezone(UTC)
        wheels.append(Wheel(version, published, file["url"]))
    return sorted(wheels, key=lambda wheel: wheel.published)


def fetch_first_known(index: str = INDEX) -> list[FirstKnown]:
    """Ask the index for every release's registry; about 200 KiB a release, by range requests into the wheel."""
    with httpx.Client(follow_redirects=True, timeout=60) as client:
        accept = {"Accept": "application/vnd.pypi.simple.v1+json"}
        page = client.get(f"{index}/transformers/", headers=accept).raise_for_status().json()
        return first_known((wheel, _types_in(wheel, client)) for wheel in stable_wheels(page))


def write_first_known(path: Path, rows: Iterable[FirstKnown]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["model_type", "release", "published"])
        for row in rows:
            writer.writerow([row.model_type, row.release, row.published or ""])


class RangeFile(io.RawIOBase):
    """A remote file read by range requests, enough of a file for ``zipfile`` to find one member."""

    def __init__(self, url: str, client: httpx.Client) -> None:
        self._url, self._client = url, client
        self._at = 0
        self._size = int(client.head(url).raise_for_status().headers["Content-Length"])

    def seekable(self) -> bool:
        return True

    def readable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        self._at = max(0, base + offset)
        return self._at

    def readinto(self, buffer: Any) -> int:
        end = min(self._size, self._at + len(buffer))
        if end <= self._at:
            return 0
        answer = self._client.get(self._url, headers={"Range": f"bytes={self._at}-{end - 1}"}).raise_for_status()
        buffer[: len(answer.content)] = answer.content
        self._at += len(answer.content)
        return len(answer.content)


def _types_in(wheel: Wheel, client: httpx.Client) -> set[str]:
    # the directory of a transformers wheel is some 300 KiB: one large read instead of hundreds of small ones
    with zipfile.ZipFile(io.BufferedReader(RangeFile(wheel.url, client), 1 << 19)) as archive:
        names = set(archive.namelist())
        return set().union(*(registered_types(archive.read(name).decode()) for name in _SOURCES if name in names))
