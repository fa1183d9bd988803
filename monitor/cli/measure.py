"""`settle run` and `settle probe`: the commands that measure."""

from __future__ import annotations

from datetime import UTC, date, datetime, time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from monitor.cli.outcome import (
    print_cycle,
    print_probe,
    say_whether_nothing_was_installed,
    say_whether_only_the_bench_failed,
)
from monitor.cli.root import Context, examples
from monitor.domain import Channel, Origin, Runtime
from monitor.errors import UnknownName, UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from monitor.config.settings import Config
    from monitor.domain import Subject
    from monitor.judge.attribution import Crossed
    from monitor.progress import Progress
    from monitor.runner.context import RunContext
    from monitor.runner.cycle import CycleResult
    from monitor.runner.request import ProbeRequest

ENGINE = click.option(
    "--engine",
    type=click.Choice(["auto", "docker", "podman", "process"]),
    help="What runs the containers, for this once; process isolates less and keeps a history of its own.",
)
FIRST_DAY = date(2025, 1, 1)


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
@click.option("--once", is_flag=True, help="One cycle, then end.")
@click.option("--only", metavar="MODEL", multiple=True, help="Only this model, named as in `settle probe`; repeatable.")
@click.option(
    "--runtime",
    "runtimes",
    metavar="NAME",
    multiple=True,
    help="Only this runtime, or runtime==version; repeatable. Else those of the configuration.",
)
@ENGINE
@click.option("--json", "as_json", is_flag=True, help="Print the outcome as JSON.")
@click.pass_obj
def run(
    context: Context,
    *,
    once: bool,
    only: tuple[str, ...],
    runtimes: tuple[str, ...],
    engine: str | None,
    as_json: bool,
) -> None:
    """Watch all models in the newest stable release of every runtime, day by day, until it is stopped.

    Finds out by itself what is due: new models and releases at once, young models daily, what has not changed less and
    less often. Faults of engine, network and disk are said and waited for. Ends cleanly by SIGTERM or Ctrl-C.

    With --once, one cycle: installs what a user would get now, probes every model that is due, confirms every change,
    and prints the matrix. A cycle in which nothing has changed since the last one ends within seconds. A pinned version
    is an answer by hand: it is kept by release, and stays out of the daily history.
    """
    from monitor.progress import ConsoleProgress
    from monitor.runner.request import ProbeRequest

    now = datetime.now(UTC)
    progress = ConsoleProgress()
    config = with_engine(context.config, engine)
    subjects = chosen(only, progress, config.home)
    if not once:
        _watch(config, subjects, runtimes, discovered=not only, as_json=as_json)
        return
    questions = [
        ProbeRequest(
            runtime=runtime,
            channel=Channel.STABLE,
            version=version,
            day=now.date(),
            cutoff=now,
            origin=Origin.ADHOC if version else Origin.LIVE,
            subjects=subjects,
        )
        for runtime, version in map(runtime_named, runtimes or config.runtimes)
    ]
    held = _answer_all(config, questions, progress)
    print_cycle(config, held, as_json=as_json)
    say_whether_nothing_was_installed(held)


def _watch(
    config: Config, subjects: Sequence[Subject], runtimes: Sequence[str], *, discovered: bool, as_json: bool
) -> None:
    from monitor.cli.stopping import Stopped
    from monitor.daemon.logs import talk_in
    from monitor.daemon.loop import watch

    named = [runtime_named(one) for one in runtimes]
    if as_json or any(version for _, version in named):
        raise UsageError(
            "the daemon prints no outcome and follows releases by itself",
            hint="--json and runtime==version go with --once; `settle status` shows what it has recorded",
        )
    chosen_runtimes = tuple(name for name, _ in named) or config.runtimes
    progress = talk_in(config.daemon.logs)
    try:
        watch(
            config.model_copy(update={"runtimes": chosen_runtimes}), progress, subjects=subjects, discovered=discovered
        )
    except Stopped as stopped:  # a daemon has no other end
        progress.message(f"{stopped}; what was recorded stays")


