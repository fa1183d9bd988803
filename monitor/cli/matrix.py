"""Prints the matrix of models and rungs, the overview of runtimes, and a single run."""

from __future__ import annotations

import dataclasses
from datetime import date
from typing import TYPE_CHECKING, Any, TypeAlias

from rich.cells import cell_len
from rich.table import Table
from rich.text import Text

from containers.recipes import RECIPES
from monitor.cli.output import data_console, plain_text
from monitor.domain import (
    ABOVE_THE_BAR,
    BAR,
    WRONG_NUMBERS,
    CellVerdict,
    InstalledAsOf,
    Outcome,
    Rung,
    Verdict,
    shown_verdict,
    was_not_asked,
)
from monitor.report.doubts import doubts_about_day
from monitor.store.reader import DAILY
from monitor.text import single_line

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from rich.console import Console

    from monitor.domain import RunVerdict
    from monitor.runner.cycle import CycleResult
    from monitor.store import EnvironmentRecord, Reader
    from monitor.verdicts import RunDetail

_SIGNS = {
    Verdict.PASSED: ("✓", "green"),
    Verdict.FAILED: ("✗", "red"),
    Verdict.FLAKY: ("±", "yellow"),
    Verdict.UNKNOWN: ("?", "yellow"),
    Verdict.NOT_APPLICABLE: ("n/a", "dim"),
    Verdict.NOT_MEASURED: ("·", "dim"),
}
_OUTCOME_SIGNS = {
    Outcome.PASSED: ("✓", "green"),
    Outcome.FAILED: ("✗", "red"),
    Outcome.UNKNOWN: ("?", "yellow"),
    Outcome.SKIPPED: ("n/a", "dim"),
    Outcome.NOT_REACHED: ("·", "dim"),
}
_STYLES = {
    CellVerdict.WORKS: "green",
    CellVerdict.BROKEN: "red",
    CellVerdict.FLAKY: "yellow",
    CellVerdict.UNKNOWN: "yellow",
}
_LEGEND = "✓ passed  ✗ failed  ± flaky  ? unknown  · not measured  n/a not applicable"
_INSTALLED = {InstalledAsOf.RELEASE_DAY: " (packages of its release day)", InstalledAsOf.RUN_DAY: ""}
_MAX_NAMES = 4  # models that one line names
_Line: TypeAlias = "list[tuple[str, str]]"  # pieces of text, each with its style


def matrix_rows(store: Reader) -> list[dict[str, Any]]:
    """Return one row per cell with its verdict per rung, in the catalogue's order of families."""
    rungs = store.report.rungs_now()
    return [
        _with_rungs(row, rungs.get(row["cell"], {}))
        | {
            "doubts": [
                doubt.finding
                for doubt in doubts_about_day(
                    row["subject"], row["runtime"], date.fromisoformat(row["day"]), row["verdict"]
                )
            ],
        }
        for row in store.current()
    ]


def _with_rungs(row: Mapping[str, Any], rungs: Mapping[Rung, Verdict]) -> dict[str, Any]:
    return dict(row) | {"rungs": rungs, "shown": shown_verdict(row["verdict"], rungs)}


def settled_rows(store: Reader, cycle: CycleResult) -> list[dict[str, Any]]:
    """Return the same rows for the cells that a cycle settled, with the cycle's own verdicts."""
    rows: dict[str, dict[str, Any]] = {}
    for row in store.by_release(runtime=str(cycle.runtime), version=cycle.installation.version):
        cell, wanted = row["cell"], str(cycle.installed or DAILY)
        if cell in cycle.settled and (cell not in rows or row["installed"] == wanted):
            verdict = cycle.settled[cell].verdict
            rungs = {rung.rung: rung.verdict for rung in verdict.rungs}
            rows[cell] = _with_rungs(row | _verdict_columns(verdict), rungs)
    return list(rows.values())


def _verdict_columns(verdict: RunVerdict) -> dict[str, Any]:
    return {
        "verdict": str(verdict.verdict),
        "rung": str(verdict.rung) if verdict.rung is not None else None,
        "reason": verdict.reason,
        "blame": str(verdict.blame) if verdict.blame else None,
    }


def write_matrix(rows: Sequence[Mapping[str, Any]]) -> None:
    """Print models down and rungs across, a table per release and platform, then the reasons of what does not work."""
    console = data_console()
    asked, not_asked = apart(rows)
    for title in dict.fromkeys(_title(row) for row in asked):
        group = [row for row in asked if _title(row) == title]
        console.print(plain_text(title), style="bold")
        _write_lines(console, [*_matrix(group), *_reasons(group), *_doubts(group), []])
    _write_lines(console, [[(sentence, "")] for sentence in not_asked])
    console.print(_LEGEND, style="dim")
    _write_unverified(console, (str(row["runtime"]) for row in rows))


