"""Makes the overview: models down and runtimes across, whole and in parts by kind, organisation and trouble."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from monitor.site import names
from monitor.site.render import render

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from monitor.report.causes import Cause
    from monitor.site.changes import Changed
    from monitor.site.content import Atlas, Subject

MOST_SQUARES = 1300  # on one page: with more it is no longer read, and grows over 300 kB
YOUNG_DAYS = 90


@dataclass(frozen=True, slots=True)
class Part:
    """Some of the subjects, chosen by what kind they are; on as many pages as they need."""

    by: str
    name: str
    path: str
    subjects: tuple[Subject, ...]


def overview_pages(atlas: Atlas, days: Sequence[Changed], new: Sequence[Cause]) -> Iterator[tuple[str, bytes]]:
    parts = _parts(atlas)
    for part in (Part("", "", "index.html", atlas.subjects), *parts):
        size = max(10, MOST_SQUARES // (len(atlas.histories) + 1))
        chunks = [part.subjects[at : at + size] for at in range(0, len(part.subjects), size)]
        paths = [_numbered(part.path, number) for number in range(len(chunks))]
        for number, (path, chunk) in enumerate(zip(paths, chunks, strict=True)):
            yield (
                path,
                render(
                    "overview.html", path, atlas=atlas, part=part, parts=parts, chunk=chunk, paths=paths,
                    number=number, days=days, new=new,
                ),
            )  # fmt: skip


def _numbered(path: str, number: int) -> str:
    if not number:
        return path
    base = path.removesuffix(".html").removeprefix("overview/")
    return f"overview/{base}~{number + 1}.html"


def _parts(atlas: Atlas) -> list[Part]:
    young = atlas.through - timedelta(days=YOUNG_DAYS)
    subjects = atlas.subjects
    chosen = [
        ("only", "failing", [one for one in subjects if one.broken]),
        ("only", "new", [one for one in subjects if one.track.released and one.track.released > young]),
    ]
    by_name: tuple[tuple[str, Callable[[Subject], str]], ...] = (
        ("kind", lambda one: str(one.track.kind)),
        ("organisation", lambda one: one.track.organisation),
    )
    for by, name_of in by_name:
        found = sorted({name_of(one) for one in subjects} - {""}, key=str.lower)
        chosen += [(by, name, [one for one in subjects if name_of(one) == name]) for name in found]
    return [Part(by, name, names.part_page(by, name), tuple(own)) for by, name, own in chosen if own]
