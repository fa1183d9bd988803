"""`settle site` and `settle serve`: the history as pages."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import click

from monitor.cli.root import Options, examples


@click.command(epilog=examples("settle site ./public", "settle site /srv/www/settle --no-push"))
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--no-push", is_flag=True, help="Do not push to the git remote of [site].")
@click.pass_obj
def site(options: Options, *, folder: Path, no_push: bool) -> None:
    """Write the history as pages into FOLDER, which any web server or browser can open.

    The overview, each model day by day, each cell with its checks, log and known-good lock, failures by signature,
    times to support, badges, a feed and JSON. The pages need neither network nor JavaScript. FOLDER becomes a link to
    a folder next to it, so that a new site replaces the old one in one step. With `remote` in [site] the pages are
    also committed and pushed. Subjects that are local folders are left out.
    """
    from monitor.progress import ConsoleProgress
    from monitor.site.publish import publish_pages
    from monitor.store import open_reader

    with open_reader(options.config.home) as store:
        publish_pages(options.config, store, ConsoleProgress(), folder=folder, push=not no_push)


@click.command(epilog=examples("settle serve", "settle serve --port 0", "settle serve --host 0.0.0.0 --site ./public"))
@click.option("--host", help="Address to listen on, instead of serve.host (127.0.0.1).")
@click.option("--port", type=click.IntRange(0, 65535), help="Port, instead of serve.port; 0 picks a free port.")
@click.option("--site", type=click.Path(path_type=Path, file_okay=False), help="Folder, instead of site.folder.")
@click.pass_obj
def serve(options: Options, *, host: str | None, port: int | None, site: Path | None) -> None:
    """Serve the site, the history as SQL (/sql/), /healthz and /metrics to browsers.

    Everything is read-only, and a query may take five seconds. By default only this machine can connect. There are no
    passwords: put an authenticating proxy in front before others may connect.

    SIGTERM or Ctrl-C ends it cleanly; it can run at the same time as the daemon.
    """
    from monitor.cli import Stopped
    from monitor.cli.output import message_console
    from monitor.serve.app import SQL, web_app
    from monitor.serve.health import RecordedPulse, health_of
    from monitor.serve.metrics import metrics_of
    from monitor.serve.server import address_of, listen, serve_until_stopped
    from monitor.serve.sql import history_app
    from monitor.store import open_reader

    config = options.config
    folder = site or config.site.folder or config.home / "site"
    with open_reader(config.home) as store:
        database = store.path  # it exists and is a database of Settle
    pulse = RecordedPulse(config.home)
    bound = listen(host or config.serve.host, config.serve.port if port is None else port)
    app = web_app(
        folder.absolute(),
        history_app(database, base=SQL),
        health=lambda: health_of(config.home, pulse),
        metrics=metrics_of(config.home, pulse),
    )
    with suppress(Stopped):  # the server has ended cleanly by then
        message = f"serving {address_of(bound)}/ until Ctrl-C"
        serve_until_stopped(app, bound, ready=lambda: message_console().print(message, soft_wrap=True))