def apart(rows: Sequence[Mapping[str, Any]]) -> tuple[list[Mapping[str, Any]], list[str]]:
    """Return the rows of runtimes that were asked, and a sentence for each runtime that could not be."""
    by_title: dict[str, list[Mapping[str, Any]]] = {}
    for row in rows:
        by_title.setdefault(_title(row), []).append(row)
    silent = {title: members for title, members in by_title.items() if all(map(was_not_asked, members))}
    sentences = [
        single_line(f"{title}: could not be asked about any of {len(members)} models: {members[0]['reason']}")
        for title, members in silent.items()
    ]
    return [row for row in rows if _title(row) not in silent], sentences


def _write_lines(console: Console, lines: Iterable[_Line]) -> None:
    """Print harmless lines; without colours they bypass rich, which is slow for a thousand of them."""
    if console.is_terminal:
        console.print(*(Text.assemble(*line) for line in lines), sep="\n", soft_wrap=True)
    else:
        console.file.writelines("".join(text for text, _ in line).rstrip() + "\n" for line in lines)


def _matrix(rows: Sequence[Mapping[str, Any]]) -> Iterator[_Line]:
    rungs = _rungs_to_show(rows)
    names = [single_line(row["subject"]) for row in rows]
    width = max(map(cell_len, names))
    yield [("model".ljust(width) + "".join(f" {rung!s:^9}" for rung in rungs) + " verdict", "bold")]
    signs = {verdict: (f" {sign:^9}", style) for verdict, (sign, style) in _SIGNS.items()}
    for name, row in zip(names, rows, strict=True):
        yield [
            (name + " " * (width - cell_len(name)), ""),
            *(signs[row["rungs"].get(rung, Verdict.NOT_MEASURED)] for rung in rungs),
            (f" {row['shown']}", _style(row)),
            (" (in doubt)" if row.get("doubts") else "", "yellow"),
        ]


def _doubts(rows: Sequence[Mapping[str, Any]]) -> Iterator[_Line]:
    for row in rows:
        for finding in row.get("doubts", ()):
            yield [(f"in doubt: {single_line(row['subject'])}: {finding}", "yellow")]


def _style(row: Mapping[str, Any]) -> str:
    """Return the colour of a verdict: what works with wrong numbers is not plain green."""
    return "yellow" if row["shown"].endswith(WRONG_NUMBERS) else _STYLES[CellVerdict(row["verdict"])]


def _rungs_to_show(rows: Sequence[Mapping[str, Any]]) -> list[Rung]:
    """Return the rungs of the bar, the tracks above it, and every other rung that was measured."""
    silent = {Verdict.NOT_APPLICABLE, Verdict.NOT_MEASURED}
    return sorted(
        {
            *BAR,
            *ABOVE_THE_BAR,
            *(rung for row in rows for rung, verdict in row["rungs"].items() if verdict not in silent),
        }
    )


def _reasons(rows: Sequence[Mapping[str, Any]]) -> Iterator[_Line]:
    """Yield a line per reason with the models that share it."""
    subjects_by_reason: dict[tuple[str, str | None, str], list[str]] = {}
    for row in rows:
        if row["verdict"] != CellVerdict.WORKS:
            subjects_by_reason.setdefault((row["verdict"], row["blame"], row["reason"]), []).append(row["subject"])
    for (verdict, blame, reason), subjects in subjects_by_reason.items():
        names = ", ".join(subjects) if len(subjects) <= _MAX_NAMES else f"{len(subjects)} of {len(rows)} models"
        text = single_line(f"{names}{f' (blame: {blame})' if blame else ''}: {reason}")
        yield [(str(verdict), _STYLES[CellVerdict(verdict)]), (f" {text}", "")]


def _write_unverified(console: Console, runtimes: Iterable[str]) -> None:
    for runtime in dict.fromkeys(runtimes):
        if reason := _unverified(runtime):
            console.print(f"{runtime} is unverified: {reason}", soft_wrap=True)


def _unverified(runtime: str) -> str:
    return RECIPES[runtime].unverified if runtime in RECIPES else ""


def _label(runtime: str) -> str:
    return f"{runtime} (unverified)" if _unverified(runtime) else runtime


def _title(row: Mapping[str, Any]) -> str:
    return f"{_label(row['runtime'])} {row['version'] or '-'} ({row['channel']}, {row['platform']}), {row['day']}"


