"""`settle site`: the history as a folder of pages."""

from __future__ import annotations

from pathlib import Path

import click

from monitor.cli.root import Context, examples


@click.command(epilog=examples("settle site ./public", "settle site /srv/www/settle --no-push"))
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--no-push", is_flag=True, help="Leave the git remote of [site] alone.")
@click.pass_obj
def site(context: Context, *, folder: Path, no_push: bool) -> None:
    """Write the history as pages into FOLDER, to be read from there or served by anything.

    The overview, each model day by day, each cell with its checks, log and known-good lock, failures by signature,
    times to support, badges, a feed and JSON. They need neither network nor JavaScript. FOLDER becomes a link to a
    folder beside it, so that a new site takes the old one's place at once. With `remote` in [site] the pages are
    committed and pushed as well. Subjects that are folders of your own are left out.
    """
    from monitor.progress import ConsoleProgress
    from monitor.site.publishing import publish_pages
    from monitor.store import open_reader

    with open_reader(context.config.home) as store:
        publish_pages(context.config, store, ConsoleProgress(), folder=folder, push=not no_push)
