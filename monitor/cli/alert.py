"""`settle alert`: who is told of what, and whether it arrives."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click

from monitor.cli.read import JSON
from monitor.cli.root import Context, examples
from monitor.errors import ConfigError, InfraError, UnknownName

if TYPE_CHECKING:
    from collections.abc import Sequence

    from monitor.config.settings import Config, Target

_COLUMNS = ("id", "written_at", "target", "severity", "state", "attempts", "title", "problem")


@click.group(epilog=examples("settle alert test", "settle alert list"))
def alert() -> None:
    """Try the targets of `[alerts]`, and list what was told and what is still to be sent.

    News is written into the database's outbox in the transaction that marks it as told, and sent from there, so that a
    crash neither loses nor doubles it. Where only the other side can know whether a message arrived, it is sent again
    and says that it may be a repetition.
    """


@alert.command(name="test", epilog=examples("settle alert test", "settle alert test --target ops"))
@click.option("--target", "name", metavar="NAME", help="Only this target.")
@JSON
@click.pass_obj
def test_targets(context: Context, *, name: str | None, as_json: bool) -> None:
    """Send a test message to each target, now and past the outbox; exit code 5 where one does not arrive."""
    from monitor.alerts.message import message
    from monitor.alerts.sending import Arrival, send
    from monitor.alerts.values import Alert, Item, Kind
    from monitor.cli.output import data_console, write_json
    from monitor.domain import Severity

    targets = _targets(context.config, name)
    line = f"a test from settle at {datetime.now(UTC):%Y-%m-%d %H:%M} UTC: whoever reads this will be told"
    said = message(Alert(Kind.TEST, (Item(key="", kind=Kind.TEST, line=line),)))
    told = {one.name: send(one.url.get_secret_value(), said, Severity.INFO, os.environ) for one in targets}
    if as_json:
        write_json([{"target": to, "arrival": str(one.arrival), "problem": one.problem} for to, one in told.items()])
    else:
        for to, one in told.items():
            why = f": {one.problem}" if one.problem else ""
            data_console().print(f"{to} {one.arrival}{why}", markup=False, soft_wrap=True)
    lost = [to for to, one in told.items() if one.arrival is not Arrival.ARRIVED]
    if lost:
        raise InfraError(f"not told: {', '.join(lost)}", hint="each line above says why; the address is in [alerts]")


@alert.command(name="list", epilog=examples("settle alert list", "settle alert list --json | jq '.[] | .title'"))
@click.option("--most", type=click.IntRange(min=1), default=50, show_default=True, help="Newest messages to list.")
@JSON
@click.pass_obj
def list_messages(context: Context, *, most: int, as_json: bool) -> None:
    """List the outbox, newest first: what was sent to whom, what waits to be tried again and why."""
    from monitor.cli.output import talk_console, write_json, write_table
    from monitor.store import open_reader

    with open_reader(context.config.home) as store:
        found = store.outbox.letters(most=most)
    if as_json:
        write_json([row | {"may_have_arrived": bool(row["may_have_arrived"])} for row in found])
        return
    write_table(_COLUMNS, [[row[column] for column in _COLUMNS] for row in found])
    waiting = sum(row["state"] not in {"sent", "given-up"} for row in found)
    talk_console().print(f"{len(found)} messages, {waiting} of them still to be sent")


def _targets(config: Config, name: str | None) -> Sequence[Target]:
    targets = config.alerts.targets
    if not targets:
        raise ConfigError(
            "nobody is told of anything: [alerts] has no target",
            hint="add [[alerts.targets]] with name and url, as deploy/settle.example.toml shows",
        )
    if name is None:
        return targets
    chosen = [one for one in targets if one.name == name]
    if not chosen:
        raise UnknownName("target", name, [one.name for one in targets])
    return chosen
