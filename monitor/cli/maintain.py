"""`settle rejudge`, `disk-budget`, `check-config`, `backup`, `restore`, `correct-clock`: they maintain the data."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from monitor.cli.root import JSON, Options, examples
from monitor.errors import ConfigError

if TYPE_CHECKING:
    from monitor.verdicts.discard import Discarded

ARCHIVE = click.argument("file", type=click.Path(path_type=Path))


@click.command(epilog=examples("settle rejudge", "settle rejudge --answers-of /srv/other-settle"))
@click.option(
    "--answers-of",
    metavar="HOME",
    type=click.Path(path_type=Path),
    help="First take over the answers of the releases in another data directory.",
)
@JSON
@click.pass_obj
def rejudge(options: Options, *, answers_of: Path | None, as_json: bool) -> None:
    """Rebuild all check results, days and flips from the recorded facts.

    Answers that other runtimes gave over the same files decide which release of the reference is right; they may be in
    another history, which --answers-of names.

    The recorded facts stay, and announced news is not announced again. A second run changes nothing.
    """
    from monitor import verdicts
    from monitor.cli.output import message_console, write_json
    from monitor.store import open_store

    with open_store(options.config.home) as store:
        if answers_of is not None:
            store.take_answers(answers_of)
        counts = verdicts.rejudge(store)
    if as_json:
        write_json(counts)
    else:
        message_console().print(
            f"judged {counts.runs} runs again: {counts.changed_runs} runs and {counts.changed_days} days changed;"
            f" {counts.without_events} runs have no stored events and stay as they are",
            markup=False,
            soft_wrap=True,
        )


@click.command(
    name="disk-budget",
    epilog=examples("settle disk-budget", "settle disk-budget --dry-run", "settle disk-budget --budget-gib 10"),
)
@click.option("--budget-gib", type=click.FloatRange(min=0), help="Budget to apply instead of disk.budget_gib.")
@click.option("--dry-run", is_flag=True, help="List what would be removed, and remove nothing.")
@JSON
@click.pass_obj
def disk_budget(options: Options, *, budget_gib: float | None, dry_run: bool, as_json: bool) -> None:
    """Remove files until cache, environments, subjects and logs fit the disk budget.

    Removes in this order, until the rest fits: logs beyond a tenth of the budget, written miniatures, unused weights,
    environments, longest unused first (never the last one), the package cache, compiled bytecode, and then archives and
    wheels built from source that no remaining environment needs. Environments share files with the cache, so removing
    them alone frees little. Everything but the logs can be made again, a wheel with a different hash. The database and
    the raw events are never removed.
    """
    from containers.installed import Installed
    from monitor.cli.output import data_console, write_json
    from monitor.daemon.disk_budget import apply_disk_budget
    from monitor.store import open_store

    gib = 1 << 30
    config = options.config
    budget = config.disk.budget_gib if budget_gib is None else budget_gib
    with open_store(config.home) as store:  # without an engine: only files are removed
        installed = Installed(config.home / "install")
        removed = apply_disk_budget(config, store, installed, budget_bytes=int(budget * gib), dry_run=dry_run)
    if as_json:
        write_json(removed)
        return
    console = data_console()
    for item in removed.items:
        verb = "would remove" if dry_run else "removed"
        console.print(f"{verb} {item.what}: {item.bytes / gib:.2f} GiB", markup=False)
    console.print(
        f"{removed.before_bytes / gib:.2f} GiB used before, {removed.after_bytes / gib:.2f} GiB after;"
        f" the budget is {budget:g} GiB",
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
def check_config(options: Options, *, show_reference: bool, as_json: bool) -> None:
    """Check the configuration, list all problems together, and print the effective values.

    The addresses of alert targets are checked with this environment, from which they take their secrets.
    """
    from monitor.cli.output import write_json, write_table
    from monitor.config.load import default_text, reference

    if show_reference:
        columns = ("key", "default", "meaning")
        if as_json:
            write_json([dict(zip(columns, row, strict=True)) for row in reference()])
        else:
            write_table(columns, reference())
        return
    _check_targets(options)
    values = _redacted(options.config.model_dump(mode="json"))
    if as_json:
        write_json(values)
        return
    top = [(key, value) for key, value in values.items() if not isinstance(value, dict)]
    nested = [
        (f"{section}.{key}", value)
        for section, keys in values.items()
        if isinstance(keys, dict)
        for key, value in keys.items()
    ]
    rows = [(key, default_text(key) if value is None else value) for key, value in top + nested]
    write_table(("key", "value"), rows)


def _check_targets(options: Options) -> None:
    """Raise ConfigError that names every target to which no message can be sent."""
    targets = options.config.alerts.targets
    if not targets:
        return  # apprise takes long to import
    from monitor.alerts.sending import check
    from monitor.config.load import problems_in
    from monitor.config.paths import config_path

    problems = []
    for number, target in enumerate(targets):
        try:
            check(target.url.get_secret_value(), os.environ)
        except ConfigError as error:
            problems.append(f"alerts.targets.{number}.url: {error} (target {target.name!r})")
    if problems:
        raise problems_in(options.config_file or config_path(os.environ), problems)


def _redacted(value: Any) -> Any:
    """Return ``value`` with the passwords removed from every address in it."""
    from containers.lock import redacted

    if isinstance(value, dict):
        return {key: _redacted(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_redacted(item) for item in value]
    return redacted(value) if isinstance(value, str) else value


@click.command(epilog=examples("settle backup /srv/backups/settle-$(date +%F).tar"))
@ARCHIVE
@click.pass_obj
def backup(options: Options, *, file: Path) -> None:
    """Copy the whole history into FILE, a tar archive; the daemon may run meanwhile.

    The archive holds the database at one moment, the raw events and the logs. It leaves out environments, caches and
    subjects, because they can be made again, and the configuration, because it holds secrets.
    """
    from monitor.cli.output import message_console
    from monitor.store.backup import back_up

    contents = back_up(options.config.home, file.absolute())
    size = file.stat().st_size / (1 << 20)
    message_console().print(
        f"{file}: {size:.1f} MiB, {contents.events} event files and {contents.logs} log files", soft_wrap=True
    )


@click.command(epilog=examples("SETTLE_HOME=/var/lib/settle settle restore /srv/backups/settle-2026-04-01.tar"))
@ARCHIVE
@click.pass_obj
def restore(options: Options, *, file: Path) -> None:
    """Restore a backup into an empty data directory, and convert its database if it is old.

    Every part is verified first: a damaged backup restores nothing, and a data directory with content is not touched.
    """
    from monitor.cli.output import message_console
    from monitor.store.backup import restore as restore_files

    contents = restore_files(file.absolute(), options.config.home)
    message_console().print(
        f"{options.config.home}: restored the database, {contents.events} event files and {contents.logs} log files",
        soft_wrap=True,
    )


def _discarded_sentence(discarded: Discarded, file: Path) -> str:
    counts = (discarded.runs, discarded.carried_days, discarded.resolutions)
    if not any(counts):
        return f"nothing is recorded from after this moment, so nothing was removed; {file} is a backup"
    nouns = ("run", "carried day", "resolution")
    runs, days, resolutions = (
        f"{count} {noun}{'' if count == 1 else 's'}" for count, noun in zip(counts, nouns, strict=True)
    )
    return f"removed {runs}, {days} and {resolutions} from after this moment; {file} still holds them"


@click.command(name="correct-clock", epilog=examples("settle correct-clock /srv/backups/before-the-clock-was-set.tar"))
@ARCHIVE
@JSON
@click.pass_obj
def correct_clock(options: Options, *, file: Path, as_json: bool) -> None:
    """Remove what was recorded with a clock that was ahead, after a backup of everything into FILE.

    The daemon measures nothing while the clock shows a time before its last record. If the clock is right now and was
    ahead then, this removes the runs, resolutions and announcements from after the present moment, and judges again
    what remains. A run of a past or present day is never removed.
    """
    from monitor import verdicts
    from monitor.cli.output import message_console, write_json
    from monitor.progress import utc_now
    from monitor.store import open_store
    from monitor.store.backup import back_up

    with open_store(options.config.home) as store:
        back_up(options.config.home, file.absolute())
        discarded = verdicts.discard_after(store, utc_now())
    if as_json:
        write_json(discarded)
    else:
        message_console().print(_discarded_sentence(discarded, file), markup=False, soft_wrap=True)
