"""The store of bytecode is shared by environments that do not trust each other: no package writes another's entry."""

from __future__ import annotations

import base64
import hashlib
import importlib.util
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from containers.inside import bytecode

if TYPE_CHECKING:
    from collections.abc import Mapping

VICTIM = {"victim/__init__.py": "WORD = 'good'\n", "victim/inner.py": "WORD = 'inner'\n"}


class Site:
    """A folder of installed packages; the lock has one hash for each of them."""

    def __init__(self, folder: Path, store: Path) -> None:
        self.folder, self.store = folder, store
        self.lock = ""
        folder.mkdir(parents=True)

    def add(
        self, name: str, files: Mapping[str, str], *, record: Mapping[str, str] | None = None, locked: bool = True
    ) -> Site:
        """Put a package in, as an installer does; ``record`` is what it claims, where that is not what it has."""
        for path, text in files.items():
            (self.folder / path).parent.mkdir(parents=True, exist_ok=True)
            (self.folder / path).write_text(text, encoding="utf-8")
        info = self.folder / f"{name}-1.0.dist-info"
        info.mkdir()
        claimed = files if record is None else record
        (info / "RECORD").write_text("".join(f"{path},{sha256(text)},{len(text)}\n" for path, text in claimed.items()))
        if locked:
            self.lock += f"{name}==1.0 \\\n    --hash=sha256:{hashlib.sha256(name.encode()).hexdigest()}\n"
        return self

    def compiled(self, how: str = "copy") -> Site:
        bytecode.main(self.folder, self.store, how, self.lock)
        assert not (self.folder / ".making").exists()
        return self

    def word(self, module: str = "victim") -> str:
        """Return what Python sees when it imports a module from here: bytecode, where there is some."""
        code = f"import sys; sys.path.insert(0, {str(self.folder)!r}); import {module}; print({module}.WORD)"
        return subprocess.run(
            [sys.executable, "-I", "-B", "-c", code], capture_output=True, text=True, check=True
        ).stdout.strip()

    def has_bytecode(self, path: str) -> bool:
        return Path(importlib.util.cache_from_source(str(self.folder / path), optimization="")).exists()


def sha256(text: str) -> str:
    digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()
    return f"sha256={digest}"


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return tmp_path / "store"


@pytest.mark.parametrize("how", ["copy", "hardlink"])
def test_a_package_is_compiled_once_for_all(tmp_path: Path, store: Path, how: str) -> None:
    one = Site(tmp_path / "one", store).add("victim", VICTIM).compiled(how)
    two = Site(tmp_path / "two", store).add("victim", VICTIM).add("other", {"other.py": "WORD = 1\n"}).compiled(how)
    assert all(site.has_bytecode(path) for site in (one, two) for path in VICTIM)
    assert (one.word(), two.word("victim.inner"), two.word("other")) == ("good", "inner", "1")
    assert len(list(store.glob("*/*"))) == 2


@pytest.mark.parametrize(
    "claimed",
    [
        VICTIM,
        {f"evil/../{path}": text for path, text in VICTIM.items()},
        {f"./{path}": text for path, text in VICTIM.items()},
        {f"../site/{path}": text for path, text in VICTIM.items()},
    ],
    ids=["the other's names", "through its own folder", "from here", "from outside"],
)
def test_a_package_that_claims_anothers_files_changes_no_other_environment(
    tmp_path: Path, store: Path, claimed: Mapping[str, str]
) -> None:
    """With the published hashes in its RECORD, and other files on the disk."""
    evil = dict.fromkeys(VICTIM, "WORD = 'evil'\n")
    Site(tmp_path / "site", store).add("evil", {**evil, "evil/__init__.py": ""}, record=claimed).compiled()
    good = Site(tmp_path / "good", store).add("victim", VICTIM).compiled()
    assert (good.word(), good.word("victim.inner")) == ("good", "inner")


def test_a_package_that_overwrites_another_changes_its_own_environment_alone(tmp_path: Path, store: Path) -> None:
    """As users get it: there the overwritten module is imported, and elsewhere the published one."""
    mixed = Site(tmp_path / "mixed", store).add("victim", VICTIM)
    mixed.add("evil", {"victim/__init__.py": "WORD = 'evil'\n"}).compiled()
    good = Site(tmp_path / "good", store).add("victim", VICTIM).compiled()
    assert (mixed.word(), good.word()) == ("evil", "good")
    assert mixed.word("victim.inner") == "inner"
    again = Site(tmp_path / "again", store).add("victim", VICTIM)  # and in the other order: the entry is there now
    assert again.add("evil", {"victim/__init__.py": "WORD = 'evil'\n"}, record={}).compiled().word() == "evil"
    assert not again.has_bytecode("victim/__init__.py")


def test_a_package_outside_of_the_lock_gives_nothing(tmp_path: Path, store: Path) -> None:
    Site(tmp_path / "one", store).add("victim", VICTIM, locked=False).compiled()
    assert not list(store.glob("*/*"))


def test_two_packages_of_one_name_give_nothing(tmp_path: Path, store: Path) -> None:
    site = Site(tmp_path / "one", store).add("victim", VICTIM)
    site.add("Victim", {"other.py": "WORD = 1\n"}).compiled()
    assert not list(store.glob("*/*"))
    assert site.word() == "good"


def test_equal_files_of_another_wheel_have_an_entry_of_their_own(tmp_path: Path, store: Path) -> None:
    Site(tmp_path / "one", store).add("victim", VICTIM).compiled()
    other = Site(tmp_path / "two", store).add("victim", VICTIM)
    other.lock = other.lock.replace("sha256:", "sha256:0")
    other.compiled()
    assert len(list(store.glob("*/*"))) == 2


@pytest.mark.parametrize(
    "content", [b"\xff\xfe", b'"', b"a.py,sha256=" + b"x" * (1 << 20) + b",1\n", b"a.py,sha256=%,1\n"]
)
def test_a_record_that_is_none_ends_nothing(tmp_path: Path, store: Path, content: bytes) -> None:
    site = Site(tmp_path / "one", store).add("victim", VICTIM).add("odd", {"a.py": "WORD = 1\n"})
    (site.folder / "odd-1.0.dist-info" / "RECORD").write_bytes(content)
    assert site.compiled().word("a") == "1"
    assert site.has_bytecode("victim/__init__.py")


def test_bytecode_that_a_package_brings_along_stays(tmp_path: Path, store: Path) -> None:
    site = Site(tmp_path / "one", store).add("victim", VICTIM)
    brought = Path(importlib.util.cache_from_source(str(site.folder / "victim/inner.py"), optimization=""))
    brought.parent.mkdir()
    brought.write_bytes(b"brought")
    site.compiled("hardlink")
    assert brought.read_bytes() == b"brought"
