"""`settle status`, `show`, `query`, `models`: the commands that only read."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import click

from monitor.cli.root import Context, examples
from monitor.errors import UnknownName
from monitor.store.questions import QUESTIONS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from monitor.store import Reader, RunDetail

JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
_RUN = re.compile(r"[0-9a-f]{4,12}")
_LOG_LINES = 40


@click.command(epilog=examples("settle status", "settle status --verdict broken", "settle status --json | jq length"))
@click.option("--verdict", type=click.Choice(["works", "broken", "flaky", "unknown"]), help="Only these.")
@click.option("--family", metavar="NAME", help="Only this family of models.")
@JSON
@click.pass_obj
def status(context: Context, *, verdict: str | None, family: str | None, as_json: bool) -> None:
    """Show the matrix: every cell's latest day, a column a rung."""
    from monitor.cli.output import matrix_rows, talk_console, write_json, write_matrix
    from monitor.store import open_reader

    with open_reader(context.home) as store:
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
        write_json([row | {"rungs": {str(rung): str(one) for rung, one in row["rungs"].items()}} for row in chosen])
        return
    write_matrix(chosen)
    days = sorted({row["day"] for row in chosen})
    talk_console().print(f"{len(chosen)} of {len(rows)} cells" + (f", latest day {days[-1]}" if days else ""))


@click.command(
    epilog=examples(
        "settle show google/gemma-4-31B-it",
        'settle show "Gemma 4" --json',
        "settle show 3f9c2a1b77de",
        "settle show 3f9c2a1b77de --log",
    )
)
@click.argument("what", metavar="CELL|RUN")
@click.option("--log", "whole_log", is_flag=True, help="Print the whole log of the run's container, nothing else.")
@JSON
@click.pass_obj
def show(context: Context, *, what: str, whole_log: bool, as_json: bool) -> None:
    """Show a cell's history and last run, or one run: checks, evidence, log.

    A history is a sign a day, when it first worked and since when it is stable, every setback with the releases that
    brought and ended it, and what moved in the lock at each change.

    A cell may be named by its model, subject, family or full id; a run by the beginning of its id.
    """
    from monitor.store import open_reader

    with open_reader(context.home) as store:
        if _RUN.fullmatch(what):
            _show_run(store, store.run_detail(what), whole_log=whole_log, as_json=as_json)
            return
        for cell in _cells(store, what):
            run = store.last_run_of(cell)
            if run is None:
                continue
            last = store.run_detail(run)
            if whole_log:
                _show_run(store, last, whole_log=True, as_json=False)
            else:
                _show_cell(store, cell, last, as_json=as_json)


@click.command(
    epilog=examples(
        *(line for one in QUESTIONS for line in (f"# {one.title}", f'settle query "{one.sql}"')),
        "# For a spreadsheet, and for a program",
        'settle query --csv "SELECT * FROM current" > current.csv',
        'settle query --json "SELECT * FROM current" | jq length',
    )
)
@click.argument("sql")
@JSON
@click.option("--csv", "as_csv", is_flag=True, help="Print CSV.")
@click.pass_obj
def query(context: Context, *, sql: str, as_json: bool, as_csv: bool) -> None:
    """Ask the history in SQL, read-only.

    The views `current` (one row a cell) and `history` (one row a cell and day) have model, family, architecture,
    runtime, version, channel, platform, day, verdict, rung, reason and note; `matrix` has one row a cell and rung,
    `by_release` one a cell and version, `checks` one a run and check. docs/schema.md has every table and column;
    `settle serve` has the same questions as pages, `settle demo query ...` a history to ask them of.
    """
    from monitor.cli.output import write_csv, write_json, write_table
    from monitor.store import open_reader

    with open_reader(context.home) as store:
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
def models(context: Context, *, as_json: bool) -> None:
    """List the models that are watched: where each comes from, the day of its release and its source.

    Beside the built-in catalogue these are what the configuration names in [hub] and what was found there.
    """
    from monitor.cli.output import write_json, write_table
    from monitor.discovery.listed import watched_rows
    from monitor.store import open_reader
    from monitor.store.reader import DATABASE

    config = context.config
    if (config.home / DATABASE).exists():
        with open_reader(config.home) as store:
            rows = watched_rows(config.hub, store)
    else:
        rows = watched_rows(config.hub, None)
    if as_json:
        write_json(rows)
        return
    columns = ("id", "family", "architecture", "kind", "released", "first_known", "source", "state", "problem")
    write_table(columns, [[row[column] for column in columns] for row in rows])


def _cells(store: Reader, what: str) -> Sequence[str]:
    rows = store.current()
    wanted = what.lower()
    for column in ("cell", "subject", "model", "family", "architecture"):
        found = [row["cell"] for row in rows if str(row[column]).lower() == wanted]
        if found:
            return found
    tails = [row["cell"] for row in rows if row["model"].rpartition("/")[2].lower() == wanted]
    if tails:
        return tails
    raise UnknownName(
        "cell or run",
        what,
        {str(row[column]) for row in rows for column in ("subject", "family", "architecture")},
        hint="`settle status` lists the cells",
    )


def _show_cell(store: Reader, cell: str, last: RunDetail, *, as_json: bool) -> None:
    from monitor.cli.output import run_as_json, write_json, write_sections
    from monitor.report.sections import line_sections
    from monitor.report.summary import line_of

    if as_json:
        detail = store.cell_detail(cell)
        write_json(
            {
                "cell": detail.id,
                "subject": detail.subject,
                "days": [_day_as_json(day) for day in detail.days],
                "flips": detail.flips,
                "last_run": run_as_json(last),
            }
        )
        return
    for track in store.tracks(cell=cell):
        line = line_of(track, track.observations[-1].day)
        write_sections(line_sections(store, line))
    _show_run(store, last, whole_log=False, as_json=False)


def _show_run(store: Reader, detail: RunDetail, *, whole_log: bool, as_json: bool) -> None:
    from monitor.cli.output import as_json as told_as_json
    from monitor.cli.output import data_console, run_as_json, write_json, write_run
    from monitor.report.log import log_of

    log = log_of(store, str((detail.ending or detail.resolution)["log_digest"] or ""), str(detail.row["cell_id"]))
    if as_json:
        write_json(run_as_json(detail) | {"facts": detail.facts, "log": log})
        return
    console = data_console()
    if whole_log:
        console.print(log or "no log is kept of this run", markup=False, highlight=False, soft_wrap=True)
        return
    write_run(detail, store.environment(detail.row["environment"]))
    for check in detail.checks:
        if check.evidence and check.outcome != "passed":
            console.print(f"\nevidence of {check.name}:", markup=False)
            console.print(told_as_json(check.evidence), markup=False, soft_wrap=True)
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
