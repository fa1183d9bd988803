"""`settle run`, `settle probe` and `settle replay`: the commands that measure."""

from __future__ import annotations

from datetime import UTC, datetime, time
from typing import TYPE_CHECKING

import click

from monitor.cli.arguments import (
    exact_pin,
    replayable_day,
    replayable_range,
    runtime_and_version,
    subjects_of,
    watched_subjects,
)
from monitor.cli.outcome import (
    print_cycles,
    print_probe,
    print_replay,
    raise_if_only_infra_failed,
    raise_if_uninstalled,
)
from monitor.cli.root import ENGINE, JSON, Options, examples
from monitor.domain import Depth, Origin, Runtime
from monitor.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from monitor.config.settings import Config
    from monitor.domain import Model, Subject
    from monitor.runner.context import RunContext
    from monitor.runner.parallel import Runner
    from monitor.runner.request import ProbeRequest

RUNTIME = click.option(
    "--runtime", default=str(Runtime.TRANSFORMERS), show_default=True, help="Runtime, or runtime==version."
)

INSTALLED = click.option(
    "--installed",
    type=click.Choice(["release-day", "today"]),
    help="Packages beside a pinned version: those of its release day (default), or today's. Kept apart.",
)


@click.command(
    epilog=examples(
        "settle run",
        "settle run --once",
        'settle run --once --only "Qwen 3" --only llama',
        "settle run --once --engine process",
        "settle run --once --runtime transformers==5.2.0",
        "settle run --once --json | jq .settled",
    )
)
@click.option("--once", is_flag=True, help="Run a single cycle, then end.")
@click.option("--only", metavar="MODEL", multiple=True, help="Only this model, named as in `settle probe`; repeatable.")
@click.option(
    "--runtime",
    "runtimes",
    metavar="NAME",
    multiple=True,
    help="Only this runtime, or runtime==version; repeatable. Default: the configured runtimes.",
)
@click.option("--deep", is_flag=True, help="With --once, ask the deep part too: the checks that take long.")
@INSTALLED
@ENGINE
@JSON
@click.pass_obj
def run(
    options: Options,
    *,
    once: bool,
    deep: bool,
    only: tuple[str, ...],
    runtimes: tuple[str, ...],
    installed: str | None,
    engine: str | None,
    as_json: bool,
) -> None:
    """Watch all models in the newest stable release of every runtime, day by day, until stopped.

    New models and releases are probed at once, recent models daily, unchanged ones less and less often. The deep part,
    whose checks take long, is asked of every new release and revision, and after a failure. While an engine, a network
    or a disk fails, the daemon logs it and waits. SIGTERM or Ctrl-C ends it cleanly.

    With --once, one cycle: installs what a user would get now, probes every model that is due, confirms every change,
    and prints the matrix. A cycle without any change ends within seconds. Results of a pinned version are kept by
    release, outside the daily history; it is installed with the packages of its release day.
    """
    from monitor.progress import ConsoleProgress
    from monitor.runner.request import ProbeRequest

    now = datetime.now(UTC)
    progress = ConsoleProgress()
    config = options.with_engine(engine)
    subjects = watched_subjects(only, progress, config.home)
    if installed and not any(runtime_and_version(name)[1] for name in runtimes):
        raise UsageError("--installed needs a pinned version", hint="write --runtime transformers==5.2.0")
    if deep and not once:
        raise UsageError("--deep goes with --once", hint="the daemon asks the deep part where it is needed")
    if not once:
        _watch(config, subjects, runtimes, discovered=not only, as_json=as_json)
        return
    requests = [
        ProbeRequest(
            runtime=runtime,
            version=version,
            day=now.date(),
            cutoff=now,
            origin=Origin.ADHOC if version else Origin.LIVE,
            subjects=subjects,
            depth=Depth.NEEDED if deep or version else Depth.QUICK,
        )
        for runtime, version in map(runtime_and_version, runtimes or config.runtimes)
    ]
    from monitor.runner.context import open_context
    from monitor.runner.cycle import run_cycle

    with open_context(config, progress) as context:
        _record_known(context, subjects)
        dated = [_dated(context.runner, request, installed) for request in requests]
        cycles = [run_cycle(context.runner, request) for request in dated]
    print_cycles(config, cycles, as_json=as_json)
    raise_if_uninstalled(cycles)


