"""A runtime is added in three places: a member of the enum, a recipe and an adapter; a copy of the tree shows it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.contract.conftest import make_wheel
from tests.standins.publishers import Publishers, wheel

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
MEMBER = '    TOY = "toy", RuntimeRecord(family="toy", repositories={"toy-box": "https://git.example/toy"})\n'
RECIPE = '''"""How toy is installed and run."""

from containers.recipe import Recipe, pinned

RECIPE = Recipe(
    runtime="toy", requirements=lambda version: (pinned("toy", version),), imported=frozenset({"toy"}), forks=True
)
'''
ADAPTER = """

from probes.runtimes import Adapter, imported_versions


class Toy(PlainRuntime, Adapter):
    abilities = ("checkpoint", "tokens")

    def load(self) -> dict[str, str]:
        import toy

        assert toy.READY
        return imported_versions("toy")


ADAPTER = Toy
"""
ASK = """
import json
from monitor.config.load import load_config
from monitor.discovery.releases import sources_of
from monitor.domain import Runtime
from monitor.schedule.today import stable_lines
from monitor.wire.bundle import suite_of
from probes import catalogue

config = load_config(None)
print(json.dumps({
    "runtimes": list(config.runtimes),
    "sources": [source.name for source in sources_of(config)],
    "lines": [line.runtime for line in stable_lines(config.runtimes)],
    "suites": len({suite_of(runtime) for runtime in Runtime}),
    "checks": [check.name for check in catalogue.sequence("toy")],
    "adapter": catalogue.adapter_class("toy").__name__,
}))
"""


CONTROL = "meta-llama/Llama-3.1-8B-Instruct"  # a llama, which the plain runtime knows


class Tree:
    """A copy of the packages with the toy in it; its commands see no file of the original."""

    def __init__(self, root: Path, index: str) -> None:
        self.root = root
        for package in ("monitor", "containers", "probes"):
            shutil.copytree(ROOT / package, root / package, ignore=shutil.ignore_patterns("__pycache__"))
        domain = root / "monitor" / "domain.py"
        before, marker, after = domain.read_text(encoding="utf-8").partition('    VLLM = "vllm", ')
        domain.write_text(f"{before}{MEMBER}{marker}{after}", encoding="utf-8")
        (root / "containers" / "recipes" / "toy.py").write_text(RECIPE, encoding="utf-8")
        plain = (ROOT / "tests" / "specimens" / "runtimes.py").read_text(encoding="utf-8")
        (root / "probes" / "runtimes" / "toy.py").write_text(plain + ADAPTER, encoding="utf-8")
        (root / "settle.toml").write_text(
            f'engine = "process"\nruntimes = ["toy"]\n[install]\nindex_url = "{index}"\n'
            f'python = "3.{sys.version_info.minor}"\n[disk]\nfloor_gib = 0.001\n',
            encoding="utf-8",
        )

    def run(self, code: str) -> subprocess.CompletedProcess[str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("UV_", "PIP_"))}
        return subprocess.run(
            [sys.executable, "-c", f"import sys; sys.path.insert(0, {str(self.root)!r})\n{code}"],
            cwd=self.root,
            env={**kept, "SETTLE_HOME": str(self.root / "home"), "SETTLE_CONFIG": str(self.root / "settle.toml")},
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
        )

    def settle(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return self.run(f"sys.argv[1:] = {list(arguments)!r}\nfrom monitor.cli import main\nmain()")


@pytest.fixture
def tree(tmp_path: Path) -> Iterator[Tree]:
    file = make_wheel(tmp_path, "toy", "1.0", requires=(), code="READY = True\n__version__ = '1.0'\n")
    listed = {"toy": [wheel(file.name, "2026-01-05T10:00:00Z")]}
    files = {f"/simple/toy/{file.name}": (200, file.read_bytes())}
    (tmp_path / "tree").mkdir()
    with Publishers(files=listed, answers=files, kind="application/octet-stream") as index:
        yield Tree(tmp_path / "tree", f"{index.url}/simple/")


def test_a_runtime_is_added_in_three_places(tree: Tree) -> None:
    checked = tree.settle("check-config")
    assert checked.returncode == 0, checked.stderr
    asked = tree.run(ASK)
    assert asked.returncode == 0, asked.stderr
    answer = json.loads(asked.stdout)
    assert "loads.model" in answer.pop("checks")
    assert answer == {
        "runtimes": ["toy"],
        "sources": ["index of toy", "tags of toy-box"],
        "lines": ["toy"],
        "suites": 7,
        "adapter": "Toy",
    }


def test_the_added_runtime_is_installed_and_probed(tree: Tree) -> None:
    probed = tree.settle("probe", CONTROL, "--runtime", "toy", "--json")
    assert probed.returncode == 0, probed.stderr
    first = json.loads(probed.stdout)["runs"][0]
    assert (first["cell"].partition("@")[2].partition("/")[0], first["version"]) == ("toy", "1.0")
    outcomes = {check["name"]: check["outcome"] for check in first["checks"]}
    assert [outcomes[name] for name in ("installs.imports", "loads.model", "generates.cache")] == ["passed"] * 3
    # the plain runtime ends texts with a token of its own, so the judge has a failure to read, too
    assert outcomes["generates.stop"] == "failed"
