"""The built wheel works where it is installed: away from the checkout, as a tool of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from containers.installer import uv_program

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

ROOT = Path(__file__).parents[2]
LIMIT_S = 300


def uv(*arguments: str, env: Mapping[str, str] | None = None) -> str:
    done = subprocess.run(
        [uv_program(), "--quiet", *arguments], env=env, capture_output=True, text=True, check=False, timeout=LIMIT_S
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dist")
    uv("build", "--wheel", "--out-dir", str(folder), str(ROOT))
    (built,) = folder.glob("settle-*.whl")
    return built


@pytest.fixture(scope="module")
def settle(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Return a function that runs the installed command in a folder away from the checkout."""
    folder = tmp_path_factory.mktemp("installed")
    ours = ("PYTHON", "VIRTUAL_ENV", "SETTLE")
    env = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    env |= {"UV_TOOL_DIR": str(folder / "tools"), "UV_TOOL_BIN_DIR": str(folder / "bin")}
    locked = folder / "locked.txt"  # the versions of the checkout, which are in uv's cache already
    uv("export", "--project", str(ROOT), "--frozen", "--no-dev", "--no-hashes", "--no-emit-project", "-o", str(locked))
    uv("tool", "install", "--python", sys.executable, "--constraints", str(locked), str(wheel), env=env)
    env |= {name: str(folder / name) for name in ("XDG_CACHE_HOME", "XDG_CONFIG_HOME", "SETTLE_HOME")}

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [str(folder / "bin" / "settle"), *arguments],
            cwd=folder,
            env=env,
            capture_output=True,
            text=True,
            check=False,
            timeout=LIMIT_S,
        )

    return run


def test_the_wheel_holds_the_program_and_no_tools(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    assert {name.partition("/")[0] for name in names if ".dist-info/" not in name} == {
        "monitor",
        "containers",
        "probes",
    }
    assert {"monitor/py.typed", "containers/py.typed", "probes/py.typed", "containers/build-base"} <= names


def test_the_demo_opens_its_history(settle: Callable[..., subprocess.CompletedProcess[str]]) -> None:
    demo = settle("demo")
    assert demo.returncode == 0, demo.stderr
    assert "transformers" in demo.stdout


def test_the_doctor_examines_this_machine(settle: Callable[..., subprocess.CompletedProcess[str]]) -> None:
    """Whatever it finds: an index may be missing here, which is a finding and exit code 5, never a traceback."""
    doctor = settle("doctor", "--engine", "process", "--json")
    assert doctor.returncode in (0, 5), doctor.stderr
    findings = {finding["subject"]: finding for finding in json.loads(doctor.stdout)}
    assert findings.keys() >= {"engine", "disk", "certificates", "index", "clock", "memory"}
    assert findings["engine"]["state"] == "good"
    assert all(finding["message"] and (finding["fix"] or finding["state"] == "good") for finding in findings.values())
