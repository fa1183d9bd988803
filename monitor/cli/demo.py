"""`settle demo`: opens a shipped history with the commands that read."""

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
@click.option(
    "--runtimes", is_flag=True, help="Open the second history, of every runtime; its default command is status."
)
@click.argument("arguments", metavar="[COMMAND ARGS...]", nargs=-1, type=click.UNPROCESSED)
@click.pass_obj
def demo(options: Options, *, runtimes: bool, arguments: tuple[str, ...]) -> None:
    """Open a history that comes with Settle: the watched models in every release of transformers since 2025.

    A second history has every runtime, in its newest and older releases, and how far their numbers differ.

    COMMAND is report (the default), show, release, status, query or site, with its arguments. The demo measures nothing
    and does not touch your history.
    """
    from monitor.cli.output import message_console
    from monitor.store.shipped import unpack

    command = arguments or ("status" if runtimes else "report",)
    if command[0] not in READING:
        raise UsageError(
            f"{command[0]!r} is not available in the demo, which only reads", hint=f"available: {', '.join(READING)}"
        )
    name = "demo --runtimes" if runtimes else "demo"
    home = cache_folder() / ("demo-runtimes" if runtimes else "demo")
    unpack((files("monitor") / "data" / (SHIPPED_RUNTIMES if runtimes else SHIPPED)).read_bytes(), home)
    message_console().print(
        f"demo history, unpacked in {home}; below, read `settle` as `settle {name}`", soft_wrap=True
    )
    os.environ["SETTLE_HOME"] = str(home)  # only for this process, which ends with the command
    config_option = ["--config", str(options.config_file)] if options.config_file else []
    settle.main([*config_option, *command], prog_name="settle", standalone_mode=False)
