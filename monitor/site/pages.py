"""Makes every file of the site, one after the other, from the survey of the history."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import timedelta
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

from monitor.report.causes import causes
from monitor.report.evidence import Evidence
from monitor.report.sections import answer_sections, side_by_side
from monitor.site import json_files, names
from monitor.site.cells import look_at, reproducing, worth_a_script
from monitor.site.changes import changed_days
from monitor.site.content import survey
from monitor.site.grid import calendar
from monitor.site.overview import overview_pages
from monitor.site.prose import html
from monitor.site.render import render, style
from monitor.site.support_curve import curves

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from monitor.report.causes import Cause
    from monitor.site.changes import Changed
    from monitor.site.content import Atlas, Entry, History, Subject
    from monitor.store import Reader

MOST_SCRIPTS = 40  # each carries all probes, half a megabyte
RECENT_DAYS = 30  # a regression that began within them is new
MOST_CAUSES = 150
MOST_FED = 60
PROSE = {"definitions": "Definitions and limits", "checks": "Checks and faults"}
MARKER = ".settle-site"


@dataclass(frozen=True, slots=True)
class Made:
    """One file of the site."""

    path: str
    content: bytes


def make_site(store: Reader, *, url: str = "") -> Iterator[Made]:
    """Yield every file. ``url`` is where the site will be found, for the feed; "" where that is not known.

    The same history gives the same bytes: no file says when it was written.
    """
    atlas = survey(store)
    evidence = Evidence(store)
    days = changed_days(atlas)
    found = causes(evidence, (entry.line for history in atlas.histories for entry in history.entries))
    found.sort(key=lambda cause: cause.hits[0].told.day, reverse=True)
    for path, content in _all(store, atlas, evidence, days, found, url=url):
        yield Made(path, content)


def _all(
    store: Reader, atlas: Atlas, evidence: Evidence, days: Sequence[Changed], found: Sequence[Cause], *, url: str
) -> Iterator[tuple[str, bytes]]:
    yield MARKER, b"written by `settle site`; what is changed here by hand is lost\n"
    yield ".nojekyll", b""
    yield "style.css", style()
    new = [cause for cause in found if _is_new(cause, atlas)]
    yield from overview_pages(atlas, days, new)
    yield _page("changes.html", "changes.html", atlas, days=days)
    pages = {entry.latest.cell: entry.page for entry in atlas.entries.values()}
    yield _page(
        "regressions.html", "regressions.html", atlas, new=new, causes=found[:MOST_CAUSES], more=len(found), pages=pages
    )
    yield from _failures(atlas)
    yield from _times(store, atlas)
    yield from _models(atlas)
    yield from _cells(store, atlas, evidence)
    yield from _prose(atlas)
    yield "feed.xml", render("feed.xml", "feed.xml", atlas=atlas, days=days, most=MOST_FED, url=url.rstrip("/"))
    yield "status.json", _json(json_files.status(atlas))


def _is_new(cause: Cause, atlas: Atlas) -> bool:
    recent = cause.hits[0].told.day > atlas.through - timedelta(days=RECENT_DAYS)
    return recent and bool(cause.regressions) and any(not hit.setback.restored_in for hit in cause.hits)


def _page(template: str, path: str, atlas: Atlas, **values: Any) -> tuple[str, bytes]:
    return path, render(template, path, atlas=atlas, **values)


def _failures(atlas: Atlas) -> Iterator[tuple[str, bytes]]:
    entries = atlas.entries
    current = {entry.latest.cell: entry.latest.signature for entry in entries.values() if not entry.works}
    failures = [
        (signature, own, [one for one in own if current.get(one.cell) == signature])
        for signature, own in atlas.failures.items()
    ]
    failures.sort(key=lambda one: (-len(one[2]), -one[1][0].last.toordinal(), one[0]))
    yield _page("failures.html", "failures.html", atlas, failures=failures)
    for signature, own, now in failures:
        cells = {one.cell for one in now}
        yield _page(
            "failure.html",
            names.failure_page(signature),
            atlas,
            signature=signature,
            own=own,
            now=cells,
            entries=entries,
        )


def _times(store: Reader, atlas: Atlas) -> Iterator[tuple[str, bytes]]:
    drawn: list[tuple[History, str]] = []
    for history in atlas.histories:
        groups = history.summary.groups
        title = f"{history.title}: share of models that work, and that are stable, by days since their release"
        svg = curves(groups[0], title, salt=history.name) if history.summary.lines else ""
        drawn.append((history, svg))
        path = names.runtime_page(history.name)
        links = {entry.subject: entry.page for entry in history.entries}
        sections = list(answer_sections(store, history.summary))
        yield _page("runtime.html", path, atlas, history=history, svg=svg, sections=sections, links=links)
    table = side_by_side([history.summary for history in atlas.histories])
    yield _page("times.html", "times.html", atlas, drawn=drawn, table=table)


def _models(atlas: Atlas) -> Iterator[tuple[str, bytes]]:
    titles = {history.name: history.title for history in atlas.histories}
    models: dict[str, list[Subject]] = {}
    for subject in atlas.subjects:
        models.setdefault(subject.model, []).append(subject)
    for model, subjects in models.items():
        grids = {
            entry.page: calendar(entry.line.track.observations, entry.line.track.released)
            for subject in subjects
            for entry in subject.cells.values()
        }
        page = names.model_page(model)
        yield _page("model.html", page, atlas, model=model, subjects=subjects, titles=titles, grids=grids)
        yield names.model_json(model), _json(json_files.model(subjects))


def _cells(store: Reader, atlas: Atlas, evidence: Evidence) -> Iterator[tuple[str, bytes]]:
    scripts = {entry.page for entry in worth_a_script(list(atlas.entries.values()), most=MOST_SCRIPTS)}
    locks: set[str] = set()
    for history in atlas.histories:
        for entry in history.entries:
            own = reproducing(store, entry) if entry.page in scripts else None
            script = names.script_file(entry.subject, history.name) if own else ""
            if own:
                yield script, own.encode()
            if entry.good:
                locks.add(entry.good.environment)
            yield _cell(store, atlas, evidence, history, entry, script=script)
            badge = names.badge_file(entry.subject, history.name)
            yield badge, render("badge.svg", badge, entry=entry, title=history.title)
    for digest in sorted(locks):
        environment = store.environment(digest)
        if environment is not None:
            yield names.lock_file(digest), environment.lock.encode()


def _cell(
    store: Reader, atlas: Atlas, evidence: Evidence, history: History, entry: Entry, *, script: str
) -> tuple[str, bytes]:
    track = entry.line.track
    return _page(
        "cell.html",
        entry.page,
        atlas,
        history=history,
        entry=entry,
        look=look_at(store, evidence, entry),
        script=script,
        grid=calendar(track.observations, track.released),
    )


def _prose(atlas: Atlas) -> Iterator[tuple[str, bytes]]:
    for name, title in PROSE.items():
        yield _page("prose.html", f"{name}.html", atlas, title=title, body=html(_documentation(f"{name}.md")))


def _documentation(name: str) -> str:
    """Return a page of the documentation: beside us where settle is installed, in docs/ where it is worked on."""
    packaged = files("monitor.site") / "docs" / name
    found = packaged if packaged.is_file() else Path(__file__).parents[2] / "docs" / name
    return found.read_text(encoding="utf-8")


def _json(value: Any) -> bytes:
    return json.dumps(value, indent=1).encode() + b"\n"
