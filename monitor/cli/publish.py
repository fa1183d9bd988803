"""`settle serve`: the command that shows a home to browsers."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import click

from monitor.cli.root import Context, examples
from monitor.cli.stopping import Stopped

if TYPE_CHECKING:
    from monitor.serve.app import Health


@click.command(epilog=examples("settle serve", "settle serve --port 0", "settle serve --host 0.0.0.0 --site ./public"))
@click.option("--host", help="Address to listen on, instead of serve.host (127.0.0.1).")
@click.option("--port", type=click.IntRange(0, 65535), help="Port, instead of serve.port; 0 is any that is free.")
@click.option("--site", type=click.Path(path_type=Path, file_okay=False), help="Folder, instead of site.folder.")
@click.pass_obj
def serve(context: Context, *, host: str | None, port: int | None, site: Path | None) -> None:
    """Show the site, the history as SQL (/sql/), /healthz and /metrics of the home to browsers.

    Nothing can be written through it; a question to the history may take five seconds. It listens on this machine
    alone unless told otherwise, and knows no passwords: what others may reach goes behind a proxy that does.

    Ends cleanly with SIGTERM or Ctrl-C; it can run beside the daemon.
    """
    from monitor.cli.output import talk_console
    from monitor.daemon.metrics import metrics_of
    from monitor.serve.app import SQL, web_app
    from monitor.serve.server import listen, serve_until_stopped
    from monitor.serve.sql import history_app
    from monitor.store import open_reader

    config = context.config
    folder = site or config.site.folder or config.home / "site"
    with open_reader(config.home) as store:
        database = store.path  # it is there, and it is ours
    bound = listen(host or config.serve.host, config.serve.port if port is None else port)
    name, number, *_ = bound.getsockname()
    address = f"http://{f'[{name}]' if ':' in name else name}:{number}/"
    app = web_app(
        folder.absolute(),
        history_app(database, base=SQL),
        health=lambda: health_of(config.home),
        metrics=metrics_of(config.home, None),
    )
    with suppress(Stopped):  # it has ended by then, and that is what was asked for
        serve_until_stopped(
            app, bound, ready=lambda: talk_console().print(f"serving {address} until Ctrl-C", soft_wrap=True)
        )


def health_of(home: Path) -> Health:
    """Return that the database can be read, and what was recorded last; how old that may be others decide."""
    from monitor.errors import SettleError
    from monitor.serve.app import Health
    from monitor.store import open_reader

    try:
        with open_reader(home) as store:
            return Health(well=True, told=store.last_recorded())
    except SettleError as error:
        return Health(well=False, told={"problem": str(error)})
