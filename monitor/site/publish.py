"""Publishes a whole site at once, into a folder and, where configured, to a git remote.

The published folder is a symbolic link, and one rename replaces it by a link to the new files: a reader sees the whole
old site or the whole new one, even when the process ends in between. Unchanged files are linked, not written.
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
from monitor.site.names import MARKER

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from monitor.config.settings import Config
    from monitor.progress import Progress
    from monitor.store import Reader


@dataclass(frozen=True, slots=True)
class Published:
    files: int  # all, changed or not
    changed: int
    removed: int
    largest_bytes: int  # of a page


def publish_pages(
    config: Config, store: Reader, progress: Progress, *, folder: Path | None = None, push: bool = True
) -> None:
    """Publish the site as configured. Raises SettleError where a folder or a remote refuses."""
    # the estimates multiply many small matrices: threads that wait for one another took half of all the time
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    from monitor.site import push as git_remote
    from monitor.site.pages import make_site

    settings = config.site
    folder = folder or settings.folder or config.home / "site"
    published = publish(make_site(store, url=config.alerts.link_base), folder)
    summary = f"{published.files} files, {published.changed} changed, {published.removed} removed"
    progress.message(f"{folder / 'index.html'}: {summary}")
    if settings.remote and push:
        pushed = git_remote.push(
            folder, settings.remote, settings.branch, clone=config.home / "site.git", message=summary
        )
        address = f"{git_remote.redacted(settings.remote)}, {settings.branch}"
        progress.message(f"pushed to {address}" if pushed else f"no change to push to {address}")


def publish(files: Iterable[tuple[str, bytes]], folder: Path) -> Published:
    """Write the files, by path, into the folder. Raises UsageError where it holds something else or is in use."""
    place = folder.absolute()
    _check_place(place)
    place.parent.mkdir(parents=True, exist_ok=True)
    with _locked(place):
        _remove_leftovers(place)
        new = Path(tempfile.mkdtemp(prefix=f".{place.name}.", dir=place.parent))
        try:
            new.chmod(0o755)  # a web server reads it, too
            published = _write(files, new, place)
            if published.changed or published.removed:
                _swap(new, place)
        finally:
            _remove_leftovers(place)
    return published


def _write(files: Iterable[tuple[str, bytes]], new: Path, place: Path) -> Published:
    changed = largest = 0
    paths: set[str] = set()
    for path, content in files:
        paths.add(path)
        old, file = place / path, new / path
        file.parent.mkdir(parents=True, exist_ok=True)
        if _same(old, content):
            _link(old, file)
        else:
            file.write_bytes(content)
            changed += 1
        if path.endswith(".html"):
            largest = max(largest, len(content))
    before = {str(Path(root, name).relative_to(place)) for root, _, names in os.walk(place) for name in names}
    return Published(len(paths), changed, len(before - paths), largest)


def _link(old: Path, file: Path) -> None:
    try:
        os.link(old, file)
    except OSError:  # not every file system has hard links
        shutil.copy2(old, file)


def _same(file: Path, content: bytes) -> bool:
    try:
        return file.stat().st_size == len(content) and file.read_bytes() == content
    except (FileNotFoundError, NotADirectoryError):
        return False


def _swap(new: Path, place: Path) -> None:
    link = new.with_name(f"{new.name}.link")
    link.symlink_to(new.name)
    if place.is_dir() and not place.is_symlink():
        place.rmdir()  # an empty folder
    link.replace(place)


def _check_place(place: Path) -> None:
    if place.is_symlink() and (place / MARKER).exists():
        return
    if place.is_symlink() or (place.exists() and not place.is_dir()) or (place.is_dir() and any(place.iterdir())):
        raise UsageError(
            f"{place} exists and is not a site that Settle wrote", hint="name a folder that does not exist"
        )


def _remove_leftovers(place: Path) -> None:
    """Remove the files of earlier runs, but not the published ones."""
    published = place.resolve().name if place.is_symlink() else ""
    for leftover in place.parent.glob(f".{place.name}.*"):
        if leftover.name in (published, _lock(place).name):
            continue
        if leftover.is_symlink():
            leftover.unlink()
        elif leftover.is_dir():
            shutil.rmtree(leftover)


@contextmanager
def _locked(place: Path) -> Iterator[None]:
    with _lock(place).open("a", encoding="ascii") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise UsageError(f"another settle writes to {place}", hint="wait until it ends") from None
        yield


def _lock(place: Path) -> Path:
    return place.with_name(f".{place.name}.lock")
