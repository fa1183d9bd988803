"""`settle demo`: the shipped history, opened with the commands that read."""

from __future__ import annotations

import os
from importlib.resources import files

import click

from monitor.cli.root import Context, examples, settle
from monitor.errors import UsageError
from monitor.places import cache_folder

READING = ("report", "show", "release", "status", "query", "site")
SHIPPED = "history.db.xz"


@click.command(
    epilog=examples(
        "settle demo",
        'settle demo show "Gemma 4"',
        "settle demo release 4.51.0",
        "settle demo query \"select version, count(*) from history where verdict = 'broken' group by version\"",
    ),
    context_settings={"ignore_unknown_options": True},
)
@click.argument("arguments", metavar="[COMMAND ARGS...]", nargs=-1, type=click.UNPROCESSED)
@click.pass_obj
def demo(context: Context, *, arguments: tuple[str, ...]) -> None:
    """Open the history that comes with settle: models with a sourced release day in every transformers since 2025.

    COMMAND is one of report (the default), show, release, status, query and site, with its own arguments. Nothing is
    measured and your own history is not touched.
    """
    from monitor.cli.render import talk_console
    from monitor.store.shipped import unpack

    command = arguments or ("report",)
    if command[0] not in READING:
        raise UsageError(
            f"the demo only reads: {command[0]!r} is not among {', '.join(READING)}", hint="try `settle demo report`"
        )
    home = cache_folder() / "demo"
    unpack((files("monitor") / "data" / SHIPPED).read_bytes(), home)
    talk_console().print(f"the shipped history, in {home}", soft_wrap=True)
    os.environ["SETTLE_HOME"] = str(home)  # this process alone, and it ends with the command
    named = ["--config", str(context.config_file)] if context.config_file else []
    settle.main([*named, *command], prog_name="settle", standalone_mode=False)
