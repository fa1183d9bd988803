"""Each third-party library has one owner, so that replacing it is a change in one place."""

from __future__ import annotations

import ast
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
OWNERS = {
    "apprise": ["monitor/alerts/sending.py"],
    "click": ["monitor/cli/"],
    "datasette": ["monitor/serve/sql.py"],
    "docker": ["containers/"],
    "git": ["monitor/sources/git_refs.py", "monitor/site/push.py"],
    "httpx": ["monitor/sources/web.py", "monitor/sources/hub_http.py"],  # what is whole, and what is read in part
    "jinja2": ["monitor/miniatures/template.py", "monitor/site/render.py"],
    "markdown_it": ["monitor/site/render.py"],
    "matplotlib": ["monitor/site/support_curve.py"],
    "numpy": [
        "monitor/stability/",
        "probes/runtimes/",
        "probes/bits.py",
        "probes/forms.py",
    ],  # a probe imports that of its environment
    "platformdirs": ["monitor/config/paths.py"],
    "prometheus_client": ["monitor/serve/metrics.py"],
    "pydantic": [
        "monitor/config/load.py",
        "monitor/config/settings.py",
        "monitor/wire/events.py",
        "monitor/sources/",
        "monitor/store/backup.py",
    ],
    "pypi_simple": ["monitor/sources/index.py"],
    "rich": ["monitor/cli/"],
    "sqlite3": ["monitor/store/"],
    "sqlite_utils": ["monitor/store/"],
    "starlette": ["monitor/serve/"],
    "uv": ["containers/installer.py"],
    "uvicorn": ["monitor/serve/server.py"],
}


@cache
def imports() -> tuple[tuple[str, str], ...]:
    return tuple(_imports())


def _imports() -> Iterator[tuple[str, str]]:
    for room in ("monitor", "containers", "probes"):
        for file in (ROOT / room).rglob("*.py"):
            for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
                names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
                if isinstance(node, ast.ImportFrom) and node.level == 0:
                    names = [node.module or ""]
                yield from ((str(file.relative_to(ROOT)), name.partition(".")[0]) for name in names)


@pytest.mark.parametrize("library", OWNERS)
def test_a_library_has_one_owner(library: str) -> None:
    users = {file for file, name in imports() if name == library}
    assert users, f"nobody imports {library}: drop it here and from pyproject.toml"
    assert not {file for file in users if not file.startswith(tuple(OWNERS[library]))}


def test_no_command_that_reads_waits_for_an_estimator() -> None:
    """Not even by way of a library: those two take longer to import than all the rest."""
    code = "import sys, monitor.store, monitor.cli.read; print(sorted({'pandas', 'numpy'} & set(sys.modules)))"
    code += "; import numpy; print(numpy.ones(2).sum())"  # and whoever wants one has it
    asked = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert asked.stdout.split() == ["[]", "2.0"]