def _watch(
    config: Config, subjects: Sequence[Subject], runtimes: Sequence[str], *, discovered: bool, as_json: bool
) -> None:
    from monitor.cli import Stopped
    from monitor.daemon.loop import watch
    from monitor.progress import progress_in
    from monitor.runner.context import run_context

    pinned = [runtime_and_version(name) for name in runtimes]
    if as_json or any(version for _, version in pinned):
        raise UsageError(
            "`settle run` without --once prints no results and chooses releases itself",
            hint="--json and runtime==version need --once; `settle status` shows what the daemon has recorded",
        )
    watched = config.model_copy(update={"runtimes": tuple(runtime for runtime, _ in pinned) or config.runtimes})
    progress = progress_in(config.daemon.logs)
    try:
        watch(watched, progress, connect=run_context, subjects=subjects, discovered=discovered)
    except Stopped as stopped:  # a daemon has no other end
        progress.message(f"{stopped}; recorded results are kept")


@click.command(
    epilog=examples(
        'settle probe "Gemma 4"',
        'settle probe "Gemma 4" --as-of 2026-03-31',
        "settle probe Qwen/Qwen3-8B --runtime transformers==4.51.0",
        "settle probe Qwen/Qwen3-8B --runtime vllm==0.24.0 --installed today",
        "settle probe Qwen/Qwen3-8B --runtime peft==0.18.0 --with transformers==5.2.0",
        "settle probe microsoft/Phi-3.5-MoE-instruct --runtime peft --attribute",
        "settle probe ./my-unreleased-checkpoint --json",
    )
)
@click.argument("model")
@RUNTIME
@click.option(
    "--with",
    "extra_pins",
    metavar="NAME==VERSION",
    multiple=True,
    help="Pin another package in the same environment; repeatable.",
)
@click.option(
    "--attribute",
    is_flag=True,
    help="Rerun failed checks with the previous release of either package, to find the one that changed them.",
)
@click.option("--as-of", "as_of", metavar="DAY", help="Install what a user would have got on that UTC day.")
@INSTALLED
@ENGINE
@JSON
@click.pass_obj
def probe(
    options: Options,
    *,
    model: str,
    runtime: str,
    extra_pins: tuple[str, ...],
    attribute: bool,
    as_of: str | None,
    installed: str | None,
    engine: str | None,
    as_json: bool,
) -> None:
    """Probe MODEL now; its checks are shown as they finish.

    MODEL is a hub id, a family ("Gemma 4"), an architecture, or a checkpoint folder. Results of a pinned version stay
    out of the daily history. A pinned version gets the packages of its release day; --installed today, --as-of DAY and
    --with are other questions, whose answers are kept apart. --as-of without a version is recorded as a replay of that
    day. --attribute needs a runtime that builds on another (peft on transformers).

    The exit code is 0 whatever the verdict is, and 5 when there is no verdict because Settle's infrastructure failed
    (engine, disk, network, memory, a limit, an installation recipe).
    """
    from monitor.progress import ConsoleProgress
    from monitor.runner.attribution import cross, foundation_of
    from monitor.runner.context import open_context
    from monitor.runner.cycle import run_cycle
    from monitor.runner.request import ProbeRequest

    now = datetime.now(UTC)
    name, version = runtime_and_version(runtime)
    day = replayable_day(as_of, now.date()) if as_of else now.date()
    origin = Origin.ADHOC if version or extra_pins else Origin.LIVE if day == now.date() else Origin.REPLAY
    if attribute:
        foundation_of(name)
    if installed and (not version or as_of or extra_pins):
        raise UsageError(
            "--installed needs a pinned version, and goes neither with --as-of nor with --with",
            hint="write --runtime transformers==5.2.0 --installed today",
        )
    progress = ConsoleProgress(checks=True)
    config = options.with_engine(engine)
    subjects, models = subjects_of(model, progress, config.home)
    request = ProbeRequest(
        runtime=name,
        version=version,
        day=day,
        cutoff=now if day == now.date() else datetime.combine(day, time(23, 59, 59), UTC),
        origin=origin,
        subjects=subjects,
        force=True,
        depth=Depth.DEEP,
        extra_pins=tuple(map(exact_pin, extra_pins)),
    )
    with open_context(config, progress) as context:
        _record_known(context, subjects, models)
        request = _dated(context.runner, request, "today" if as_of else installed)
        cycle = run_cycle(context.runner, request)
        attributions = cross(context.runner, request, cycle) if attribute else None
    print_probe(config, cycle, attributions, as_json=as_json)
    raise_if_only_infra_failed(cycle)


