"""Counts what there is now, for those who watch the daemon."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from monitor.store.rows import rows

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sqlite_utils import Database


@dataclass(frozen=True, slots=True)
class Counts:
    cells: Mapping[tuple[str, str], int]  # (runtime, verdict)
    infra_faults: Mapping[str, int]  # cells that are unknown because of an infra fault, by fault
    environments: Mapping[str, int]  # ever installed, by runtime
    failing_sources: Mapping[str, bool]  # of releases


def counts(db: Database) -> Counts:
    cells: dict[tuple[str, str], int] = {}
    faults: dict[str, int] = {}
    for row in rows(
        db,
        # from the cells to their last day, which CROSS holds SQLite to: the other way it looks at every day there was
        "SELECT runtime, verdict, CASE blame WHEN 'infra' THEN fault END AS ours, count(*) AS cells"
        " FROM cells CROSS JOIN days ON days.cell_id = cells.id"
        " AND day = (SELECT max(day) FROM days AS later WHERE later.cell_id = cells.id) GROUP BY 1, 2, 3",
    ):
        key = (row["runtime"], row["verdict"])
        cells[key] = cells.get(key, 0) + row["cells"]
        if row["ours"]:
            faults[row["ours"]] = faults.get(row["ours"], 0) + row["cells"]
    environments = rows(db, "SELECT runtime, count(*) AS there FROM environments GROUP BY runtime")
    sources = rows(db, "SELECT source, fault != '' AS failing FROM polls")
    return Counts(
        cells=cells,
        infra_faults=faults,
        environments={row["runtime"]: row["there"] for row in environments},
        failing_sources={row["source"]: bool(row["failing"]) for row in sources},
    )
