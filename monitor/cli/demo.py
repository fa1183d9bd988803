"""`settle demo`: a shipped history, opened with the commands that read."""

from __future__ import annotations

import os
from importlib.resources import files

import click

from monitor.cli.root import Options, examples, settle
from monitor.config.paths import cache_folder
from monitor.errors import UsageError

READING = ("report", "show", "release", "status", "query", "site")
SHIPPED = "history.db.xz"  # transformers, day by day
SHIPPED_RUNTIMES = "runtimes.db.xz"  # every runtime, newest and older releases, as of one day


@click.command(
    epilog=examples(
        "settle demo",
        'settle demo show "Gemma 4"',
        "settle demo release 4.51.0",
        "settle demo --runtimes status",
        "settle demo query \"select version, count(*) from history where verdict = 'broken' group by version\"",
    ),
    context_settings={"ignore_unknown_options": True},
)
@click.option("--runtimes", is_flag=True, help="Open the history of every runtime instead: its default is status.")
@click.argument("arguments", metavar="[COMMAND ARGS...]", nargs=-1, type=click.UNPROCESSED)
@click.pass_obj
def demo(options: Options, *, runtimes: bool, arguments: tuple[str, ...]) -> None:
    """Open a history that comes with settle: what is watched, in every transformers since 2025.

    The other one has every runtime in its newest release and in older ones, with how far their numbers are apart.

    COMMAND is one of report (the default), show, release, status, query and site, with its own arguments. Nothing is
    measured and your own history is not touched.
    """
    from monitor.cli.output import message_console
    from monitor.store.shipped import unpack

    command = arguments or ("status" if runtimes else "report",)
    if command[0] not in READING:
        raise UsageError(
            f"the demo only reads: {command[0]!r} is not among {', '.join(READING)}", hint="try `settle demo report`"
        )
    home = cache_folder() / ("demo-runtimes" if runtimes else "demo")
    unpack((files("monitor") / "data" / (SHIPPED_RUNTIMES if runtimes else SHIPPED)).read_bytes(), home)
    message_console().print(f"the shipped history, in {home}", soft_wrap=True)
    os.environ["SETTLE_HOME"] = str(home)  # this process alone, and it ends with the command
    named = ["--config", str(options.config_file)] if options.config_file else []
    settle.main([*named, *command], prog_name="settle", standalone_mode=False)
