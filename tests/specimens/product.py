"""Runs the real `settle` as a user would, in a home of its own, and hands back what it answered."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import docker
import pytest

from containers.processes import home_digest

if TYPE_CHECKING:
    from collections.abc import Mapping

SETTLE = Path(sys.executable).with_name("settle")
SECONDS = 300
# skipped for a plain model: it is published as it is probed, takes neither images nor sounds, has no heads for several
# tokens, and its templates and stop tokens have no flaw
NO_USE = frozenset(
    ("loads.published", "generates.ahead", "generates.images", "generates.sounds", "speaks.templates", "speaks.ends")
)
DEFAULTS: Mapping[str, Mapping[str, Any]] = {
    "limits": {"check_seconds": 60, "import_seconds": 120, "memory_gib": 3, "subject_memory_gib": 2},
    "disk": {"floor_gib": 0.001},
}


@dataclass(frozen=True)
class Answer:
    by_hand: str  # the command, as a person would type it
    exit_code: int
    said: str  # talk: what went to stderr
    data: Any
    seconds: float

    def settled(self, subject: str) -> dict[str, Any]:
        return next(one for cell, one in self.data["settled"].items() if cell.partition("@")[0] == subject)

    def runs(self, subject: str) -> list[dict[str, Any]]:
        return [run for run in self.data["runs"] if run["cell"].partition("@")[0] == subject]


def answered(by_hand: str, exit_code: int, said: str, out: str, seconds: float) -> Answer:
    return Answer(by_hand, exit_code, said, json.loads(out) if out else None, seconds)


def absent(why: str) -> None:
    """Skip, or fail where everything has to be there."""
    if os.environ.get("CI") == "true":
        pytest.fail(why)
    pytest.skip(why)


@dataclass(frozen=True)
class Product:
    """One home; ``configuration`` is what every call has in its file, by section."""

    home: Path
    files: Path  # configuration files, one a call, so that a call can be repeated by hand
    configuration: Mapping[str, Mapping[str, Any]] = field(default_factory=lambda: DEFAULTS)
    engine: str = "docker"
    seconds: float = SECONDS

    def ask(self, *arguments: str, env: Mapping[str, str] | None = None, **sections: Mapping[str, Any]) -> Answer:
        """Run one command with ``--json`` to its end."""
        process, by_hand = self.start(*arguments, env=env, **sections)
        began = time.monotonic()
        try:
            out, said = process.communicate(timeout=self.seconds)
        finally:
            process.kill()
        return answered(by_hand, process.returncode, said, out, time.monotonic() - began)

    def start(
        self, *arguments: str, env: Mapping[str, str] | None = None, **sections: Mapping[str, Any]
    ) -> tuple[subprocess.Popen[str], str]:
        argv = [str(SETTLE), "--config", str(self._file(sections)), *arguments, "--json"]
        extra = {"SETTLE_HOME": str(self.home), **(env or {})}
        process = subprocess.Popen(
            argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**os.environ, **extra}
        )
        prefix = " ".join(f"{name}={shlex.quote(value)}" for name, value in extra.items())
        return process, f"{prefix} {shlex.join(argv)}"

    def query(self, sql: str) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = self.ask("query", sql).data
        return rows

    def by_hand(self, run: str) -> str:
        return f"SETTLE_HOME={shlex.quote(str(self.home))} settle show {run}"

    def containers(self) -> list[str]:
        """Return the containers of this home, running or not."""
        client = docker.from_env()
        try:
            found = client.containers.list(all=True, filters={"label": f"settle.home={home_digest(self.home)}"})
            return [f"{one.short_id} {one.labels.get('settle.role')} {one.status}" for one in found]
        finally:
            client.close()

    def leftovers(self) -> list[str]:
        """Return whatever a finished command should have taken away with it."""
        places = [*self.home.glob("install/envs/.*"), *self.home.glob("install/work/*"), *self.home.glob("sessions/*")]
        return [*map(str, places), *(self.containers() if self.engine == "docker" else ())]

    def _file(self, sections: Mapping[str, Mapping[str, Any]]) -> Path:
        names = {*self.configuration, *sections}
        merged = {name: {**self.configuration.get(name, {}), **sections.get(name, {})} for name in sorted(names)}
        lines = [f"engine = {json.dumps(self.engine)}"]
        for name, values in merged.items():
            lines += [f"[{name}]", *(f"{key} = {json.dumps(value)}" for key, value in values.items())]
        number = len(list(self.files.iterdir()))
        file = self.files / f"settle-{number}.toml"
        file.write_text("\n".join(lines) + "\n", encoding="utf-8")
        return file