@click.command(
    epilog=examples(
        'settle probe "Gemma 4"',
        'settle probe "Gemma 4" --as-of 2026-03-31',
        "settle probe Qwen/Qwen3-8B --runtime transformers==4.51.0",
        "settle probe Qwen/Qwen3-8B --runtime peft==0.18.0 --with transformers==5.2.0",
        "settle probe microsoft/Phi-3.5-MoE-instruct --runtime peft --cross",
        "settle probe ./my-unreleased-checkpoint --json",
    )
)
@click.argument("model")
@click.option("--runtime", default=str(Runtime.TRANSFORMERS), show_default=True, help="Runtime, or runtime==version.")
@click.option(
    "--with", "beside", metavar="NAME==VERSION", multiple=True, help="Pin another package beside it; repeatable."
)
@click.option("--cross", is_flag=True, help="Ask a failure again in the release before of either, to tell whose it is.")
@click.option("--as-of", "as_of", metavar="DAY", help="Install what a user would have got on that UTC day.")
@ENGINE
@click.option("--json", "as_json", is_flag=True, help="Print the outcome as JSON.")
@click.pass_obj
def probe(
    context: Context,
    *,
    model: str,
    runtime: str,
    beside: tuple[str, ...],
    cross: bool,
    as_of: str | None,
    engine: str | None,
    as_json: bool,
) -> None:
    """Probe one MODEL now; its checks are shown as they finish.

    MODEL is a hub id, a family ("Gemma 4"), an architecture, or a checkpoint folder. A pinned version is an answer by
    hand and stays out of the daily history; --as-of without one is recorded as a replay of that day. --cross is for a
    runtime that stands on another (peft on transformers).

    Ends with exit code 0 whatever the verdict is, and with 5 when there is none because the bench failed (engine,
    disk, network, memory, a limit or recipe of ours).
    """
    from monitor.progress import ConsoleProgress
    from monitor.runner.attribution import foundation_of
    from monitor.runner.request import ProbeRequest

    now = datetime.now(UTC)
    name, version = runtime_named(runtime)
    day = day_named(as_of, now.date()) if as_of else now.date()
    cutoff = now if day == now.date() else datetime.combine(day, time(23, 59, 59), UTC)
    origin = Origin.ADHOC if version or beside else Origin.LIVE if day == now.date() else Origin.REPLAY
    if cross:
        foundation_of(name)
    progress = ConsoleProgress(checks=True)
    config = with_engine(context.config, engine)
    subjects, models = _subjects(model, progress, config.home)
    request = ProbeRequest(
        runtime=name,
        channel=Channel.STABLE,
        version=version,
        day=day,
        cutoff=cutoff,
        origin=origin,
        subjects=subjects,
        force=True,
        beside=tuple(map(pinned_beside, beside)),
    )
    held, crossings = (
        _answer_crossing(config, request, progress, models)
        if cross
        else (_answer_all(config, [request], progress, models=models)[0], None)
    )
    print_probe(config, held, crossings, as_json=as_json)
    say_whether_only_the_bench_failed(held)


def _answer_crossing(
    config: Config, request: ProbeRequest, progress: Progress, models: Sequence[object]
) -> tuple[CycleResult, Mapping[str, Sequence[Crossed]]]:
    from monitor.runner.attribution import cross
    from monitor.runner.context import open_context
    from monitor.runner.cycle import run_cycle

    with open_context(config, progress) as run_context:
        learn(run_context, request.subjects, models)
        held = run_cycle(run_context, request, progress)
        return held, cross(run_context, request, held, progress)


def _answer_all(
    config: Config, questions: Sequence[ProbeRequest], progress: Progress, *, models: Sequence[object] = ()
) -> list[CycleResult]:
    from monitor.runner.context import open_context
    from monitor.runner.cycle import run_cycle

    with open_context(config, progress) as run_context:
        learn(run_context, questions[0].subjects, models)
        return [run_cycle(run_context, request, progress) for request in questions]


