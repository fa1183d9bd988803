"""The root of the command line: the list of commands, and the options that commands share."""

from __future__ import annotations

import importlib
import os
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import click

from monitor.config.paths import config_path, default_home, effective_home

if TYPE_CHECKING:
    from monitor.config.settings import Config


# command -> module that defines it, so that `settle query` does not import the engine
COMMANDS = {
    "run": "monitor.cli.measure",
    "probe": "monitor.cli.measure",
    "replay": "monitor.cli.measure",
    "status": "monitor.cli.read",
    "show": "monitor.cli.read",
    "report": "monitor.cli.report",
    "release": "monitor.cli.report",
    "query": "monitor.cli.read",
    "models": "monitor.cli.read",
    "demo": "monitor.cli.demo",
    "site": "monitor.cli.publish",
    "serve": "monitor.cli.publish",
    "alert": "monitor.cli.alert",
    "miniature": "monitor.cli.make",
    "reproduce": "monitor.cli.make",
    "doctor": "monitor.cli.doctor",
    "check-config": "monitor.cli.maintain",
    "disk-budget": "monitor.cli.maintain",
    "rejudge": "monitor.cli.maintain",
    "backup": "monitor.cli.maintain",
    "restore": "monitor.cli.maintain",
    "correct-clock": "monitor.cli.maintain",
}

JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
ENGINE = click.option(
    "--engine",
    type=click.Choice(["auto", "docker", "podman", "process"]),
    help="Engine that runs the containers, instead of the configured one. `process` isolates less, and its results "
    "form a separate history.",
)


@dataclass
class Options:
    """The options before the command; the configuration is read when a command first needs it."""

    config_file: Path | None

    @cached_property
    def config(self) -> Config:
        from monitor.config.load import load_config

        return load_config(self.config_file)

    @cached_property
    def home(self) -> Path:
        """The data directory; a command that only reads does not load a configuration that does not exist."""
        if self.config_file or "SETTLE_CONFIG" in os.environ or config_path(os.environ).exists():
            return self.config.home
        return effective_home(os.environ, default_home())

    def with_engine(self, engine: str | None) -> Config:
        return self.config.model_copy(update={"engine": engine}) if engine else self.config


class _LazyGroup(click.Group):
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
    cls=_LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog=examples("settle run --once", 'settle probe "Gemma 4" --as-of 2026-04-03', "settle status", "settle doctor"),
)
@click.option("--config", "config_file", type=click.Path(path_type=Path), help="Configuration file (TOML).")
@click.version_option(package_name="settle", prog_name="settle")
@click.pass_context
def settle(ctx: click.Context, config_file: Path | None) -> None:
    """Measure how long a newly released open model takes to work, and to keep working, in the common runtimes.

    Settle installs runtimes in containers, probes models in them, records pass and fail day by day in SQLite and
    computes the time to stable support. Results go to stdout, messages to stderr. Commands that read take `--json`.
    """
    ctx.obj = Options(config_file)