def write_overview(rows: Sequence[Mapping[str, Any]]) -> None:
    """Print models down and runtimes across, with the rung at which a model fails."""
    rows, not_asked = apart(rows)
    runtimes = list(dict.fromkeys((row["runtime"], row["version"]) for row in rows))
    table = _table("model")
    for runtime, version in runtimes:
        table.add_column(f"{_label(runtime)}\n{version or '-'}", justify="center")
    cells = {(row["subject"], row["runtime"], row["version"]): row for row in rows}
    for subject in dict.fromkeys(row["subject"] for row in rows):
        table.add_row(plain_text(subject), *(_verdict_text(cells.get((subject, *runtime))) for runtime in runtimes))
    data_console().print(table)
    _write_lines(data_console(), [[(sentence, "")] for sentence in not_asked])


def _verdict_text(row: Mapping[str, Any] | None) -> Text:
    if row is None:
        return Text(*_SIGNS[Verdict.NOT_MEASURED])
    rung = f" ({row['rung']})" if row["rung"] else ""
    tracks = above_the_bar(row["rungs"]) if row["verdict"] == CellVerdict.WORKS else ""
    return Text(" ".join(filter(None, (f"{row['shown']}{rung}", tracks))), style=_style(row))


def above_the_bar(rungs: Mapping[Rung, Verdict]) -> str:
    """Return the tracks above the bar that were measured, each with its sign: ``matches ✓ serves ✗``."""
    silent = {Verdict.NOT_APPLICABLE, Verdict.NOT_MEASURED}
    measured = ((rung, rungs.get(rung, Verdict.NOT_MEASURED)) for rung in ABOVE_THE_BAR)
    return " ".join(f"{rung} {_SIGNS[verdict][0]}" for rung, verdict in measured if verdict not in silent)


def _table(*columns: str) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(column, overflow="fold")
    return table


def write_run(detail: RunDetail, environment: EnvironmentRecord | None) -> None:
    """Print a run: its day, version and environment, then every check with its evidence in short."""
    console = data_console()
    row = detail.row
    console.print(
        f"run {detail.id}  {row['cell_id']}\n{row['day']}{_INSTALLED[InstalledAsOf(row['installed'])]}, "
        f"{row['origin']}, {row['purpose']}, "
        f"version {row['version'] or '-'}, environment {row['environment'][:12]}, suite {row['suite'][:12]}, "
        f"{'in a fresh process' if row['solo'] else 'in a forked process'}"
        f"{'' if row['deep'] else ', the quick part alone'}",
        markup=False,
        soft_wrap=True,
    )
    if environment is not None:
        _write_unverified(console, [environment.runtime])
        imported = RECIPES[environment.runtime].imported
        pins = [f"{name} {version}" for name, version in sorted(environment.packages.items()) if name in imported]
        console.print(f"with {', '.join(pins)}", markup=False, soft_wrap=True)
    table = _table("rung", "check", "", "seconds", "fault (blame)", "message")
    reached = [check for check in detail.checks if check.outcome is not Outcome.NOT_REACHED]
    for check in reached:
        table.add_row(
            str(check.rung),
            check.name,
            Text(*_OUTCOME_SIGNS[check.outcome]),
            f"{check.seconds:.2f}" if check.seconds else "",
            plain_text(f"{check.fault} ({check.blame})" if check.fault else ""),
            plain_text(check.message[:400]),
        )
    console.print(table)
    if len(reached) < len(detail.checks):
        console.print(f"{len(detail.checks) - len(reached)} further checks were not reached", style="dim")
    if detail.note:
        console.print(f"note: {detail.note}", markup=False, soft_wrap=True)
    if detail.ruling:
        console.print(f"answers: {detail.ruling}", markup=False, soft_wrap=True)
    if detail.cause:
        console.print(f"cause of the difference from the reference: {detail.cause}", markup=False, soft_wrap=True)


def run_as_json(detail: RunDetail) -> dict[str, Any]:
    return {
        "run": detail.id,
        "cell": detail.row["cell_id"],
        "day": detail.row["day"],
        "installed": detail.row["installed"],
        "origin": detail.row["origin"],
        "version": detail.row["version"],
        "environment": detail.row["environment"],
        "verdict": str(detail.verdict.verdict),
        "rungs": {str(rung.rung): str(rung.verdict) for rung in detail.verdict.rungs},
        "reason": detail.verdict.reason,
        "note": detail.note,
        "ruling": detail.ruling,
        "cause": detail.cause,
        "checks": [dataclasses.asdict(check) | {"rung": str(check.rung)} for check in detail.checks],
    }
