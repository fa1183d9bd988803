"""Turns rows into what a person reads: tables by rich, or JSON and CSV where a program does."""

from __future__ import annotations

import csv
import dataclasses
import json
import re
import sys
from datetime import date, datetime
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from containers.recipes import RECIPES
from monitor.cli.columns import laid_out
from monitor.domain import BAR, CellVerdict, Outcome, Rung, Verdict
from monitor.text import escaped, in_one_line, printable

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from monitor.domain import RunVerdict
    from monitor.report.format import Section
    from monitor.runner.cycle import CycleResult
    from monitor.store import EnvironmentRecord, Reader, RunDetail

SIGNS = {
    Verdict.PASSED: ("✓", "green"),
    Verdict.FAILED: ("✗", "red"),
    Verdict.FLAKY: ("±", "yellow"),
    Verdict.UNKNOWN: ("?", "yellow"),
    Verdict.NOT_APPLICABLE: ("n/a", "dim"),
    Verdict.NOT_MEASURED: ("·", "dim"),
}
OUTCOME_SIGNS = {
    Outcome.PASSED: ("✓", "green"),
    Outcome.FAILED: ("✗", "red"),
    Outcome.UNKNOWN: ("?", "yellow"),
    Outcome.SKIPPED: ("n/a", "dim"),
    Outcome.NOT_REACHED: ("·", "dim"),
}
VERDICT_STYLES = {
    CellVerdict.WORKS: "green",
    CellVerdict.BROKEN: "red",
    CellVerdict.FLAKY: "yellow",
    CellVerdict.UNKNOWN: "yellow",
}
_Pieces: TypeAlias = "list[tuple[str, str]]"  # of a line, each with its style
_MOST_NAMED = 4  # models that one line names
LEGEND = "✓ passed  ✗ failed  ± flaky  ? unknown (ours)  · not measured  n/a does not apply"


class _Harmless(Console):
    """Prints our own colours, and of strings only what can be seen."""

    def print(self, *objects: Any, **how: Any) -> None:
        super().print(*(printable(one) if isinstance(one, str) else one for one in objects), **how)


def data_console() -> Console:
    """Return the console for stdout. Where nobody sees it, lines are not cut to a screen's width."""
    return _Harmless(width=None if sys.stdout.isatty() else 200, highlight=False, soft_wrap=False)


def talk_console() -> Console:
    return _Harmless(stderr=True, highlight=False)


def as_json(value: Any) -> str:
    return escaped(json.dumps(value, default=_jsonable, ensure_ascii=False, indent=2))


def write_json(value: Any) -> None:
    sys.stdout.write(as_json(value) + "\n")


