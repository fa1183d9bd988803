"""`settle replay`: the command that rebuilds the past."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import TYPE_CHECKING

import click

from monitor.cli.measure import ENGINE, chosen, day_named, learn, runtime_named, with_engine
from monitor.cli.root import Context, examples
from monitor.domain import Runtime
from monitor.errors import UsageError

if TYPE_CHECKING:
    from monitor.schedule.past import Replayed


@click.command(
    epilog=examples(
        'settle replay "Gemma 4" --from 2026-03-25 --to 2026-04-20',
        "settle replay --from 2025-01-01 --to 2026-11-24 --every release",
        "settle replay llama --runtime transformers --from 2026-10-01 --to 2026-10-31 --every day",
    )
)
@click.argument("models", metavar="[MODEL]...", nargs=-1)
@click.option("--runtime", default=str(Runtime.TRANSFORMERS), show_default=True, help="Whose past.")
@click.option("--from", "first", metavar="DAY", required=True, help="First UTC day.")
@click.option("--to", "last", metavar="DAY", required=True, help="Last UTC day, included; a past day.")
@click.option(
    "--every",
    type=click.Choice(["release", "change", "day"]),
    default="change",
    show_default=True,
    help="Look at days with a release; also at those on which an imported pin changed; or at every day.",
)
@click.option("--seed", type=click.IntRange(0, 2**31 - 1), default=0, help="Of everything random in the probes.")
@ENGINE
@click.option("--json", "as_json", is_flag=True, help="Print what was done as JSON.")
@click.pass_obj
def replay(
    context: Context,
    *,
    models: tuple[str, ...],
    runtime: str,
    first: str,
    last: str,
    every: str,
    seed: int,
    engine: str | None,
    as_json: bool,
) -> None:
    """Rebuild the history of MODELs (default: the whole catalogue) as it would have been recorded.

    For each day the environment that a user would have got that day is resolved and locked; where a pin that the probe
    imports differs from the day before, it is built and probed, else the day is carried. A replay that was interrupted
    goes on where it was when the same command is given again. Days that were measured live keep their verdict.
    """
    from monitor.progress import ConsoleProgress
    from monitor.runner.context import open_context
    from monitor.schedule.past import Every, Order
    from monitor.schedule.past import replay as rebuild
    from monitor.subjects.catalogue import load_catalogue

    today = datetime.now(UTC).date()
    name, version = runtime_named(runtime)
    if version:
        raise UsageError("a replay takes whatever version each day gave", hint=f"say --runtime {name}")
    begin, end = _past_days(first, last, today)
    progress = ConsoleProgress()
    control = load_catalogue().control.subjects()[0]
    subjects = list(dict.fromkeys([control, *chosen(models, progress, context.config.home)]))
    order = Order(runtime=name, first=begin, last=end, every=Every(every), subjects=subjects, seed=seed)
    config = with_engine(context.config, engine)
    with open_context(config, progress) as run_context:
        learn(run_context, subjects, [])
        done = rebuild(run_context, order, progress)
    _print(done, as_json=as_json)


def _past_days(first: str, last: str, today: date) -> tuple[date, date]:
    begin, end = day_named(first, today), day_named(last, today)
    if begin > end:
        raise UsageError(f"--from {begin} is after --to {end}", hint="give the earlier day first")
    if end == today:
        raise UsageError(
            f"{today} is not over: what a user gets today may still change",
            hint=f"give a day before {today}; `settle run --once` measures today",
        )
    return begin, end


def _print(done: Replayed, *, as_json: bool) -> None:
    from monitor.cli.output import talk_console, write_json

    if as_json:
        write_json(
            {
                "environments": done.environments,
                "runs": done.runs,
                "carried_days": done.carried_days,
                "seconds": round(done.seconds, 1),
            }
        )
        return
    console = talk_console()
    if not done.runs:
        console.print("nothing to do: every day of it is in the database")
    console.print(
        f"{done.environments} environments probed, {done.runs} runs, {done.carried_days} days of cells carried,"
        f" {done.seconds / 60:.1f} min"
    )
    console.print("next: settle report · settle show MODEL", soft_wrap=True)
