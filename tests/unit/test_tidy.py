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
from containers.wheels import kept_wheel, note_wheel
from monitor.config.settings import Config
from monitor.daemon.disk_budget import tidy
from monitor.store import open_store

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from monitor.daemon.disk_budget import Tidied

MIB = 1 << 20


class Shop:
    """A home with wheels built from source, and environments whose locks need some of them."""

    def __init__(self, home: Path, store: Any) -> None:
        engine: Any = type("NoEngine", (), {"isolated": True})()
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

    def tidy(self, mib: float, *, dry_run: bool = False) -> Tidied:
        shop: Any = self
        return tidy(shop, budget_bytes=int(mib * MIB), dry_run=dry_run)


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    with open_store(tmp_path) as store:
        yield Shop(tmp_path, store)


def test_the_wheel_longest_unused_goes_first_and_no_further_than_it_must(shop: Shop) -> None:
    old, young = shop.wheel("old", age=20), shop.wheel("young", age=10)
    assert shop.tidy(3).things == []
    told = shop.tidy(1.5, dry_run=True)
    assert shop.wheels() == {old, young}
    done = shop.tidy(1.5)
    assert done.things == told.things
    assert [thing.what for thing in done.things] == ["old-1.0-py3-none-any.whl, built from source"]
    assert shop.wheels() == {young}
    assert [note.name for note in (shop.root / "wheels").glob("*.json")] == ["young.json"]
    assert done.after_bytes < 1.5 * MIB < done.before_bytes


def test_a_wheel_that_was_used_lately_is_not_the_first(shop: Shop) -> None:
    used = shop.wheel("used", age=20)
    shop.wheel("unused", age=10)
    assert kept_wheel(shop.root / "wheels" / "used.json") is not None  # as a resolution asks for it
    shop.tidy(1.5)
    assert shop.wheels() == {used}


def test_what_a_kept_environment_needs_stays_whatever_the_budget_is(shop: Shop) -> None:
    needed, gone, loose = shop.wheel("needed", age=30), shop.wheel("gone", age=20), shop.wheel("loose", age=10)
    kept = shop.environment(needed, age=1)
    removed = shop.environment(gone, age=5)
    assert shop.wheels() == {needed, gone, loose}
    shop.tidy(0)
    assert shop.wheels() == {needed}
    assert shop.environments.find(kept) is not None
    assert shop.environments.find(removed) is None


def test_the_package_cache_goes_before_any_wheel(shop: Shop) -> None:
    wheel = shop.wheel("loose", age=10)
    (shop.root / "cache" / "package").write_bytes(b"x" * 2 * MIB)
    assert [thing.what for thing in shop.tidy(1.5).things] == ["the package cache"]
    assert shop.wheels() == {wheel}


def test_an_unpacked_archive_goes_with_the_last_environment_that_needs_it_and_before_any_wheel(shop: Shop) -> None:
    needed, loose, wheel = shop.artefact("needed", age=30), shop.artefact("loose", age=20), shop.wheel("wheel", age=40)
    shop.environment(needed, age=1)
    assert [thing.what for thing in shop.tidy(3.5).things] == [f"an unpacked archive, {loose[:12]}"]
    assert [one.name for one in (shop.root / "artefacts").iterdir()] == [needed]
    assert shop.wheels() == {wheel}
