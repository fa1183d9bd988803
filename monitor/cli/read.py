"""`settle status`, `show`, `query` and `models`: the commands that only read."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import click

from monitor.cli.root import JSON, Options, examples
from monitor.domain import HubName
from monitor.errors import UnknownName
from monitor.store.example_queries import EXAMPLE_QUERIES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from monitor.store import Reader
    from monitor.verdicts import RunDetail

_RUN = re.compile(r"[0-9a-f]{4,12}")
_LOG_LINES = 40


@click.command(epilog=examples("settle status", "settle status --verdict broken", "settle status --json | jq length"))
@click.option(
    "--verdict", type=click.Choice(["works", "broken", "flaky", "unknown"]), help="Only cells with this verdict."
)
@click.option("--family", metavar="NAME", help="Only this family of models.")
@JSON
@click.pass_obj
def status(options: Options, *, verdict: str | None, family: str | None, as_json: bool) -> None:
    """Show the matrix: the latest day of every cell, with a column per rung."""
    from monitor.cli.matrix import matrix_rows, write_matrix
    from monitor.cli.output import message_console, write_json
    from monitor.store import open_reader

    with open_reader(options.home) as store:
        rows = matrix_rows(store)
    families = {row["family"] for row in rows}
    if family and family.lower() not in {name.lower() for name in families}:
        raise UnknownName("family", family, families, hint="`settle models` lists them")
    chosen = [
        row
        for row in rows
        if (not verdict or row["verdict"] == verdict) and (not family or row["family"].lower() == family.lower())
    ]
    if as_json:
        write_json(
            [row | {"rungs": {str(rung): str(verdict) for rung, verdict in row["rungs"].items()}} for row in chosen]
        )
        return
    write_matrix(chosen)
    days = sorted({row["day"] for row in chosen})
    message_console().print(f"{len(chosen)} of {len(rows)} cells" + (f", latest day {days[-1]}" if days else ""))


@click.command(
    epilog=examples(
        "settle show google/gemma-4-31B-it",
        'settle show "Gemma 4" --json',
        "settle show 3f9c2a1b77de",
        "settle show 3f9c2a1b77de --log",
    )
)
@click.argument("what", metavar="CELL|RUN")
@click.option("--log", "whole_log", is_flag=True, help="Print only the log of the run's container, in full.")
@JSON
@click.pass_obj
def show(options: Options, *, what: str, whole_log: bool, as_json: bool) -> None:
    """Show the history of a cell with the run of its latest day, or a single run: checks, evidence, log.

    A history has a letter per day, the day on which the cell first worked and became stable, every setback with the
    releases that began and ended it, and the changes of the lock at each change of verdict. Results of pinned versions
    are in a table by release.

    Name a cell by its model, subject, family or full id, and a run by the beginning of its id.
    """
    from monitor import verdicts
    from monitor.store import open_reader

    with open_reader(options.home) as store:
        if _RUN.fullmatch(what):
            _show_run(store, verdicts.run_detail(store, what), whole_log=whole_log, as_json=as_json)
            return
        for cell in _cells(store, what):
            run = store.cells.run_to_show(cell)
            if run is None:
                continue
            last = verdicts.run_detail(store, run)
            if whole_log:
                _show_run(store, last, whole_log=True, as_json=False)
            else:
                _show_cell(store, cell, last, as_json=as_json)


@click.command(
    epilog=examples(
        *(line for row in EXAMPLE_QUERIES for line in (f"# {row.title}", f'settle query "{row.sql}"')),
        "# For a spreadsheet, and for a program",
        'settle query --csv "SELECT * FROM current" > current.csv',
        'settle query --json "SELECT * FROM current" | jq length',
    )
)
@click.argument("sql")
@JSON
@click.option("--csv", "as_csv", is_flag=True, help="Print CSV.")
@click.pass_obj
def query(options: Options, *, sql: str, as_json: bool, as_csv: bool) -> None:
    """Query the history in SQL, read-only.

    The views `current` (a row per cell) and `history` (a row per cell and day) have model, family, architecture,
    runtime, version, channel, platform, day, verdict, rung, reason and note; `matrix` has a row per cell and rung,
    `by_release` a row per cell and version, `checks` a row per run and check. docs/schema.md lists every table and
    column; `settle serve` has the queries below as pages, and `settle demo query ...` runs them on a history that comes
    with Settle.
    """
    from monitor.cli.output import write_csv, write_json, write_table
    from monitor.store import open_reader

    with open_reader(options.home) as store:
        answer = store.query(sql)
    if as_json:
        write_json([dict(zip(answer.columns, row, strict=True)) for row in answer.rows])
    elif as_csv:
        write_csv(answer.columns, answer.rows)
    else:
        write_table(answer.columns, answer.rows)


@click.command(epilog=examples("settle models", "settle models --json | jq '.[].id'"))
@JSON
@click.pass_obj
def models(options: Options, *, as_json: bool) -> None:
    """List the watched models: the source of each, its release day and the source of that day.

    These are the built-in catalogue, the models that [hub] in the configuration names, and the models discovered there.
    """
    from monitor.cli.output import write_json, write_table
    from monitor.discovery.watched_models import watched_rows
    from monitor.store import open_reader
    from monitor.store.reader import DATABASE

    config = options.config
    if (config.home / DATABASE).exists():
        with open_reader(config.home) as store:
            rows = watched_rows(config.hub, store)
    else:
        rows = watched_rows(config.hub, None)
    if as_json:
        write_json(rows)
        return
    columns = (
        *("id", "family", "architecture", "kind", "created", "released", "released_kind", "released_confidence"),
        *("released_source", "first_known", "source", "state", "problem", "layout"),
    )
    write_table(columns, [[row[column] for column in columns] for row in rows])


def _cells(store: Reader, what: str) -> Sequence[str]:
    rows = store.current()
    days = {row["cell"] for row in rows}
    rows += {row["cell"]: row for row in store.by_release() if row["cell"] not in days}.values()
    wanted = what.lower()
    for column in ("cell", "subject", "model", "family", "architecture"):
        if cells := [row["cell"] for row in rows if str(row[column]).lower() == wanted]:
            return cells
    if cells := [row["cell"] for row in rows if HubName.parse(row["model"]).name.lower() == wanted]:
        return cells
    raise UnknownName(
        "cell or run",
        what,
        {str(row[column]) for row in rows for column in ("subject", "family", "architecture")},
        hint="`settle status` lists the cells",
    )


def _show_cell(store: Reader, cell: str, last: RunDetail, *, as_json: bool) -> None:
    from monitor.cli.matrix import run_as_json
    from monitor.cli.output import write_json, write_sections
    from monitor.report.by_release import read_by_release, release_table
    from monitor.report.sections import line_sections
    from monitor.report.summary import line_of

    by_release = read_by_release(store, cell=cell)
    if as_json:
        detail = store.cells.detail(cell)
        write_json(
            {
                "cell": detail.id,
                "subject": detail.subject,
                "days": [_day_as_json(day) for day in detail.days],
                "flips": detail.flips,
                "by_release": by_release.of(cell),
                "last_run": run_as_json(last),
            }
        )
        return
    for track in store.tracks(cell=cell):
        line = line_of(track, track.observations[-1].day, by_release.observations.get(cell, ()))
        write_sections(line_sections(store, line))
    write_sections(release_table(by_release.of(cell)))
    _show_run(store, last, whole_log=False, as_json=False)


def _show_run(store: Reader, detail: RunDetail, *, whole_log: bool, as_json: bool) -> None:
    from monitor.cli import output
    from monitor.cli.matrix import run_as_json, write_run
    from monitor.report.evidence import log_of

    log = log_of(store, str((detail.ending or detail.resolution)["log_digest"] or ""), str(detail.row["cell_id"]))
    if as_json:
        output.write_json(run_as_json(detail) | {"facts": detail.facts, "log": log})
        return
    console = output.data_console()
    if whole_log:
        console.print(log or "This run has no log.", markup=False, highlight=False, soft_wrap=True)
        return
    write_run(detail, store.environment(detail.row["environment"]))
    for check in detail.checks:
        if check.evidence and check.outcome != "passed":
            console.print(f"\nevidence of {check.name}:", markup=False)
            console.print(output.as_json(check.evidence), markup=False, soft_wrap=True)
    lines = (log or "").splitlines()
    if lines:
        left = f" (last {_LOG_LINES} of {len(lines)} lines; --log prints all)" if len(lines) > _LOG_LINES else ""
        console.print(f"\nlog{left}:", markup=False)
        console.print("\n".join(lines[-_LOG_LINES:]), markup=False, soft_wrap=True)


def _day_as_json(day: Any) -> dict[str, Any]:
    return {
        "day": day.day,
        "origin": str(day.origin),
        "version": day.version,
        "verdict": str(day.verdict.verdict),
        "reason": day.verdict.reason,
        "blame": str(day.verdict.blame) if day.verdict.blame else None,
        "carried_from": day.carried_from,
        "run": day.run_id,
        "note": day.note,
    }
