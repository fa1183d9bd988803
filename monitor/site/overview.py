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
    from monitor.site.atlas import Atlas, Subject
    from monitor.site.changes import Changed

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
    chosen: list[Part] = []

    def choose(by: str, name: str, fits: Callable[[Subject], bool]) -> None:
        own = tuple(subject for subject in atlas.subjects if fits(subject))
        if own:
            chosen.append(Part(by, name, names.part_page(by, name), own))

    choose("those", "not working somewhere", lambda one: one.broken)
    choose(
        "those",
        f"of the last {YOUNG_DAYS} days",
        lambda one: one.track.released is not None and one.track.released > young,
    )
    for kind in sorted({str(one.track.kind) for one in atlas.subjects}):
        choose("kind", kind, lambda one, kind=kind: str(one.track.kind) == kind)  # type: ignore[misc]
    for organisation in sorted({one.track.organisation for one in atlas.subjects} - {""}, key=str.lower):
        choose("organisation", organisation, lambda one, name=organisation: one.track.organisation == name)  # type: ignore[misc]
    return chosen
