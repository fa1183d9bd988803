"""The root of the command line: what every command shares, and the list of commands."""

from __future__ import annotations

import importlib
import os
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import click

from monitor.config.paths import config_path, home_in_force, usual_home

if TYPE_CHECKING:
    from monitor.config.settings import Config


# command -> module that defines it, so that `settle query` does not import the engine
COMMANDS = {
    "run": "monitor.cli.measure",
    "probe": "monitor.cli.measure",
    "replay": "monitor.cli.past",
    "status": "monitor.cli.read",
    "show": "monitor.cli.read",
    "report": "monitor.cli.report",
    "release": "monitor.cli.report",
    "site": "monitor.cli.site",
    "demo": "monitor.cli.demo",
    "query": "monitor.cli.read",
    "serve": "monitor.cli.publish",
    "export": "monitor.cli.take",
    "copy": "monitor.cli.take",
    "models": "monitor.cli.read",
    "rejudge": "monitor.cli.maintain",
    "miniature": "monitor.cli.make",
    "doctor": "monitor.cli.maintain",
    "reproduce": "monitor.cli.make",
    "alert": "monitor.cli.alert",
    "gc": "monitor.cli.maintain",
    "backup": "monitor.cli.keep",
    "restore": "monitor.cli.keep",
    "check-config": "monitor.cli.maintain",
}


@dataclass
class Context:
    """What the root option says; the configuration is read when a command first asks for it."""

    config_file: Path | None

    @cached_property
    def config(self) -> Config:
        from monitor.config.load import load_config

        return load_config(self.config_file)

    @cached_property
    def home(self) -> Path:
        """Return where the history lies; who only reads does not wait for a configuration that nobody has written."""
        nobody = self.config_file is None and "SETTLE_CONFIG" not in os.environ and not config_path(os.environ).exists()
        return home_in_force(os.environ, usual_home()) if nobody else self.config.home


class _Lazy(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 - click's signature
        if cmd_name not in COMMANDS:
            return None
        command = getattr(importlib.import_module(COMMANDS[cmd_name]), cmd_name.replace("-", "_"))
        assert isinstance(command, click.Command)  # noqa: S101 - the table above names click commands only
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        from monitor.errors import UnknownName

        if args and not args[0].startswith("-") and args[0] not in COMMANDS:
            raise UnknownName("command", args[0], COMMANDS, hint="`settle --help` lists them")
        return super().resolve_command(ctx, args)


def examples(*lines: str) -> str:
    """Return the example block that every command's help ends with."""
    return "\b\nExamples:\n" + "\n".join(f"  {line}" for line in lines)


@click.group(
    cls=_Lazy,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog=examples("settle run --once", 'settle probe "Gemma 4" --as-of 2026-04-03', "settle status", "settle doctor"),
)
@click.option("--config", "config_file", type=click.Path(path_type=Path), help="Configuration file (TOML).")
@click.version_option(package_name="settle", prog_name="settle")
@click.pass_context
def settle(ctx: click.Context, config_file: Path | None) -> None:
    """Measure how long a newly released open model takes until it really works, and keeps working.

    Settle installs runtimes in containers, probes models in them, records pass and fail day by day in SQLite and
    computes the time to stable support. Data goes to stdout, talk to stderr; `--json` where you would pipe.
    """
    ctx.obj = Context(config_file)
