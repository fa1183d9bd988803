"""`settle rejudge`, `doctor`, `gc`, `check-config`: the commands that keep a home in order."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import click

from monitor.cli.read import JSON
from monitor.cli.root import Context, examples
from monitor.errors import InfraError


@click.command(epilog=examples("settle rejudge"))
@JSON
@click.pass_obj
def rejudge(context: Context, *, as_json: bool) -> None:
    """Make every check, day and flip again from the recorded facts.

    Nothing that was recorded is lost; what was announced stays announced. Doing it twice changes nothing.
    """
    from monitor.cli.output import talk_console, write_json
    from monitor.store import open_store

    with open_store(context.config.home) as store:
        done = store.rejudge()
    if as_json:
        write_json(done)
    else:
        talk_console().print(f"judged again: {done}", markup=False)


@click.command(epilog=examples("settle doctor", "settle doctor --json", "settle doctor --engine process"))
@click.option("--engine", type=click.Choice(["auto", "docker", "podman", "process"]), help="Examine this engine.")
@JSON
@click.pass_obj
def doctor(context: Context, *, engine: str | None, as_json: bool) -> None:
    """Examine engine, disk, index, certificates, hub, memory and clock; each finding comes with its fix.

    Ends with exit code 5 when something is bad enough that nothing could be measured.
    """
    from monitor.cli.doctor import State, examine
    from monitor.cli.output import data_console, write_json
    from monitor.sources.access import hub_access, install_settings

    config = context.config.model_copy(update={"engine": engine}) if engine else context.config
    settings = install_settings(config)
    findings = []
    console = data_console()
    for finding in examine(config, settings, hub_access(config), now=datetime.now(UTC)):
        findings.append(finding)
        if not as_json:
            console.print(f"{finding.state:8} {finding.what}: {finding.found}", markup=False, soft_wrap=True)
            if finding.fix:
                console.print(f"         fix: {finding.fix}", markup=False, soft_wrap=True)
    if as_json:
        write_json(findings)
    bad = [finding.what for finding in findings if finding.state is State.BAD]
    if bad:
        raise InfraError(f"not fit to measure: {', '.join(bad)}", hint="each finding above names its fix")


@click.command(epilog=examples("settle gc", "settle gc --dry-run", "settle gc --budget-gib 10"))
@click.option("--budget-gib", type=click.FloatRange(min=0), help="Instead of disk.budget_gib.")
@click.option("--dry-run", is_flag=True, help="Say what would be removed, and remove nothing.")
@JSON
@click.pass_obj
def gc(context: Context, *, budget_gib: float | None, dry_run: bool, as_json: bool) -> None:
    """Keep cache, environments, subjects and logs within the disk budget.

    In this order until it fits: logs beyond a tenth of the budget, written miniatures, weights that nothing probes now,
    environments longest unused first (never the last one), the package cache, then unpacked archives and wheels built
    from source that no environment which stays needs. Environments share their files with the cache, so alone they free
    little. All of it but the logs can be made again, a wheel with another hash; the database and the raw events are
    never touched.
    """
    from monitor.cli.output import data_console, write_json
    from monitor.daemon.disk_budget import apply_disk_budget
    from monitor.progress import ConsoleProgress
    from monitor.runner.context import open_context

    gib = 1 << 30
    budget = context.config.disk.budget_gib if budget_gib is None else budget_gib
    with open_context(context.config, ConsoleProgress()) as run_context:
        removed = apply_disk_budget(run_context, budget_bytes=int(budget * gib), dry_run=dry_run)
    if as_json:
        write_json(removed)
        return
    console = data_console()
    for one in removed.things:
        console.print(f"{'would remove' if dry_run else 'removed'} {one.what}: {one.bytes / gib:.2f} GiB", markup=False)
    console.print(
        f"{removed.before_bytes / gib:.2f} GiB were used of {budget:g}, {removed.after_bytes / gib:.2f} GiB are now",
        markup=False,
    )


@click.command(
    name="check-config",
    epilog=examples(
        "settle check-config", "settle --config settle.toml check-config", "settle check-config --reference"
    ),
)
@click.option("--reference", "show_reference", is_flag=True, help="List every key with its default and meaning.")
@JSON
@click.pass_obj
def check_config(context: Context, *, show_reference: bool, as_json: bool) -> None:
    """Check the configuration, naming every problem at once, and print what is in force."""
    from monitor.cli.output import write_json, write_table
    from monitor.config.load import reference

    if show_reference:
        rows = reference()
        if as_json:
            write_json([{"key": key, "default": default, "meaning": meaning} for key, default, meaning in rows])
        else:
            write_table(("key", "default", "meaning"), rows)
        return
    config = context.config
    dumped = _redacted(config.model_dump(mode="json"))
    if as_json:
        write_json(dumped)
        return
    flat = [
        (f"{section}.{key}", value)
        for section, keys in dumped.items()
        if isinstance(keys, dict)
        for key, value in keys.items()
    ]
    top = [(key, value) for key, value in dumped.items() if not isinstance(value, dict)]
    write_table(
        ("key", "value"), [(key, "from the environment" if value is None else value) for key, value in top + flat]
    )


def _redacted(value: Any) -> Any:
    """Return ``value`` with the passwords taken out of every address in it."""
    from containers.lock import redacted

    if isinstance(value, dict):
        return {key: _redacted(one) for key, one in value.items()}
    if isinstance(value, list):
        return [_redacted(one) for one in value]
    return redacted(value) if isinstance(value, str) else value
