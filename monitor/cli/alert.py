"""`settle alert`: tests the targets of alerts, and lists the messages to them."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click

from monitor.cli.root import JSON, Options, examples
from monitor.errors import ConfigError, InfraError, UnknownName

if TYPE_CHECKING:
    from collections.abc import Sequence

    from monitor.config.settings import Config, Target

_COLUMNS = ("id", "written_at", "target", "severity", "state", "attempts", "title", "problem")


@click.group(epilog=examples("settle alert test", "settle alert list"))
def alert() -> None:
    """Test the targets of `[alerts]`, and list sent and waiting messages.

    Each message enters the database's outbox in the transaction that marks its news as announced, and is sent from
    there, so that a crash neither loses nor repeats it. If only the receiving side can know whether a message arrived,
    it is sent again and says that it may be a repetition.
    """


@alert.command(name="test", epilog=examples("settle alert test", "settle alert test --target ops"))
@click.option("--target", "name", metavar="NAME", help="Only this target.")
@JSON
@click.pass_obj
def test_targets(options: Options, *, name: str | None, as_json: bool) -> None:
    """Send a test message to each target at once; the exit code is 5 if any does not arrive."""
    from monitor.alerts.message import message
    from monitor.alerts.sending import Arrival, send
    from monitor.alerts.values import Alert, Item, Kind
    from monitor.cli.output import data_console, write_json
    from monitor.domain import Severity

    targets = _targets(options.config, name)
    line = f"Test message from settle, {datetime.now(UTC):%Y-%m-%d %H:%M} UTC: alerts reach this target."
    text = message(Alert(Kind.TEST, (Item(key="", kind=Kind.TEST, line=line),)))
    sent = {target.name: send(target.url.get_secret_value(), text, Severity.INFO, os.environ) for target in targets}
    if as_json:
        write_json([{"target": to, "arrival": str(row.arrival), "problem": row.problem} for to, row in sent.items()])
    else:
        for to, row in sent.items():
            problem = f": {row.problem}" if row.problem else ""
            data_console().print(f"{to} {row.arrival}{problem}", markup=False, soft_wrap=True)
    lost = [to for to, row in sent.items() if row.arrival is not Arrival.ARRIVED]
    if lost:
        raise InfraError(f"not delivered: {', '.join(lost)}", hint="each line above has the reason; check [alerts]")


@alert.command(name="list", epilog=examples("settle alert list", "settle alert list --json | jq '.[] | .title'"))
@click.option("--limit", type=click.IntRange(min=1), default=50, show_default=True, help="Number of messages to list.")
@JSON
@click.pass_obj
def list_messages(options: Options, *, limit: int, as_json: bool) -> None:
    """List the outbox, newest first: messages sent, messages waiting, and the reason of each failure."""
    from monitor.cli.output import message_console, write_json, write_table
    from monitor.store import open_reader

    with open_reader(options.config.home) as store:
        rows = store.outbox.letters(most=limit)
    if as_json:
        write_json([row | {"may_have_arrived": bool(row["may_have_arrived"])} for row in rows])
        return
    write_table(_COLUMNS, [[row[column] for column in _COLUMNS] for row in rows])
    waiting = sum(row["state"] not in {"sent", "given-up"} for row in rows)
    message_console().print(f"{len(rows)} messages, {waiting} of them waiting")


def _targets(config: Config, name: str | None) -> Sequence[Target]:
    targets = config.alerts.targets
    if not targets:
        raise ConfigError(
            "[alerts] has no target",
            hint="add [[alerts.targets]] with name and url, as deploy/settle.example.toml shows",
        )
    chosen = [target for target in targets if name in (None, target.name)]
    if not chosen:
        raise UnknownName("target", str(name), [target.name for target in targets])
    return chosen
