"""`settle miniature` and `settle reproduce`: a checkpoint and a script to use outside Settle."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from monitor.cli.root import JSON, Options, examples
from monitor.errors import InfraError, UsageError

if TYPE_CHECKING:
    from monitor.miniatures.manifest import Miniature


@click.command(
    epilog=examples(
        "settle miniature config.json",
        "settle miniature config.json --out ./tiny && settle probe ./tiny",
        "settle miniature google/gemma-4-31B-it --out ./gemma4-tiny",
    )
)
@click.argument("source", metavar="CONFIG|MODEL")
@click.option("--out", type=click.Path(path_type=Path), help="Folder to create. Default: NAME-miniature.")
@click.option("--release", metavar="VERSION", default="", help="Release of transformers that creates the weights.")
@JSON
@click.pass_obj
def miniature(options: Options, *, source: str, out: Path | None, release: str, as_json: bool) -> None:
    """Write a miniature: a tiny model with random weights and a real model's architecture.

    CONFIG is your config.json: Settle shrinks its sizes, creates weights in a container with the first release that
    knows the architecture, and adds a tokenizer. MODEL is a model of the catalogue, which needs no container.
    """
    from monitor.cli.output import message_console, write_json
    from monitor.miniatures.writer import write_miniature
    from monitor.subjects.catalogue import load_catalogue
    from monitor.subjects.made_folder import mark

    path = Path(source)
    if path.exists():
        name = (path if path.is_dir() else path.resolve().parent).resolve().name
        target = _new_folder(out or Path(f"{name}-miniature"))
        made = _derived(options, path, release)
    elif source.endswith(".json"):
        raise UsageError(f"there is no file {source}", hint="give a config.json, or a model that `settle models` lists")
    else:
        from monitor.miniatures.manifest import load_miniature

        entry = load_catalogue().find(source).entry
        made = load_miniature(entry.miniatures[0])
        target = _new_folder(out or Path(f"{made.slug}-miniature"))
    written = write_miniature(made, target.parent.absolute() / f".{target.name}-aside")
    mark(written, made)
    written.rename(target)
    written.parent.rmdir()
    size = sum(file.stat().st_size for file in target.iterdir())
    if as_json:
        write_json({"path": str(target.absolute()), "digest": written.name, "bytes": size, "parts": made.parts})
    else:
        console = message_console()
        console.print(
            f"{target}: {made.architecture}, {size / 1e6:.1f} MB, derived with {made.derived_with}", markup=False
        )
        for sentence in (*made.not_measured.values(), *(flaw.message for flaw in made.flaws)):
            console.print(sentence, markup=False)
        console.print(f"next: settle probe {target if target.is_absolute() else f'./{target}'}", markup=False)


@click.command(epilog=examples("settle reproduce 3f9c2a1b77de > run.sh", "sh run.sh"))
@click.argument("run")
@click.pass_obj
def reproduce(options: Options, *, run: str) -> None:
    """Print a self-contained shell script that repeats RUN by hand.

    The script needs the same Python version and nothing else. It installs the stored lock with its hashes by pip, which
    takes your index and proxy from its configuration, writes the subject, and runs the same checks in a plain process.
    """
    from monitor import verdicts
    from monitor.report.reproduce import script
    from monitor.store import open_reader

    with open_reader(options.home) as store:
        sys.stdout.write(script(store, verdicts.run_detail(store, run)))


def _derived(options: Options, path: Path, release: str) -> Miniature:
    """Derive a miniature of a user's configuration, as discovery does it of a published one."""
    from monitor.discovery.miniatures import miniature_of_files, newest_installable
    from monitor.miniatures.derive import NotDerived
    from monitor.miniatures.manifest import USERS_CONFIG
    from monitor.progress import ConsoleProgress
    from monitor.runner.context import open_context
    from monitor.runner.derive import read_files

    files = read_files(path)
    with open_context(options.config, ConsoleProgress()) as context:
        newest = release or newest_installable(context.store, context.deriver)
        made = miniature_of_files(files, deriver=context.deriver, newest=newest, origin=USERS_CONFIG, release=release)
    if isinstance(made, NotDerived):
        raise InfraError(
            f"no miniature could be made: {made.reason}",
            hint="name a release that knows the architecture with --release; else our shrinking may not fit it",
        )
    return made


def _new_folder(target: Path) -> Path:
    if target.exists():
        raise UsageError(f"{target} already exists", hint="name another folder with --out")
    return target
