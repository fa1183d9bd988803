"""What goes where a home is over its budget: real files in a real home, and only the engine is not there."""

from __future__ import annotations

import hashlib
import os
from typing import TYPE_CHECKING, Any

import pytest

from containers.environment import MARKER, seal
from containers.environments import Environments
from containers.lock import parse_lock
from containers.settings import InstallSettings
from containers.storage import note_wheel, noted_wheel
from monitor.config.settings import Config
from monitor.daemon.disk_budget import FreedSpace, apply_disk_budget
from monitor.store import open_store

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


MIB = 1 << 20


class Shop:
    """A home with wheels built from source, and environments whose locks need some of them."""

    def __init__(self, home: Path, store: Any) -> None:
        engine: Any = type("NoEngine", (), {"isolated": True, "mounts_read_only": True})()
        base: Any = None
        self.config = Config.model_validate({"home": str(home)})
        self.store = store
        self.environments = Environments(engine, base, home / "install", InstallSettings())
        self.root = home / "install"

    def wheel(self, name: str, *, age: int) -> str:
        content = name.encode() * (MIB // len(name))
        digest = hashlib.sha256(content).hexdigest()
        folder = self.root / "wheels" / digest
        folder.mkdir()
        file = folder / f"{name}-1.0-py3-none-any.whl"
        file.write_bytes(content)
        note_wheel(self.root / "wheels" / f"{name}.json", file)
        os.utime(folder, (1e9 - age, 1e9 - age))
        return digest

    def environment(self, *wheels: str, age: int) -> str:
        text = "".join(f"package{n}==1.0 --hash=sha256:{wheel}\n" for n, wheel in enumerate(wheels))
        lock = parse_lock(text, base_digest="base")
        folder = self.root / "envs" / lock.digest
        folder.mkdir()
        (folder / "file").write_bytes(b"x" * MIB)
        seal(folder, lock, seconds=1.0)
        os.utime(folder / MARKER, (1e9 - age, 1e9 - age))
        return lock.digest

    def artefact(self, name: str, *, age: int) -> str:
        digest = hashlib.sha256(name.encode()).hexdigest()
        program = self.root / "artefacts" / digest / "bin" / name
        program.parent.mkdir(parents=True)
        program.write_bytes(b"x" * MIB)
        os.utime(self.root / "artefacts" / digest, (1e9 - age, 1e9 - age))
        return digest

    def wheels(self) -> set[str]:
        return {folder.name for folder in (self.root / "wheels").iterdir() if folder.is_dir()}

    def apply_disk_budget(self, mib: float, *, dry_run: bool = False) -> FreedSpace:
        return apply_disk_budget(
            self.config, self.store, self.environments, budget_bytes=int(mib * MIB), dry_run=dry_run
        )


@pytest.fixture
def context(tmp_path: Path) -> Iterator[Shop]:
    with open_store(tmp_path) as store:
        yield Shop(tmp_path, store)


def test_the_wheel_longest_unused_goes_first_and_no_further_than_it_must(context: Shop) -> None:
    old, young = context.wheel("old", age=20), context.wheel("young", age=10)
    assert context.apply_disk_budget(3).items == []
    told = context.apply_disk_budget(1.5, dry_run=True)
    assert context.wheels() == {old, young}
    done = context.apply_disk_budget(1.5)
    assert done.items == told.items
    assert [thing.what for thing in done.items] == ["old-1.0-py3-none-any.whl, built from source"]
    assert context.wheels() == {young}
    assert [note.name for note in (context.root / "wheels").glob("*.json")] == ["young.json"]
    assert done.after_bytes < 1.5 * MIB < done.before_bytes


def test_a_wheel_that_was_used_lately_is_not_the_first(context: Shop) -> None:
    used = context.wheel("used", age=20)
    context.wheel("unused", age=10)
    assert noted_wheel(context.root / "wheels" / "used.json") is not None  # as a resolution asks for it
    context.apply_disk_budget(1.5)
    assert context.wheels() == {used}


def test_what_a_kept_environment_needs_stays_whatever_the_budget_is(context: Shop) -> None:
    needed, gone, loose = context.wheel("needed", age=30), context.wheel("gone", age=20), context.wheel("loose", age=10)
    kept = context.environment(needed, age=1)
    removed = context.environment(gone, age=5)
    assert context.wheels() == {needed, gone, loose}
    context.apply_disk_budget(0)
    assert context.wheels() == {needed}
    assert context.environments.find(kept) is not None
    assert context.environments.find(removed) is None


def test_the_package_cache_goes_before_any_wheel(context: Shop) -> None:
    wheel = context.wheel("loose", age=10)
    (context.root / "cache" / "package").write_bytes(b"x" * 2 * MIB)
    assert [thing.what for thing in context.apply_disk_budget(1.5).items] == ["the package cache"]
    assert context.wheels() == {wheel}


def test_an_unpacked_archive_goes_with_the_last_environment_that_needs_it_and_before_any_wheel(context: Shop) -> None:
    needed, loose, wheel = (
        context.artefact("needed", age=30),
        context.artefact("loose", age=20),
        context.wheel("wheel", age=40),
    )
    context.environment(needed, age=1)
    assert [thing.what for thing in context.apply_disk_budget(3.5).items] == [f"an unpacked archive, {loose[:12]}"]
    assert [one.name for one in (context.root / "artefacts").iterdir()] == [needed]
    assert context.wheels() == {wheel}
