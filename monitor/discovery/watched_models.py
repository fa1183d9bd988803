"""Lists all watched models with their source: catalogue, hub, configuration or folder."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from monitor.domain import folder_id
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
    """Return a row for each model; ``state`` is its last one on the hub, ``problem`` why it has no miniature.

    ``layout`` says how the published weights are laid out otherwise than the miniature's.
    Models that the configuration names and no step has discovered yet are listed, too. ``store`` is None without a
    database, where nothing is discovered.
    """
    discovered = {row["id"]: row for row in (store.published.rows_of_watched() if store else ())}
    rows = _catalogue_rows()
    for row in rows:
        if again := discovered.pop(row["id"], None):
            source = f"{CATALOGUE}, {again['source']}"
            row |= {"source": source, "state": again["state"] or "", "layout": _layout(again)}
    rows += [_row(row) for row in discovered.values()]
    known = {row["id"] for row in rows} | {row["source"] for row in rows}
    wanted = [(f"model:{name}", name) for name in settings.named]
    wanted += [(folder_id(folder), folder_id(folder)) for folder in settings.folders]
    rows += [
        _EMPTY | {"id": name, "source": source, "problem": "not discovered yet"}
        for source, name in wanted
        if name not in known and source not in known
    ]
    return rows


def discovered_subjects(home: Path, name: str) -> list[Subject]:
    """Return the subjects of a discovered model, by its id or that of a subject; none without a database."""
    if not (home / DATABASE).exists():
        return []
    with open_reader(home) as store:
        return store.published.subjects(name)


_COLUMNS = (
    *("family", "architecture", "kind", "organisation", "created", "released", "released_source"),
    *("released_kind", "released_confidence"),
    *("first_known", "qualified", "subjects", "source", "state", "problem", "layout"),
)
_EMPTY: dict[str, Any] = dict.fromkeys(_COLUMNS, "") | {
    "created": None,
    "released": None,
    "qualified": False,
    "subjects": [],
}


def _catalogue_rows() -> list[dict[str, Any]]:
    return [
        _EMPTY
        | {key: value for key, value in asdict(entry.model).items() if key in _EMPTY}
        | {
            "id": entry.model.id,
            "kind": str(entry.model.kind),
            "first_known": subject.first_known,
            "qualified": subject.qualified,
            "subjects": list(entry.subject_ids),
            "source": CATALOGUE,
        }
        for entry in load_catalogue()
        for subject in entry.subjects()[:1]
    ]


def _row(discovered: dict[str, Any]) -> dict[str, Any]:
    return (
        _EMPTY
        | {key: discovered[key] for key in _EMPTY.keys() & discovered.keys()}
        | {
            "id": discovered["id"],
            "first_known": discovered["first_known"] or "",
            "qualified": bool(discovered["qualified"]),
            "subjects": [discovered["subject"]] if discovered["subject"] else [],
            "state": discovered["state"] or "",
            "problem": discovered["underived"] or "",
            "layout": _layout(discovered),
        }
    )


def _layout(discovered: dict[str, Any]) -> str:
    """Say how the published layout differs from the miniature's, "" where it does not or was not compared."""
    return "; ".join(json.loads(discovered["unlike"] or "[]"))
