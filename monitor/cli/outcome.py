"""Prints what a cycle or a probe came to, and ends with an error where the bench has failed."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from monitor.domain import Blame, CellVerdict
from monitor.errors import NotMeasured
from monitor.judge.faults import BLAME

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from monitor.config.settings import Config
    from monitor.domain import RunVerdict
    from monitor.judge.attribution import Crossed
    from monitor.runner.cycle import CycleResult


def print_cycle(config: Config, held: Sequence[CycleResult], *, as_json: bool) -> None:
    from monitor.cli.output import settled_rows, talk_console, write_json, write_matrix, write_overview
    from monitor.store import open_reader

    with open_reader(config.home) as store:
        rows = [row for one in held for row in settled_rows(store, one)]
    runs = [run for one in held for run in one.runs]
    if as_json:
        write_json({"database": str(config.home / "settle.db"), "runs": runs, "settled": rows})
        return
    write_matrix(rows)
    if len(held) > 1:
        write_overview(rows)
    console = talk_console()
    if not runs:
        unchanged = sum(one.unchanged for one in held)
        console.print(f"nothing changed: all {unchanged} cells keep their verdict in the same environment")
    console.print(f"{len(rows)} cells: {_counts(rows)}; {len(runs)} runs now")
    console.print(f"database: {config.home / 'settle.db'}", soft_wrap=True)
    console.print(
        "next: settle status · settle show MODEL · settle probe 'Gemma 4' --as-of 2026-03-31 · settle query "
        "\"select model, reason from current where verdict <> 'works'\"",
        soft_wrap=True,
    )


def say_whether_nothing_was_installed(held: Sequence[CycleResult]) -> None:
    """Raise NotMeasured where nothing is known of any cell, because every installation failed for a reason of ours."""
    failures = [one.installation.failure for one in held]
    failure = failures[0]
    if failure is None or any(one is None or BLAME[one.slug] is not Blame.INFRA for one in failures):
        return
    raise NotMeasured(
        f"no cell could be probed: nothing was installed ({failure.slug})",
        hint="`settle doctor` looks at index, network and disk; then `settle run --once` again",
    )


def say_whether_only_the_bench_failed(held: CycleResult) -> None:
    """Raise NotMeasured where not one cell has a verdict, and each of them for a fault of ours."""
    faults = {one.verdict.fault for one in held.settled.values() if _is_ours(one.verdict)}
    if not faults or not all(_is_ours(one.verdict) for one in held.settled.values()):
        return
    raise NotMeasured(
        f"no verdict: the bench failed ({', '.join(sorted(faults))})",
        hint="`settle doctor` looks at engine, index, disk and memory; `settle show RUN` has the log",
    )


def _is_ours(verdict: RunVerdict) -> bool:
    return verdict.verdict is CellVerdict.UNKNOWN and verdict.blame is Blame.INFRA


def print_probe(
    config: Config, held: CycleResult, crossings: Mapping[str, Sequence[Crossed]] | None, *, as_json: bool
) -> None:
    """Print every cell's last run and its verdict; ``crossings`` is None where nobody asked whose a failure is."""
    from monitor.cli.output import data_console, run_as_json, write_json, write_run
    from monitor.store import open_reader

    with open_reader(config.home) as store:
        details = {run: store.run_detail(run) for run in held.runs}
        last = {detail.row["cell_id"]: detail for detail in details.values()}
        environments = {cell: store.environment(detail.row["environment"]) for cell, detail in last.items()}
    if as_json:
        write_json(
            {
                "settled": {cell: settled_as_json(one) for cell, one in held.settled.items()},
                "runs": [run_as_json(detail) for detail in details.values()],
                **({} if crossings is None else {"crossed": _crossed_as_json(crossings)}),
            }
        )
        return
    for cell, one in held.settled.items():
        if cell in last:
            write_run(last[cell], environments[cell])
        blame = f", blame {one.verdict.blame}" if one.verdict.blame else ""
        data_console().print(
            f"{cell}: {one.verdict.verdict}{blame}: {one.verdict.reason}", markup=False, soft_wrap=True
        )
        for told in (crossings or {}).get(cell, ()):
            data_console().print(f"{told.check}, crossed: {told.culprit}: {told.reason}", markup=False, soft_wrap=True)


def _crossed_as_json(crossings: Mapping[str, Sequence[Crossed]]) -> Mapping[str, object]:
    return {
        cell: [{"check": one.check, "culprit": str(one.culprit), "reason": one.reason} for one in told]
        for cell, told in crossings.items()
    }


def settled_as_json(one: object) -> Mapping[str, object]:
    from monitor.judge.confirm import Settled

    assert isinstance(one, Settled)  # noqa: S101 - narrows for the type checker; Held holds nothing else
    verdict = one.verdict
    return {
        "verdict": str(verdict.verdict),
        "rung": str(verdict.rung) if verdict.rung is not None else None,
        "reason": verdict.reason,
        "blame": str(verdict.blame) if verdict.blame else None,
        "fault": verdict.fault,
        "changed": one.changed,
        "note": one.note,
        "rungs": {str(rung.rung): str(rung.verdict) for rung in verdict.rungs},
    }


def _counts(rows: Sequence[Mapping[str, object]]) -> str:
    found = Counter(str(row["verdict"]) for row in rows)
    return ", ".join(f"{count} {verdict}" for verdict, count in found.most_common())
