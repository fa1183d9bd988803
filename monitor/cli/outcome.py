"""Prints the result of a cycle, a probe or a replay; raises an error where Settle's infrastructure failed."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from monitor.domain import Blame, CellVerdict, shown_verdict
from monitor.errors import NotMeasured
from monitor.judge.faults import BLAME

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from monitor.config.settings import Config
    from monitor.domain import RunVerdict
    from monitor.judge.attribution import Attribution
    from monitor.judge.confirm import Settled
    from monitor.runner.cycle import CycleResult
    from monitor.schedule.past import Replayed


def print_cycles(config: Config, cycles: Sequence[CycleResult], *, as_json: bool) -> None:
    from monitor.cli.matrix import settled_rows, write_matrix, write_overview
    from monitor.cli.output import message_console, write_json
    from monitor.store import open_reader

    database = config.home / "settle.db"
    with open_reader(config.home) as store:
        rows = [row for cycle in cycles for row in settled_rows(store, cycle)]
    runs = [run for cycle in cycles for run in cycle.runs]
    if as_json:
        write_json({"database": str(database), "runs": runs, "settled": rows})
        return
    write_matrix(rows)
    if len(cycles) > 1:
        write_overview(rows)
    console = message_console()
    if not runs:
        unchanged = sum(cycle.unchanged for cycle in cycles)
        console.print(f"No change: all {unchanged} cells keep their verdict in the same environment.")
    counts = Counter(str(row["verdict"]) for row in rows).most_common()
    console.print(f"{len(rows)} cells: {', '.join(f'{count} {name}' for name, count in counts)}; {len(runs)} new runs")
    console.print(f"database: {database}", soft_wrap=True)
    console.print(
        "next: settle status · settle show MODEL · settle probe 'Gemma 4' --as-of 2026-03-31 · settle query "
        "\"select model, reason from current where verdict <> 'works'\"",
        soft_wrap=True,
    )


def raise_if_uninstalled(cycles: Sequence[CycleResult]) -> None:
    """Raise NotMeasured where every installation failed with blame infra, so that no cell has a verdict."""
    failures = [cycle.installation.failure for cycle in cycles]
    failure = failures[0]
    if failure is None or any(other is None or BLAME[other.slug] is not Blame.INFRA for other in failures):
        return
    raise NotMeasured(
        f"no cell could be probed: no installation succeeded ({failure.slug})",
        hint="`settle doctor` checks index, network and disk; then run `settle run --once` again",
    )


def raise_if_only_infra_failed(cycle: CycleResult) -> None:
    """Raise NotMeasured where every cell is unknown with blame infra."""
    verdicts = [settled.verdict for settled in cycle.settled.values()]
    if not verdicts or not all(map(_infra_failed, verdicts)):
        return
    raise NotMeasured(
        f"no verdict: Settle's infrastructure failed ({', '.join(sorted({verdict.fault for verdict in verdicts}))})",
        hint="`settle doctor` checks engine, index, disk and memory; `settle show RUN` has the log",
    )


def _infra_failed(verdict: RunVerdict) -> bool:
    return verdict.verdict is CellVerdict.UNKNOWN and verdict.blame is Blame.INFRA


def print_probe(
    config: Config, cycle: CycleResult, attributions: Mapping[str, Sequence[Attribution]] | None, *, as_json: bool
) -> None:
    """Print every cell's last run and its verdict; ``attributions`` is None without --attribute."""
    from monitor import verdicts
    from monitor.cli.matrix import above_the_bar, run_as_json, write_run
    from monitor.cli.output import data_console, write_json
    from monitor.store import open_reader

    with open_reader(config.home) as store:
        details = {run: verdicts.run_detail(store, run) for run in cycle.runs}
        last = {detail.row["cell_id"]: detail for detail in details.values()}
        environments = {cell: store.environment(detail.row["environment"]) for cell, detail in last.items()}
    if as_json:
        output: dict[str, object] = {
            "settled": {cell: _settled_as_json(settled) for cell, settled in cycle.settled.items()},
            "runs": [run_as_json(detail) for detail in details.values()],
        }
        if attributions is not None:
            output["attributions"] = {
                cell: [{"check": row.check, "culprit": str(row.culprit), "reason": row.reason} for row in rows]
                for cell, rows in attributions.items()
            }
        write_json(output)
        return
    console = data_console()
    for cell, settled in cycle.settled.items():
        if cell in last:
            write_run(last[cell], environments[cell])
        verdict = settled.verdict
        blame = f", blame {verdict.blame}" if verdict.blame else ""
        rungs = {rung.rung: rung.verdict for rung in verdict.rungs}
        shown = shown_verdict(verdict.verdict, rungs)
        tracks = f" ({above_the_bar(rungs)})" if above_the_bar(rungs) else ""
        console.print(f"{cell}: {shown}{tracks}{blame}: {verdict.reason}", markup=False, soft_wrap=True)
        for row in (attributions or {}).get(cell, ()):
            console.print(f"{row.check}, attributed to {row.culprit}: {row.reason}", markup=False, soft_wrap=True)


def _settled_as_json(settled: Settled) -> Mapping[str, object]:
    verdict = settled.verdict
    return {
        "verdict": str(verdict.verdict),
        "rung": str(verdict.rung) if verdict.rung is not None else None,
        "reason": verdict.reason,
        "blame": str(verdict.blame) if verdict.blame else None,
        "fault": verdict.fault,
        "changed": settled.changed,
        "note": settled.note,
        "rungs": {str(rung.rung): str(rung.verdict) for rung in verdict.rungs},
    }


def print_replay(replayed: Replayed, *, as_json: bool) -> None:
    from monitor.cli.output import message_console, write_json

    if as_json:
        write_json(
            {
                "environments": replayed.environments,
                "runs": replayed.runs,
                "carried_days": replayed.carried_days,
                "seconds": round(replayed.seconds, 1),
            }
        )
        return
    console = message_console()
    if not replayed.runs:
        console.print("No new runs: the database already has every day of this range.")
    console.print(
        f"{replayed.environments} environments probed, {replayed.runs} runs, {replayed.carried_days} days carried,"
        f" {replayed.seconds / 60:.1f} min"
    )
    console.print("next: settle report · settle show MODEL", soft_wrap=True)
