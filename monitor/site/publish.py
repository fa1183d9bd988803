"""Puts a whole site into its place at once: built aside, what is unchanged linked and not written, then swapped in.

``FOLDER`` is a link to a folder beside it, and a new link takes its place by one rename: a reader sees the old site
or the new one, whole, and whatever ends us leaves the old one there.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from monitor.errors import UsageError
from monitor.site.pages import MARKER

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from monitor.site.pages import Made


@dataclass(frozen=True, slots=True)
class Published:
    """What was put in place: files in all, of which some had changed, and old ones that are gone."""

    files: int
    changed: int
    removed: int
    largest_bytes: int  # of a page


def publish(made: Iterable[Made], folder: Path) -> Published:
    """Write the site. Raises UsageError where ``folder`` holds something that is not ours, or is being written to."""
    place = folder.absolute()
    _ours(place)
    place.parent.mkdir(parents=True, exist_ok=True)
    with _alone(place):
        _sweep(place)
        aside = Path(tempfile.mkdtemp(prefix=f".{place.name}.", dir=place.parent))
        try:
            aside.chmod(0o755)  # a web server reads it, too
            found = _write(made, aside, place)
            if found.changed or found.removed:
                _swap(aside, place)
        finally:
            _sweep(place)
    return found


def _write(made: Iterable[Made], aside: Path, place: Path) -> Published:
    files = changed = largest = 0
    paths: set[str] = set()
    for one in made:
        path = aside / one.path
        path.parent.mkdir(parents=True, exist_ok=True)
        old = place / one.path
        if _same(old, one.content):
            _keep(old, path)
        else:
            path.write_bytes(one.content)
            changed += 1
        files += 1
        paths.add(one.path)
        if one.path.endswith(".html"):
            largest = max(largest, len(one.content))
    before = {str(Path(root, name).relative_to(place)) for root, _, names in os.walk(place) for name in names}
    return Published(files, changed, len(before - paths), largest)


def _keep(old: Path, path: Path) -> None:
    try:
        os.link(old, path)
    except OSError:  # not every file system has hard links
        shutil.copy2(old, path)


def _same(file: Path, content: bytes) -> bool:
    try:
        return file.stat().st_size == len(content) and file.read_bytes() == content
    except (FileNotFoundError, NotADirectoryError):
        return False


def _swap(aside: Path, place: Path) -> None:
    link = aside.with_name(f"{aside.name}.link")
    link.symlink_to(aside.name)
    if place.is_dir() and not place.is_symlink():
        place.rmdir()  # an empty folder that somebody made for us
    link.replace(place)


def _ours(place: Path) -> None:
    if place.is_symlink() and (place / MARKER).exists():
        return
    if place.is_symlink() or (place.exists() and not place.is_dir()) or (place.is_dir() and any(place.iterdir())):
        raise UsageError(
            f"{place} is there already, and is no site of settle's", hint="name a folder that is not there"
        )


def _sweep(place: Path) -> None:
    """Remove what earlier ones left beside, but what stands."""
    stands = place.resolve().name if place.is_symlink() else ""
    for left in place.parent.glob(f".{place.name}.*"):
        if left.name in (stands, _lock(place).name):
            continue
        if left.is_symlink():
            left.unlink()
        elif left.is_dir():
            shutil.rmtree(left)


@contextmanager
def _alone(place: Path) -> Iterator[None]:
    with _lock(place).open("a", encoding="ascii") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise UsageError(f"another settle is writing to {place}", hint="wait until it ends") from None
        yield


def _lock(place: Path) -> Path:
    return place.with_name(f".{place.name}.lock")
