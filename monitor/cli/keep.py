"""`settle backup` and `settle restore`: the history as one file that can be kept elsewhere."""

from __future__ import annotations

from pathlib import Path

import click

from monitor.cli.root import Options, examples

FILE = click.argument("file", type=click.Path(path_type=Path))


@click.command(epilog=examples("settle backup /srv/backups/settle-$(date +%F).tar"))
@FILE
@click.pass_obj
def backup(options: Options, *, file: Path) -> None:
    """Copy the whole history into FILE, a tar archive, while the daemon goes on.

    It holds the database as of one moment, the raw events and the logs. Environments, caches and subjects can be made
    again and are left out; so are the configuration and its secrets.
    """
    from monitor.cli.output import message_console
    from monitor.store.backup import back_up

    held = back_up(options.config.home, file.absolute())
    size = file.stat().st_size / (1 << 20)
    message_console().print(
        f"{file}: {size:.1f} MiB, with {held.events} files of events and {held.logs} of logs", soft_wrap=True
    )


@click.command(epilog=examples("SETTLE_HOME=/var/lib/settle settle restore /srv/backups/settle-2026-04-01.tar"))
@FILE
@click.pass_obj
def restore(options: Options, *, file: Path) -> None:
    """Bring a backup back into an empty home, and its database up to date.

    Every part is compared with what it should be; nothing is taken from a backup that is damaged, and a home that holds
    anything is left alone.
    """
    from monitor.cli.output import message_console
    from monitor.store.backup import restore as bring_back

    held = bring_back(file.absolute(), options.config.home)
    message_console().print(
        f"{options.config.home}: the database, {held.events} files of events and {held.logs} of logs are back",
        soft_wrap=True,
    )