@click.command(
    epilog=examples(
        'settle replay "Gemma 4" --from 2026-03-25 --to 2026-04-20',
        "settle replay --from 2025-01-01 --to 2026-11-24 --every release",
        "settle replay llama --runtime transformers --from 2026-10-01 --to 2026-10-31 --every day",
    )
)
@click.argument("models", metavar="[MODEL]...", nargs=-1)
@click.option("--runtime", default=str(Runtime.TRANSFORMERS), show_default=True, help="Runtime to replay.")
@click.option("--from", "first", metavar="DAY", required=True, help="First UTC day.")
@click.option("--to", "last", metavar="DAY", required=True, help="Last UTC day, included; a past day.")
@click.option(
    "--every",
    type=click.Choice(["release", "change", "day"]),
    default="change",
    show_default=True,
    help="Resolve on days with a release; also on days with a changed dependency; or on every day.",
)
@click.option("--seed", type=click.IntRange(0, 2**31 - 1), default=0, help="Random seed of the probes.")
@ENGINE
@JSON
@click.pass_obj
def replay(
    options: Options,
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
    """Backfill past days: rebuild the history of MODELs (default: the whole catalogue) between two days.

    For each day Settle resolves and locks the environment that a user would have got. Where a package that the probe
    imports differs from the day before, the environment is built and probed; otherwise the day is carried. The same
    command continues an interrupted replay. Days that were measured live keep their verdict.
    """
    from monitor.progress import ConsoleProgress
    from monitor.runner.context import open_context
    from monitor.schedule import past
    from monitor.subjects.catalogue import load_catalogue

    name, version = runtime_and_version(runtime)
    if version:
        raise UsageError(
            "a replay uses the version of each day, so --runtime takes no version", hint=f"write --runtime {name}"
        )
    begin, end = replayable_range(first, last, datetime.now(UTC).date())
    progress = ConsoleProgress()
    control = load_catalogue().control.subjects()[0]
    subjects = list(dict.fromkeys([control, *watched_subjects(models, progress, options.config.home)]))
    order = past.Order(runtime=name, first=begin, last=end, every=past.Every(every), subjects=subjects, seed=seed)
    with open_context(options.with_engine(engine), progress) as context:
        _record_known(context, subjects)
        replayed = past.replay(context.runner, order)
    print_replay(replayed, as_json=as_json)


def _dated(runner: Runner, request: ProbeRequest, installed: str | None) -> ProbeRequest:
    """Return the request as of its version's release day, unless it asks for the newest or for another day."""
    from monitor.runner.release_day import as_of_release_day

    if not request.version or request.extra_pins or installed == "today":
        return request
    return as_of_release_day(runner, request)


def _record_known(context: RunContext, subjects: Sequence[Subject], models: Sequence[Model] = ()) -> None:
    """Record the catalogue and the command line's models before any run refers to them."""
    from monitor.subjects.catalogue import load_parity_causes

    context.store.record_catalogue([*context.catalogue.models, *models], [*context.catalogue.subjects(), *subjects])
    context.store.record_parity_causes(load_parity_causes())
