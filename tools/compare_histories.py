"""Compares what two versions of settle report of the shipped histories: the numbers must be equal, words may differ.

For maintainers, after a change that should change no number::

    python -m tools.compare_histories --write DIR     # what this checkout reports of both histories
    python -m tools.compare_histories OLD_DIR NEW_DIR # exit code 1 where they differ
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

SETTLE = Path(sys.executable).with_name("settle")
HISTORIES = {"history": (), "runtimes": ("--runtimes",)}
OUTPUTS = {
    "report": ("report", "--json"),
    "status": ("status", "--json"),
    "matrix": ("query", "SELECT * FROM matrix", "--json"),
    "parity": ("query", "SELECT * FROM parity", "--json"),
    "current": ("query", "SELECT * FROM current", "--json"),
    "by_release": ("query", "SELECT * FROM by_release", "--json"),
    "flips": ("query", "SELECT cell_id, day, before, after, confirmed FROM flips ORDER BY 1, 2, 4", "--json"),
}
RENAMED_FIELDS: dict[str, str] = {}  # before: now
RENAMED_VALUES = {"bench": "infra"}  # of a blame; before: now
RENAMED_PREFIXES = {"bench-": "infra-"}  # of a fault; before: now
SENTENCES = frozenset({"reason", "note", "caveats", "cause", "message"})  # only whether there is one is compared
_SHOWN = 20


def main(arguments: Sequence[str]) -> int:
    match arguments:
        case ["--write", folder]:
            write(Path(folder))
            return 0
        case [old, new]:
            return compare(Path(old), Path(new))
    sys.exit(str(__doc__))


def write(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for history, options in HISTORIES.items():
        for name, command in OUTPUTS.items():
            answer = subprocess.run([str(SETTLE), "demo", *options, *command], stdout=subprocess.PIPE, check=True)
            (folder / f"{history}.{name}.json").write_bytes(answer.stdout)


def compare(old: Path, new: Path) -> int:
    """Print what differs; return 1 where anything does."""
    failed = False
    for file in (f"{history}.{name}.json" for history in HISTORIES for name in OUTPUTS):
        missing = [str(folder) for folder in (old, new) if not (folder / file).exists()]
        if missing:
            click.echo(f"{file}: missing in {', '.join(missing)}")
            failed = True
            continue
        before, after = (json.loads((folder / file).read_text(encoding="utf-8")) for folder in (old, new))
        lines = list(differences(today(before), after))
        failed = failed or bool(lines)
        click.echo(f"{file}: {len(lines)} differences among {sum(1 for _ in values(after))} values")
        for line in lines[:_SHOWN]:
            click.echo(f"  {line}")
    return int(failed)


def today(value: Any, field: str = "") -> Any:
    """Return a value of the old version by the names of the new one."""
    if isinstance(value, dict):
        return {RENAMED_FIELDS.get(name, name): today(below, name) for name, below in value.items()}
    if isinstance(value, list):
        return [today(below, field) for below in value]
    if field == "blame":
        return RENAMED_VALUES.get(value, value)
    if field == "fault":
        for former, now in RENAMED_PREFIXES.items():
            value = re.sub(rf"^{former}", now, value)
    return value


def differences(before: Any, after: Any, path: str = "") -> Iterator[str]:
    if path.rpartition(".")[2] in SENTENCES:
        if bool(before) != bool(after):
            yield f"{path}: {before!r} is now {after!r}"
    elif isinstance(before, dict) and isinstance(after, dict):
        for name in sorted(before.keys() | after.keys()):
            if name in before and name in after:
                yield from differences(before[name], after[name], f"{path}.{name}")
            else:
                yield f"{path}.{name}: {'missing now' if name in before else 'new'}"
    elif isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        for number, (left, right) in enumerate(zip(before, after, strict=True)):
            yield from differences(left, right, f"{path}[{number}]")
    elif before != after:
        yield f"{path}: {before!r} is now {after!r}"[:200]


def values(tree: Any) -> Iterator[Any]:
    if isinstance(tree, dict | list):
        for below in tree.values() if isinstance(tree, dict) else tree:
            yield from values(below)
    else:
        yield tree


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
