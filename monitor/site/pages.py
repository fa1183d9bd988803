"""Makes every file of the site from the content of the history."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import date, timedelta
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

from monitor.report.by_release import release_table
from monitor.report.causes import causes
from monitor.report.doubts import doubts_section
from monitor.report.evidence import Evidence
from monitor.report.lock_file import lock_file
from monitor.report.sections import answer_sections, side_by_side
from monitor.site import names
from monitor.site.cells import calendar, details_of, reproducing, worth_a_script
from monitor.site.changes import changed_days
from monitor.site.content import read_content
from monitor.site.json_files import model_json, status_json
from monitor.site.render import html_of, render, style
from monitor.site.support_curve import support_curve

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from monitor.report.causes import Cause
    from monitor.site.changes import ChangedDay
    from monitor.site.content import Content, SubjectRow
    from monitor.store import Reader

    File = tuple[str, bytes]  # path and content

MOST_SCRIPTS = 40  # each carries all probes, half a megabyte
RECENT_DAYS = 30  # a regression that began within them is new
MOST_CAUSES = 150
MOST_FED = 60
MOST_SQUARES = 1300  # on one overview page: larger pages are over 300 kB and hard to read
YOUNG_DAYS = 90
DOCS = {"definitions": "Definitions and limits", "checks": "Checks and faults"}


@dataclass(frozen=True, slots=True)
class OverviewPart:
    """Subjects of one kind; they fill one page of the overview or more."""

    by: str
    name: str
    path: str
    rows: Sequence[SubjectRow]


def make_site(store: Reader, *, url: str = "") -> Iterator[File]:
    """Yield every file. ``url`` is the published site's address, for the feed; "" where it has none.

    The same history gives the same bytes: no file has the time of writing.
    """
    content = read_content(store)
    evidence = Evidence(store)
    days = changed_days(content)
    grouped = causes(evidence, (cell.line for cell in content.cells.values()))
    grouped.sort(key=lambda cause: cause.hits[0].broken.day, reverse=True)
    new = [cause for cause in grouped if _is_new(cause, content)]
    yield names.MARKER, b"written by `settle site`; the next run overwrites changes by hand\n"
    yield ".nojekyll", b""
    yield "style.css", style()
    yield from _overview(content, days, new)
    yield _page("changes.html", "changes.html", content, days=days)
    yield _page(
        "regressions.html", "regressions.html", content,
        new=new, causes=grouped[:MOST_CAUSES], total=len(grouped), cells=content.cells,
    )  # fmt: skip
    yield from _failures(content)
    yield from _times(store, content)
    yield from _models(content)
    yield from _cells(store, content, evidence)
    for name, title in DOCS.items():
        yield _page("prose.html", f"{name}.html", content, title=title, body=html_of(_documentation(f"{name}.md")))
    yield "feed.xml", render("feed.xml", "feed.xml", days=days, most=MOST_FED, url=url.rstrip("/"))
    yield "status.json", _json(status_json(content))


def _page(template: str, path: str, content: Content, **values: Any) -> File:
    return path, render(template, path, content=content, **values)


def _is_new(cause: Cause, content: Content) -> bool:
    recent = cause.hits[0].broken.day > content.through - timedelta(days=RECENT_DAYS)
    return recent and bool(cause.regressions) and any(not hit.setback.restored_in for hit in cause.hits)


def _overview(content: Content, days: Sequence[ChangedDay], new: Sequence[Cause]) -> Iterator[File]:
    """Yield models down and runtimes across: all of them, then in parts by kind, organisation and trouble."""
    parts = _parts(content)
    size = max(10, MOST_SQUARES // (len(content.columns) + 1))
    for part in (OverviewPart("", "", "index.html", content.rows), *parts):
        chunks = [part.rows[at : at + size] for at in range(0, len(part.rows), size)]
        paths = [names.page_path(part.path, number) for number in range(len(chunks))]
        for number, (path, chunk) in enumerate(zip(paths, chunks, strict=True)):
            yield _page(
                "overview.html", path, content,
                part=part, parts=parts, chunk=chunk, paths=paths, number=number, days=days, new=new,
            )  # fmt: skip


def _parts(content: Content) -> list[OverviewPart]:
    young = content.through - timedelta(days=YOUNG_DAYS)
    rows = content.rows
    chosen = [
        ("only", "failing", [row for row in rows if row.failing]),
        ("only", "unknown", [row for row in rows if row.unknown]),
        ("only", "not asked", [row for row in rows if row.not_asked(content.columns)]),
        ("only", "new", [row for row in rows if row.track.released and row.track.released > young]),
    ]
    groups: tuple[tuple[str, Callable[[SubjectRow], str]], ...] = (
        ("kind", lambda row: str(row.track.kind)),
        ("organisation", lambda row: row.track.organisation),
    )
    for by, name_of in groups:
        titles = sorted({name_of(row) for row in rows} - {""}, key=str.lower)
        chosen += [(by, name, [row for row in rows if name_of(row) == name]) for name in titles]
    return [OverviewPart(by, name, names.part_page(by, name), members) for by, name, members in chosen if members]


def _failures(content: Content) -> Iterator[File]:
    cells = content.cells
    failing = {cell.latest.cell: cell.latest.signature for cell in cells.values() if not cell.works}
    failures = [
        (signature, alike, {failure.cell for failure in alike if failing.get(failure.cell) == signature})
        for signature, alike in content.failures.items()
    ]
    failures.sort(key=lambda failure: (-len(failure[2]), -failure[1][0].last.toordinal(), failure[0]))
    yield _page("failures.html", "failures.html", content, failures=failures)
    for signature, alike, now in failures:
        yield _page(
            "failure.html", names.failure_page(signature), content,
            signature=signature, alike=alike, now=now, cells=cells,
        )  # fmt: skip


def _times(store: Reader, content: Content) -> Iterator[File]:
    drawn = []
    for column in content.every_column:
        title = f"{column.title}: share of models that work, and that are stable, by days since their release"
        svg = support_curve(column.summary.groups[0], title, seed=column.name)
        if column.asked:
            drawn.append((column, svg))
        links = {cell.subject: cell.page for cell in column.cells}
        sections = list(answer_sections(store, column.summary))
        page = names.runtime_page(column.name)
        yield _page("runtime.html", page, content, column=column, svg=svg, sections=sections, links=links)
    table = side_by_side([column.summary for column in content.columns])
    doubts = doubts_section(
        (f"{line.track.subject.id} in {line.track.runtime}", doubt)
        for column in content.columns
        for line in column.summary.lines
        for doubt in line.doubts
    )
    yield _page("times.html", "times.html", content, drawn=drawn, table=table, doubts=doubts)


def _models(content: Content) -> Iterator[File]:
    titles = {column.name: column.title for column in content.every_column}
    models: dict[str, list[SubjectRow]] = {}
    for row in content.rows:
        models.setdefault(row.model, []).append(row)
    for model, rows in models.items():
        calendars = {
            cell.page: calendar(cell.line.track.observations, cell.line.track.released)
            for row in rows
            for cell in row.cells.values()
        }
        page = names.model_page(model)
        lines = [cell.line for row in rows for cell in row.cells.values()]
        yield _page(
            "model.html", page, content, model=model, rows=rows, titles=titles, calendars=calendars, lines=lines
        )
        yield names.model_json(model), _json(model_json(rows))


def _cells(store: Reader, content: Content, evidence: Evidence) -> Iterator[File]:
    scripted = {cell.page for cell in worth_a_script(list(content.cells.values()), most=MOST_SCRIPTS)}
    locks: dict[str, date] = {}  # the last day on which something worked with each
    for column in content.every_column:
        for cell in column.cells:
            text = reproducing(store, cell) if cell.page in scripted else None
            script = names.script_file(cell.subject, column.name) if text else ""
            if text:
                yield script, text.encode()
            if cell.good:
                locks[cell.good.environment] = max(cell.good.day, locks.get(cell.good.environment, cell.good.day))
            if row := cell.known_good:
                day = date.fromisoformat(row["day"])
                locks[row["environment"]] = max(day, locks.get(row["environment"], day))
            track = cell.line.track
            yield _page(
                "cell.html", cell.page, content,
                column=column, cell=cell, by_release=list(release_table(cell.by_release)),
                details=details_of(store, evidence, cell), script=script,
                months=calendar(track.observations, track.released),
            )  # fmt: skip
            badge = names.badge_file(cell.subject, column.name)
            yield badge, render("badge.svg", badge, cell=cell, title=column.title)
    for digest, day in sorted(locks.items()):
        environment = store.environment(digest)
        if environment is not None:
            wheels = store.path.parent / "install" / "wheels"
            yield names.lock_file(digest), lock_file(environment, day=day, wheels=wheels).encode()


def _documentation(name: str) -> str:
    """Return a page of docs/, which lies in this package where settle is installed, and in docs/ in a checkout."""
    packaged = files("monitor.site") / "docs" / name
    page = packaged if packaged.is_file() else Path(__file__).parents[2] / "docs" / name
    return page.read_text(encoding="utf-8")


def _json(value: Any) -> bytes:
    return json.dumps(value, indent=1).encode() + b"\n"
