"""`settle site`: the history as a folder of pages."""

from __future__ import annotations

import os
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
    from monitor.cli.render import talk_console
    from monitor.site.pages import make_site
    from monitor.site.publish import publish
    from monitor.store import open_reader

    # the estimates multiply many small matrices: threads that wait for one another took half of all the time
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    own = context.config.site
    with open_reader(context.config.home) as store:
        done = publish(make_site(store, url=context.config.alerts.link_base), folder)
    console = talk_console()
    console.print(
        f"{folder / 'index.html'}: {done.files} files, {done.changed} changed, {done.removed} removed",
        markup=False,
        soft_wrap=True,
    )
    if own.remote and not no_push:
        from monitor.site.push import push, redacted

        message = f"{done.changed} files changed, {done.removed} removed"
        pushed = push(folder, own.remote, own.branch, workshop=context.config.home / "site.git", message=message)
        said = "pushed to" if pushed else "nothing new for"
        console.print(f"{said} {redacted(own.remote)}, {own.branch}", markup=False, soft_wrap=True)