def learn(context: RunContext, subjects: Sequence[Subject], models: Sequence[object]) -> None:
    """Record what the project and the command line know of models before anything is said about them."""
    from monitor.domain import Model
    from monitor.subjects.parity_causes import load_parity_causes

    known = [model for model in models if isinstance(model, Model)]
    context.store.record_catalogue([*context.catalogue.models, *known], [*context.catalogue.subjects(), *subjects])
    context.store.record_parity_causes(load_parity_causes())


def chosen(only: Sequence[str], progress: Progress, home: Path) -> Sequence[Subject]:
    from monitor.subjects.catalogue import load_catalogue

    if not only:
        return load_catalogue().subjects()
    return list(dict.fromkeys(subject for name in only for subject in _watched(name, progress, home)))


def _watched(model: str, progress: Progress, home: Path) -> Sequence[Subject]:
    from monitor.discovery.listed import discovered_subjects
    from monitor.subjects.catalogue import load_catalogue

    try:
        found = load_catalogue().find(model)
    except UnknownName:
        if discovered := discovered_subjects(home, model):
            return discovered
        raise
    if found.note:
        progress.message(found.note)
    subjects = found.entry.subjects()
    exact = [subject for subject in subjects if subject.id.lower() == model.lower()]
    return exact or subjects


def _subjects(model: str, progress: Progress, home: Path) -> tuple[Sequence[Subject], Sequence[object]]:
    from monitor.subjects.local_folder import folder_subject

    if model.startswith((".", "/", "~")) or (model and Path(model).is_dir()):
        own, subject = folder_subject(Path(model).expanduser())
        return [subject], [own]
    return _watched(model, progress, home), []


def runtime_named(text: str) -> tuple[Runtime, str]:
    name, _, version = text.partition("==")
    if any(sign in text.replace("==", "", 1) for sign in "=<>~!"):
        raise UsageError(f"{text!r} names no single version", hint="write runtime or runtime==version")
    try:
        runtime = Runtime(name.strip().lower())
    except ValueError:
        raise UnknownName("runtime", name, list(Runtime), hint=f"known: {', '.join(Runtime)}") from None
    version = version.strip()
    if version:
        from packaging.version import InvalidVersion, Version

        try:
            Version(version)
        except InvalidVersion:
            raise UsageError(f"{version!r} is no version", hint="write it as transformers==5.2.0") from None
    elif "==" in text:
        raise UsageError(f"{text!r} names no version", hint="write runtime or runtime==version") from None
    return runtime, version


def pinned_beside(text: str) -> str:
    """Return name==version, checked."""
    from packaging.requirements import InvalidRequirement, Requirement

    try:
        asked = Requirement(text)
    except InvalidRequirement:
        raise UsageError(f"{text!r} names no package", hint="write --with transformers==5.2.0") from None
    pins = [one.version for one in asked.specifier if one.operator == "==" and not one.version.endswith(".*")]
    if len(pins) != 1 or len(asked.specifier) != 1 or asked.marker or asked.extras or asked.url:
        raise UsageError(f"{text!r} names no single version", hint="write --with transformers==5.2.0")
    return f"{asked.name.lower()}=={pins[0]}"


def day_named(text: str, today: date) -> date:
    """Return a day whose environment can be rebuilt."""
    day = past_day(text, today)
    if day < FIRST_DAY:
        raise UsageError(f"{day} is too early", hint=f"environments can be rebuilt from {FIRST_DAY} on")
    return day


def past_day(text: str, today: date) -> date:
    try:
        day = date.fromisoformat(text)
    except ValueError:
        raise UsageError(f"{text!r} is no day", hint="write it as 2026-03-31") from None
    if day > today:
        raise UsageError(f"{day} is in the future (today is {today}, UTC)", hint="give today or a past day")
    return day


def with_engine(config: Config, engine: str | None) -> Config:
    return config.model_copy(update={"engine": engine}) if engine else config
