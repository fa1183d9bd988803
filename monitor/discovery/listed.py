"""Lists every model that is watched with where it comes from: catalogue, hub, configuration, folder."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from monitor.store import open_reader
from monitor.store.reader import DATABASE
from monitor.subjects.catalogue import load_catalogue

if TYPE_CHECKING:
    from pathlib import Path

    from monitor.config.settings import Hub as Settings
    from monitor.domain import Subject
    from monitor.store import Reader

CATALOGUE = "catalogue"


def watched_rows(settings: Settings, store: Reader | None) -> list[dict[str, Any]]:
    """Return a row a model; ``state`` is what the hub made of it last, ``problem`` why it has no miniature.

    What the configuration names and no step has found yet is listed too. Without a database nothing has been found.
    """
    found = {row["id"]: row for row in (store.published.rows_of_watched() if store else ())}
    rows = [row | _sources(found.get(row["id"])) for row in _catalogue_rows()]
    rows += [_row(row) for row in found.values() if row["id"] not in {one["id"] for one in rows}]
    known = {row["id"] for row in rows} | {row["source"] for row in rows}
    wanted = [(f"model:{name}", name) for name in settings.named]
    wanted += [(f"folder:{folder}", f"folder:{folder}") for folder in settings.folders]
    rows += [
        _EMPTY | {"id": name, "source": source, "problem": "not found yet"}
        for source, name in wanted
        if name not in known and source not in known
    ]
    return rows


def discovered_subjects(home: Path, name: str) -> list[Subject]:
    """Return what can be probed of a discovered model, by its id or that of one subject; nothing without a database."""
    if not (home / DATABASE).exists():
        return []
    with open_reader(home) as store:
        return store.published.subjects(name)


_EMPTY: dict[str, Any] = {
    "family": "",
    "architecture": "",
    "kind": "",
    "organisation": "",
    "released": None,
    "released_source": "",
    "first_known": "",
    "qualified": False,
    "subjects": [],
    "source": "",
    "state": "",
    "problem": "",
}


def _catalogue_rows() -> list[dict[str, Any]]:
    return [
        _EMPTY
        | {
            "id": entry.model.id,
            "family": entry.model.family,
            "architecture": entry.model.architecture,
            "kind": str(entry.model.kind),
            "organisation": entry.model.organisation,
            "released": entry.model.released,
            "released_source": entry.model.released_source,
            "first_known": subject.first_known,
            "qualified": subject.qualified,
            "subjects": list(entry.subject_ids),
            "source": CATALOGUE,
        }
        for entry in load_catalogue()
        for subject in entry.subjects()[:1]
    ]


def _sources(found: dict[str, Any] | None) -> dict[str, Any]:
    return {"source": f"{CATALOGUE}, {found['source']}", "state": found["state"] or ""} if found else {}


def _row(found: dict[str, Any]) -> dict[str, Any]:
    named = {key: found[key] for key in _EMPTY.keys() & found.keys()}
    return (
        _EMPTY
        | named
        | {
            "id": found["id"],
            "first_known": found["first_known"] or "",
            "qualified": bool(found["qualified"]),
            "subjects": [found["subject"]] if found["subject"] else [],
            "state": found["state"] or "",
            "problem": found["underived"] or "",
        }
    )