def write_csv(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Print CSV: as it is for a program, harmless on a screen."""
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(columns)
    seen = sys.stdout.isatty()
    writer.writerows([printable(one) if seen and isinstance(one, str) else one for one in row] for row in rows)


def write_table(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Print a table; what does not fit the screen goes on below."""
    console = data_console()
    told = [["" if value is None else in_one_line(str(value)) for value in row] for row in rows]
    heading, *lines = laid_out([list(columns), *told], console.width, cell_len)
    console.print(Text(heading, style="bold"), soft_wrap=True)
    if lines:
        console.file.write("\n".join([*lines, ""]))  # rich would take as long over them as everything before


def write_matrix(rows: Sequence[Mapping[str, Any]]) -> None:
    """Print models down and rungs across, a table a release and platform, then why those that do not work do not."""
    console = data_console()
    for title in dict.fromkeys(_title(row) for row in rows):
        own = [row for row in rows if _title(row) == title]
        console.print(plain(title), style="bold")
        _write_lines(console, [*_matrix(own), *_told(own), []])
    console.print(LEGEND, style="dim")
    _write_unverified(str(row["runtime"]) for row in rows)


def _write_lines(console: Console, lines: Iterable[_Pieces]) -> None:
    """Print lines of harmless pieces; where no colour is seen they are written, for rich is felt over a thousand."""
    if console.is_terminal:
        console.print(*(Text.assemble(*line) for line in lines), sep="\n", soft_wrap=True)
    else:
        console.file.writelines("".join(text for text, _ in line).rstrip() + "\n" for line in lines)


def _told(rows: Sequence[Mapping[str, Any]]) -> list[_Pieces]:
    """Return why those that do not work do not; what holds for many alike is told once."""
    alike: dict[tuple[str, str | None, str], list[str]] = {}
    for row in rows:
        if row["verdict"] != CellVerdict.WORKS:
            alike.setdefault((row["verdict"], row["blame"], row["reason"]), []).append(row["subject"])
    lines = []
    for (verdict, blame, reason), subjects in alike.items():
        who = ", ".join(subjects) if len(subjects) <= _MOST_NAMED else f"{len(subjects)} of {len(rows)} models"
        blamed = f" (blame: {blame})" if blame else ""
        why = in_one_line(f"{who}{blamed}: {reason}")
        lines.append([(str(verdict), VERDICT_STYLES[CellVerdict(verdict)]), (f" {why}", "")])
    return lines


def _write_unverified(runtimes: Iterable[str]) -> None:
    """Say of which runtimes the verdicts are not to be relied on yet."""
    for runtime in dict.fromkeys(runtimes):
        if runtime in RECIPES and RECIPES[runtime].unverified:
            data_console().print(f"{runtime} is unverified: {RECIPES[runtime].unverified}", soft_wrap=True)


def _named(runtime: str) -> str:
    return f"{runtime} (unverified)" if runtime in RECIPES and RECIPES[runtime].unverified else runtime


def _title(row: Mapping[str, Any]) -> str:
    return f"{_named(row['runtime'])} {row['version'] or '-'} ({row['channel']}, {row['platform']}), {row['day']}"


def _matrix(rows: Sequence[Mapping[str, Any]]) -> Iterator[_Pieces]:
    """Yield the matrix line by line: rich's own tables take a second for a thousand rows."""
    rungs = _told_rungs(rows)
    names = [in_one_line(row["subject"]) for row in rows]
    wide = max(map(cell_len, names))
    yield [("model".ljust(wide) + "".join(f" {rung!s:^9}" for rung in rungs) + " verdict", "bold")]
    looks = {verdict: (f" {look:^9}", style) for verdict, (look, style) in SIGNS.items()}
    for name, row in zip(names, rows, strict=True):
        verdict = CellVerdict(row["verdict"])
        yield [
            (name + " " * (wide - cell_len(name)), ""),
            *(looks[row["rungs"].get(rung, Verdict.NOT_MEASURED)] for rung in rungs),
            (f" {verdict}", VERDICT_STYLES[verdict]),
        ]


def _told_rungs(rows: Sequence[Mapping[str, Any]]) -> list[Rung]:
    """Return the rungs of the bar, and every higher one of which there is something to say."""
    silent = {Verdict.NOT_APPLICABLE, Verdict.NOT_MEASURED}
    told = {rung for row in rows for rung, verdict in row["rungs"].items() if verdict not in silent}
    return sorted({*BAR, *told})


def write_sections(sections: Iterable[Section]) -> None:
    """Print sections for a person: a heading, sentences, a table."""
    console = data_console()
    for section in sections:
        console.print(plain(section.title), style="bold")
        for note in section.notes:
            console.print(plain(note), soft_wrap=True)
        if section.rows:
            write_table(section.columns, section.rows)
        console.print()


def write_markdown(sections: Iterable[Section]) -> None:
    for section in sections:
        sys.stdout.write(markdown(section) + "\n")


def markdown(section: Section) -> str:
    """Return a section as Markdown; what came out of a container is escaped."""
    lines = ["#" * section.level + f" {_cell(section.title)}", ""]
    lines += [line for note in section.notes for line in (printable(note), "")]
    if section.rows:
        lines.append("| " + " | ".join(map(_cell, section.columns)) + " |")
        lines.append("|" + "---|" * len(section.columns))
        lines += ["| " + " | ".join(map(_cell, row)) + " |" for row in section.rows]
        lines.append("")
    return "\n".join(lines)


def _cell(text: str) -> str:
    """Keep a cell's text from becoming Markdown or HTML."""
    return re.sub(r"([\\`*_{}\[\]<>|#~])", r"\\\1", in_one_line(text))


def plain(value: Any) -> Text:
    """Return text that rich shows as it is, on one line: what a container told may look like markup, or worse."""
    return Text(in_one_line(str(value)))


def sign(look: tuple[str, str]) -> Text:
    return Text(look[0], style=look[1])


def _jsonable(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    if isinstance(value, date | datetime):
        return value.isoformat()
    if isinstance(value, Path | Enum):
        return str(value)
    raise TypeError(f"{type(value).__name__} has no JSON form")


def matrix_rows(store: Reader) -> list[dict[str, Any]]:
    """Return one row a cell with its verdict a rung, in the catalogue's order of families."""
    rungs = store.rungs_now()
    return [dict(row) | {"rungs": rungs.get(row["cell"], {})} for row in store.current()]


def settled_rows(store: Reader, held: CycleResult) -> list[dict[str, Any]]:
    """Return one row a cell that a cycle settled, with its verdict a rung, in the catalogue's order of families."""
    return [
        row | _verdict_columns(held.settled[row["cell"]].verdict)
        for row in store.by_release(runtime=str(held.runtime), version=held.installation.version)
        if row["cell"] in held.settled
    ]


def _verdict_columns(told: RunVerdict) -> dict[str, Any]:
    """Return what was settled just now: of a version that has days of its own, too, the view tells those."""
    return {
        "verdict": str(told.verdict),
        "rung": str(told.rung) if told.rung is not None else None,
        "reason": told.reason,
        "blame": str(told.blame) if told.blame else None,
        "rungs": {one.rung: one.verdict for one in told.rungs},
    }


def write_overview(rows: Sequence[Mapping[str, Any]]) -> None:
    """Print models down and runtimes across: works, or the rung that does not."""
    runtimes = list(dict.fromkeys((row["runtime"], row["version"]) for row in rows))
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("model", overflow="fold")
    for runtime, version in runtimes:
        table.add_column(f"{_named(runtime)}\n{version or '-'}", justify="center")
    cells = {(row["subject"], row["runtime"], row["version"]): row for row in rows}
    for subject in dict.fromkeys(row["subject"] for row in rows):
        told = [_in_short(cells.get((subject, *runtime))) for runtime in runtimes]
        table.add_row(plain(subject), *told)
    data_console().print(table)


def _in_short(row: Mapping[str, Any] | None) -> Text:
    if row is None:
        return sign(SIGNS[Verdict.NOT_MEASURED])
    verdict = CellVerdict(row["verdict"])
    rung = f" ({row['rung']})" if row["rung"] else ""
    return Text(f"{verdict}{rung}", style=VERDICT_STYLES[verdict])


def write_run(detail: RunDetail, environment: EnvironmentRecord | None) -> None:
    """Print one run: what it was and stood on, then every check with its evidence in short."""
    console = data_console()
    row = detail.row
    console.print(
        f"run {detail.id}  {row['cell_id']}\n{row['day']} {row['origin']}, {row['purpose']}, "
        f"version {row['version'] or '-'}, environment {row['environment'][:12]}, suite {row['suite'][:12]}, "
        f"{'a fresh process' if row['solo'] else 'a fork'}",
        markup=False,
        soft_wrap=True,
    )
    if environment is not None:
        _write_unverified([environment.runtime])
        imported = RECIPES[environment.runtime].imported
        pins = [f"{name} {version}" for name, version in sorted(environment.packages.items()) if name in imported]
        console.print(f"with {', '.join(pins)}", markup=False, soft_wrap=True)
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("rung", "check", "", "seconds", "fault (blame)", "what was seen"):
        table.add_column(name, overflow="fold")
    reached = [check for check in detail.checks if check.outcome is not Outcome.NOT_REACHED]
    for check in reached:
        blame = f"{check.fault} ({check.blame})" if check.fault else ""
        table.add_row(
            str(check.rung),
            check.name,
            sign(OUTCOME_SIGNS[check.outcome]),
            f"{check.seconds:.2f}" if check.seconds else "",
            plain(blame),
            plain(check.message[:400]),
        )
    console.print(table)
    if len(reached) < len(detail.checks):
        console.print(f"{len(detail.checks) - len(reached)} further checks were not reached", style="dim")
    if detail.note:
        console.print(f"note: {detail.note}", markup=False, soft_wrap=True)
    if detail.cause:
        console.print(f"why it differs from the reference: {detail.cause}", markup=False, soft_wrap=True)


def run_as_json(detail: RunDetail) -> dict[str, Any]:
    return {
        "run": detail.id,
        "cell": detail.row["cell_id"],
        "day": detail.row["day"],
        "origin": detail.row["origin"],
        "version": detail.row["version"],
        "environment": detail.row["environment"],
        "verdict": str(detail.verdict.verdict),
        "reason": detail.verdict.reason,
        "note": detail.note,
        "cause": detail.cause,
        "checks": [dataclasses.asdict(check) | {"rung": str(check.rung)} for check in detail.checks],
    }
