"""What is deployed fits together, by the word of the tools that will read it where they are there."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from monitor.cli.root import COMMANDS
from monitor.config.load import reference
from monitor.config.settings import Config
from monitor.serve.health import patience_s

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
UNIT = (DEPLOY / "settle.service").read_text(encoding="utf-8")
COMPOSE = (DEPLOY / "compose.yaml").read_text(encoding="utf-8")
OPERATING = (ROOT / "docs" / "operating.md").read_text(encoding="utf-8")
DEFAULT = Config(home=Path("/nowhere"))


def seconds(text: str) -> int:
    number, unit = re.fullmatch(r"(\d+)(s|min)", text, re.ASCII).groups()  # type: ignore[union-attr] # or it fails here
    return int(number) * {"s": 1, "min": 60}[unit]


def value_of(key: str, text: str) -> str:
    (value,) = re.findall(rf"^ *{key}(?:=|: )([^\s#]+)", text, re.MULTILINE)
    return str(value)


def test_systemd_takes_the_unit(tmp_path: Path) -> None:
    if not (verify := shutil.which("systemd-analyze")):
        pytest.skip("systemd-analyze is missing, so the unit is unchecked")
    unit = tmp_path / "settle.service"
    unit.write_text(UNIT.replace("/opt/settle/bin/settle", str(shutil.which("true"))))
    done = subprocess.run([verify, "verify", str(unit)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


def test_compose_takes_the_file(tmp_path: Path) -> None:
    compose = _compose()
    if compose is None:
        pytest.skip("neither docker compose nor podman-compose is installed, so the file is unchecked")
    (tmp_path / "compose.yaml").write_text(COMPOSE)
    (tmp_path / "settle.toml").write_text("")
    done = subprocess.run(
        [*compose, "-f", str(tmp_path / "compose.yaml"), "config"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "/var/lib/settle" in done.stdout


def _compose() -> list[str] | None:
    for words in (["docker", "compose"], ["podman-compose"]):
        program = shutil.which(words[0])
        if (
            program
            and subprocess.run([program, *words[1:], "version"], capture_output=True, check=False).returncode == 0
        ):
            return [program, *words[1:]]
    return None


def test_the_stop_timeouts_are_longer_than_the_daemon_needs() -> None:
    assert seconds(value_of("TimeoutStopSec", UNIT)) >= 60
    assert seconds(value_of("stop_grace_period", COMPOSE)) >= 60
    assert seconds(value_of("WatchdogSec", UNIT)) > patience_s(DEFAULT)


def test_the_home_has_one_path_and_health_its_address() -> None:
    home = r"\$\{SETTLE_HOME:-/var/lib/settle\}"
    assert re.search(rf"^ +- {home}:{home}$", COMPOSE, re.MULTILINE)
    assert re.search(rf"^ +SETTLE_HOME: {home}$", COMPOSE, re.MULTILINE)
    assert f"http://{DEFAULT.daemon.listen}/healthz" in COMPOSE
    assert f"http://{DEFAULT.daemon.listen}/healthz" in OPERATING
    assert f"http://{DEFAULT.daemon.listen}/metrics" in OPERATING


def test_the_image_has_all_that_the_package_is_built_from() -> None:
    needed = {
        "pyproject.toml",
        "uv.lock",
        "README.md",
        "LICENSE",
        "monitor",
        "containers",
        "probes",
        "deploy/build-base",
        "docs/definitions.md",
        "docs/checks.md",
    }
    ignored = (DEPLOY / "Dockerfile.dockerignore").read_text(encoding="utf-8")
    image = (DEPLOY / "Dockerfile").read_text(encoding="utf-8")
    assert {line[1:] for line in ignored.splitlines() if line.startswith("!")} == needed
    copied = {word for line in re.findall(r"^COPY (.*)$", image, re.MULTILINE) for word in line.split()[:-1]}
    assert copied == needed


def test_what_the_page_for_operators_names_exists() -> None:
    commands = set(re.findall(r"(?:^|`)(?:SETTLE_HOME=\S+ )?settle ([a-z-]+)", OPERATING, re.MULTILINE))
    assert {"run", "backup", "restore"} <= commands <= set(COMMANDS)
    keys = {key for key, _, _ in reference()}
    named = set(re.findall(r"`((?:daemon|disk|limits|releases)\.\w+)`", OPERATING))
    assert named
    assert named <= keys
