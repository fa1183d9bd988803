"""One home for all specimens, with its cache kept from session to session and its history made anew in each."""

from __future__ import annotations

import os
import shutil
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from containers.connect import connect
from containers.environment import MARKER
from containers.errors import EngineUnavailable
from containers.settings import settings_from_environment
from tests.specimens import llamacpp_packages
from tests.specimens.packages import build_wheels
from tests.specimens.product import DEFAULTS, Product, absent

if TYPE_CHECKING:
    from collections.abc import Iterator

KEPT_SECONDS = 86400  # an environment that nobody used for a day holds yesterday's packages
CACHE = Path(__file__).parents[2] / ".settle-test"


@pytest.fixture(scope="session")
def wheels() -> list[str]:
    """Return the folders of wheels: this machine's own, and that of the specimens."""
    folder = CACHE / "specimen-wheels"
    shutil.rmtree(folder, ignore_errors=True)
    build_wheels(folder)
    build_wheels(folder, packages=llamacpp_packages.PACKAGES)
    return [*settings_from_environment(os.environ).find_links, str(folder)]


@pytest.fixture(scope="session")
def docker_product(wheels: list[str]) -> Product:
    home = CACHE / "specimens"
    home.mkdir(parents=True, exist_ok=True)
    try:
        connect("docker", home=home).sweep()  # a session that was killed is no fault of this one
    except EngineUnavailable as error:
        absent(f"{error}; {error.hint}")
    for file in home.glob("settle.db*"):
        file.unlink()
    shutil.rmtree(home / "logs", ignore_errors=True)
    for marker in home.glob(f"install/envs/*/{MARKER}"):
        if time.time() - marker.stat().st_mtime > KEPT_SECONDS:
            shutil.rmtree(marker.parent)
    files = CACHE / "specimen-calls"
    shutil.rmtree(files, ignore_errors=True)
    files.mkdir()
    return Product(home, files, {**DEFAULTS, "install": {"find_links": wheels}})


@pytest.fixture
def product(docker_product: Product) -> Iterator[Product]:
    """Lend the product, and hold every test to leaving nothing behind."""
    yield docker_product
    assert docker_product.leftovers() == []


@pytest.fixture
def process_product(docker_product: Product) -> Iterator[Product]:
    product = replace(docker_product, engine="process")
    yield product
    assert product.leftovers() == []


@pytest.fixture(scope="session")
def good_folder(docker_product: Product, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write a good checkpoint, the one that every broken one is made from."""
    folder = tmp_path_factory.mktemp("checkpoints") / "good"
    answer = docker_product.ask("miniature", "Qwen/Qwen3-8B", "--out", str(folder))
    assert answer.exit_code == 0, answer.said
    return folder
