"""`settle export` and `settle copy`: the commands that take the history elsewhere."""

from __future__ import annotations

from pathlib import Path

import click

from monitor.cli.root import JSON, Options, examples
from monitor.errors import UsageError
from monitor.store.snapshot import EXPORTED


@click.command(
    epilog=examples(
        "settle export ./history",
        "settle export ./history --format json",
        "settle export history.csv --only history",
        "settle export everything.json",
    )
)
@click.argument("target", metavar="FOLDER|FILE", type=click.Path(path_type=Path))
@click.option(
    "--format", "form", type=click.Choice(["csv", "json"]), help="Default: what the file is called; else csv."
)
@click.option("--only", type=click.Choice(EXPORTED), multiple=True, help="Only this view; repeatable.")
@JSON
@click.pass_obj
def export(options: Options, *, target: Path, form: str | None, only: tuple[str, ...], as_json: bool) -> None:
    """Write the views current, history, matrix, by_release, parity and flips as CSV or JSON.

    Into FOLDER goes a file a view; FILE ends in .json and holds them all by name, or ends in .csv and holds one. All of
    it is the history of one moment, whatever is recorded meanwhile, and a file appears whole or not at all.
    """
    from monitor.cli.exporting import export_views
    from monitor.cli.output import message_console, write_json
    from monitor.store import open_reader

    is_file = target.suffix in {".csv", ".json"}
    form = form or (target.suffix[1:] if is_file else "csv")
    if is_file and target.suffix != f".{form}":
        raise UsageError(f"{target} is not called after {form}", hint=f"call it {target.with_suffix('.' + form)}")
    chosen = only or EXPORTED
    if is_file and form == "csv" and len(chosen) > 1:
        raise UsageError("one CSV file holds one view", hint=f"say --only {chosen[0]}, or name a folder")
    with open_reader(options.home) as store:
        written = export_views(store, chosen, target, form=form, one_file=is_file)
    if as_json:
        write_json([{"path": str(path.absolute()), "rows": rows} for path, rows in written.items()])
        return
    for path, rows in written.items():
        message_console().print(f"{path}: {rows} rows", markup=False, soft_wrap=True)


@click.command(epilog=examples("settle copy settle-copy.db", "settle copy /backup/settle.db --replace"))
@click.argument("target", metavar="FILE", type=click.Path(path_type=Path))
@click.option("--replace", is_flag=True, help="Replace an earlier copy.")
@JSON
@click.pass_obj
def copy(options: Options, *, target: Path, replace: bool, as_json: bool) -> None:
    """Copy the database, consistent as of one moment, while the daemon runs.

    That one file is all that SQL can ask. `settle backup` also keeps the raw events and the logs, to be restored.
    """
    from monitor.cli.output import message_console, write_json
    from monitor.store.copying import copy_database

    size = copy_database(options.home, target, replace=replace)
    if as_json:
        write_json({"path": str(target.absolute()), "bytes": size})
    else:
        message_console().print(f"{target}: {size / 1e6:.1f} MB", markup=False, soft_wrap=True)
