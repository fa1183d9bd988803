"""Which files of a model's folder a probe sees: data and nothing that can be run, and no link that leads out."""

from __future__ import annotations

import os
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING

from monitor.errors import NotACheckpoint

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

# what loading, converting and serving read; a list of what is allowed, because any other format may hold a program
DATA = (
    "*.bpe", "*.codes", "*.gguf", "*.jinja", "*.json", "*.jsonl", "*.model", "*.safetensors", "*.spm", "*.tiktoken",
    "*.txt", "*.vocab", "*.model.v[0-9]", "*.model.v[0-9][0-9]", "*.model.v[0-9]m[0-9]",
)  # fmt: skip
_MOST_ENTRIES = 10_000
_DEEPEST = 8


@dataclass(frozen=True, slots=True)
class ShownFiles:
    """``files`` are the real files by the name below the folder; ``withheld`` names all others, top ones first."""

    files: Mapping[str, Path]
    withheld: tuple[str, ...] = ()
    leading_out: tuple[str, ...] = ()  # of the withheld: links to something outside of the folder
    is_whole: bool = True  # there is nothing else in the folder: it can be shown as it is


def shown_files(folder: Path) -> ShownFiles:
    """Sort the files of a folder. Raises NotACheckpoint where there are too many to look at."""
    files: dict[str, Path] = {}
    withheld: list[str] = []
    leading_out: list[str] = []
    is_whole = True
    for name, entry in _entries(folder):
        path = Path(entry.path)
        if Path(name).name.startswith("."):
            is_whole = False  # a repository's own administration: no loader reads it
        elif not is_data(entry.name) or not _is_file(entry):
            withheld.append(name)
        elif not entry.is_symlink():
            files[name] = path
        elif (target := path.resolve()).is_file() and _belongs(target, folder.resolve()):
            files[name] = target
            is_whole = False  # where the folder lies in a container, its links lead nowhere
        else:
            withheld.append(name)
            leading_out.append(name)
    is_whole = is_whole and not withheld
    withheld.sort(key=lambda name: (name.count("/"), name))
    return ShownFiles(dict(sorted(files.items())), tuple(withheld), tuple(leading_out), is_whole)


def is_data(name: str) -> bool:
    return any(fnmatchcase(name.lower(), pattern) for pattern in DATA)


def _entries(folder: Path) -> Iterator[tuple[str, os.DirEntry[str]]]:
    """Yield everything but folders, with the name below ``folder``; hidden folders are yielded and not entered."""
    waiting, seen = [""], 0
    while waiting:
        inner = waiting.pop()
        try:
            entries = sorted(os.scandir(folder / inner), key=lambda entry: entry.name)
        except OSError:  # gone, or closed to us
            continue
        for entry in entries:
            seen += 1
            name = f"{inner}{entry.name}"
            if seen > _MOST_ENTRIES or name.count("/") > _DEEPEST:
                raise NotACheckpoint(
                    f"{folder} holds more than {_MOST_ENTRIES} files, or folders more than {_DEEPEST} deep",
                    hint="give a folder that holds a checkpoint and nothing else",
                )
            if entry.is_dir(follow_symlinks=False) and not entry.name.startswith("."):
                waiting.append(f"{name}/")
            else:
                yield name, entry


def _is_file(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_file()
    except OSError:
        return False


def _belongs(target: Path, folder: Path) -> bool:
    """Return whether a link's target is the folder's: inside it, or in the hub cache that the folder is a part of."""
    return target.is_relative_to(folder) or (
        folder.parent.name == "snapshots" and target.is_relative_to(folder.parents[1] / "blobs")
    )
