"""Gives every module of an environment its bytecode, compiled once per package and shared by all environments.

Run as ``python -I bytecode.py SITE_PACKAGES STORE hardlink|copy LOCK``. Compiling torch and transformers takes longer
than all other steps of an installation, and saves seconds in every process that imports them: so it is done once per
package, not once per environment. The files are never checked against their sources (UNCHECKED_HASH), because an
environment never changes.

What a package says of itself counts for itself alone: its entry in the store hangs on the sha256 that the lock has for
it, and a module counts only where the file on the disk has the sha256 that its own package names. A package that claims
another one's files, or puts its files over them, so changes no other environment.
"""

import base64
import binascii
import concurrent.futures
import contextlib
import csv
import hashlib
import importlib.util
import json
import os
import py_compile
import re
import shutil
import sys
import warnings
from pathlib import Path, PurePosixPath

SHA256 = "sha256="


def locked(lock: str) -> "dict[str, list[str]]":
    """Return the hashes of every package of a lock, by its normalized name."""
    hashes = {}
    for line in re.sub(r"\\\s*\n", " ", lock).splitlines():
        match = re.match(r"\s*([A-Za-z0-9][A-Za-z0-9._-]*)\s*(?:==|@)", line)
        if match:
            hashes[normalized(match[1])] = sorted(re.findall(r"--hash[= ](\S+)", line))
    return hashes


def normalized(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def records(site: Path, hashes: "dict[str, list[str]]") -> "dict[str, Path]":
    """Return the RECORD of each package of the lock, by name; none where two claim the name."""
    by_name: dict[str, list[Path]] = {}
    for info in site.glob("*.dist-info"):
        by_name.setdefault(normalized(info.name.partition("-")[0]), []).append(info / "RECORD")
    return {name: files[0] for name, files in sorted(by_name.items()) if name in hashes and len(files) == 1}


def sources(record: Path) -> "list[tuple[str, str]]":
    """Return (path in site-packages, sha256) of a package's modules: of those that have one and lie inside."""
    try:
        with record.open(newline="", encoding="utf-8") as lines:
            rows = [(row[0], row[1]) for row in csv.reader(lines) if len(row) >= 2]  # noqa: PLR2004 - path and hash
    except (OSError, ValueError, csv.Error):
        return []
    return sorted({row for row in rows if is_module(row[0]) and row[1].startswith(SHA256)})


def is_module(name: str) -> bool:
    path = PurePosixPath(name)
    inside = not path.is_absolute() and ".." not in path.parts and str(path) == name and "\\" not in name
    return inside and name.endswith(".py") and "__pycache__" not in path.parts


def compiled_name(source: str) -> str:
    return importlib.util.cache_from_source(source, optimization="")


def has_content(file: str, sha256: str) -> bool:
    """Return whether a file has the hash that its package's RECORD names."""
    try:
        digest = base64.urlsafe_b64decode(sha256[len(SHA256) :] + "==")
        return hashlib.sha256(Path(file).read_bytes()).digest() == digest
    except (OSError, ValueError, binascii.Error):
        return False


def compile_module(job: "tuple[str, str, str]") -> bool:
    """Check a module, and compile it where a target is given; return whether it is what its package names."""
    source, sha256, target = job
    if not has_content(source, sha256):
        return False
    if target:
        with warnings.catch_warnings(), contextlib.suppress(py_compile.PyCompileError, OSError, ValueError):
            warnings.simplefilter("ignore")  # warnings about old packages' code are no concern of ours
            py_compile.compile(
                source, cfile=target, doraise=True, invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH
            )
    return True


def place(entry: Path, site: Path, names: "list[str]", how: str) -> None:
    for name in names:
        compiled = compiled_name(name)
        stored = entry / compiled
        if stored.exists():  # a module that does not compile has none
            target = site / compiled
            target.parent.mkdir(parents=True, exist_ok=True)
            if target.exists():  # the package brings its bytecode along
                continue
            if how == "hardlink":
                os.link(stored, target)
            else:
                shutil.copyfile(stored, target)


def main(site: Path, store: Path, how: str, lock: str) -> None:
    store = store / f"{sys.implementation.cache_tag}-{importlib.util.MAGIC_NUMBER.hex()}"
    store.mkdir(parents=True, exist_ok=True)
    hashes = locked(lock)
    packages = {}
    for name, record in records(site, hashes).items():
        rows = sources(record)
        key = hashlib.sha256(json.dumps([name, hashes[name], rows]).encode()).hexdigest()
        packages[store / key] = rows
    missing = {entry for entry in packages if not entry.is_dir()}
    making = site / ".making"  # inside what is being built, so that it goes with it when this process is killed
    asides = {entry: making / entry.name for entry in missing}
    making.mkdir()
    for aside in asides.values():
        aside.mkdir()
    modules = [(entry, name, sha256) for entry, rows in packages.items() for name, sha256 in rows]
    jobs = [
        (str(site / name), sha256, str(asides[entry] / compiled_name(name)) if entry in missing else "")
        for entry, name, sha256 in modules
    ]
    with concurrent.futures.ProcessPoolExecutor(max_workers=len(os.sched_getaffinity(0))) as pool:
        right = list(pool.map(compile_module, jobs, chunksize=32))
    # an entry that lacks what was changed here would be wrong for the environments where it is not
    changed = {modules[number][0] for number, is_right in enumerate(right) if not is_right}
    for entry, aside in asides.items():
        if entry not in changed:
            try:
                aside.rename(entry)
            except OSError:  # another installer was faster
                shutil.rmtree(aside)
    names: dict[Path, list[str]] = {entry: [] for entry in packages}
    for number, is_right in enumerate(right):
        if is_right:
            entry, name, _ = modules[number]
            names[entry].append(name)
    for entry, those in names.items():
        place(asides[entry] if entry in changed & missing else entry, site, those, how)
    shutil.rmtree(making)
    count = sum(1 for _, _, target in jobs if target)
    print(f"bytecode: {count} modules compiled, {len(packages) - len(missing)} of {len(packages)} packages shared")  # noqa: T201 - its log


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3], Path(sys.argv[4]).read_text(encoding="utf-8"))
