"""Gives every module of an environment its bytecode, compiled once per package and shared by all environments.

Run as ``python -I bytecode.py SITE_PACKAGES STORE hardlink|copy``. Compiling torch and transformers takes longer than
all other steps of an installation, and saves seconds in every process that imports them: so it is done once per
package, not once per environment. The files are never checked against their sources (UNCHECKED_HASH), because an
environment never changes.
"""

import concurrent.futures
import contextlib
import csv
import hashlib
import importlib.util
import os
import py_compile
import shutil
import sys
import warnings
from pathlib import Path


def sources(record: Path) -> "list[tuple[str, str]]":
    """Return (path in site-packages, hash) of a package's modules."""
    with record.open(newline="", encoding="utf-8") as lines:
        rows = [(row[0], row[1]) for row in csv.reader(lines) if len(row) >= 2]  # noqa: PLR2004 - path and hash
    return sorted(row for row in rows if row[0].endswith(".py") and not row[0].startswith(("..", "/")) and row[1])


def compiled_name(source: str) -> str:
    return importlib.util.cache_from_source(source, optimization="")


def compile_module(job: "tuple[str, str]") -> None:
    source, target = job
    with warnings.catch_warnings(), contextlib.suppress(py_compile.PyCompileError, OSError, ValueError):
        warnings.simplefilter("ignore")  # warnings about old packages' code are no concern of ours
        py_compile.compile(
            source, cfile=target, doraise=True, invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH
        )


def place(entry: Path, site: Path, names: "list[str]", how: str) -> None:
    for name in names:
        compiled = compiled_name(name)
        stored = entry / compiled
        if stored.exists():  # a module that does not compile has none
            target = site / compiled
            target.parent.mkdir(parents=True, exist_ok=True)
            if how == "hardlink":
                with contextlib.suppress(FileExistsError):
                    os.link(stored, target)
            else:
                shutil.copyfile(stored, target)


def main(site: Path, store: Path, how: str) -> None:
    store = store / f"{sys.implementation.cache_tag}-{importlib.util.MAGIC_NUMBER.hex()}"
    store.mkdir(parents=True, exist_ok=True)
    packages = {}
    for record in site.glob("*.dist-info/RECORD"):
        rows = sources(record)
        key = hashlib.sha256("\n".join(map("=".join, rows)).encode()).hexdigest()
        packages[store / key] = [name for name, _hash in rows]
    missing = {entry: names for entry, names in packages.items() if not entry.is_dir()}
    making = site / ".making"  # inside what is being built, so that it goes with it when this process is killed
    asides = {entry: making / entry.name for entry in missing}
    jobs = [
        (str(site / name), str(asides[entry] / compiled_name(name)))
        for entry, names in missing.items()
        for name in names
    ]
    making.mkdir()
    for aside in asides.values():
        aside.mkdir()
    with concurrent.futures.ProcessPoolExecutor(max_workers=len(os.sched_getaffinity(0))) as pool:
        for _done in pool.map(compile_module, jobs, chunksize=32):
            pass
    for entry, aside in asides.items():
        try:
            aside.rename(entry)
        except OSError:  # another installer was faster
            shutil.rmtree(aside)
    making.rmdir()
    for entry, names in packages.items():
        place(entry, site, names, how)
    print(f"bytecode: {len(jobs)} modules compiled, {len(packages) - len(missing)} of {len(packages)} packages shared")  # noqa: T201 - its log


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3])
