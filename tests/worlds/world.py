"""A world: one home, the real `settle` in it as a process of its own, and what can be seen of both from outside."""

from __future__ import annotations

import gzip
import json
import os
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import docker

from containers.processes import home_digest, marks

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

SETTLE = Path(sys.executable).with_name("settle")
SECONDS = 400
# one model that breaks, or nothing would be confirmed; the others are small and quick
MODELS = ("llama", "Qwen/Qwen3-8B", "HuggingFaceTB/SmolLM3-3B", "microsoft/phi-4")
CYCLE = ("run", "--once", "--runtime", "transformers", *(word for model in MODELS for word in ("--only", model)))
# what is said when a phase begins; the first is there as soon as the process is
PHASES: Mapping[str, re.Pattern[str]] = {
    "resolving": re.compile(r"resolving the newest"),
    "building": re.compile(r"packages, resolved in"),
    "probing": re.compile(r"installed environment|is there already"),
    "confirming": re.compile(r"once more"),
}
ACKNOWLEDGED = re.compile(r"\[\d+/\d+\] (\S+) (?:works|broken|flaky|unknown) ")
FACTS = ("environments", "resolutions", "sessions", "endings", "runs", "facts", "carries", "departures")
# what a history says, without the names and times that differ from one home to the next
MATRIX = (
    "SELECT subject, current.version, current.verdict, current.rung, current.reason, current.blame, current.fault,"
    " step, day_rungs.rung, day_rungs.verdict, day_rungs.reason FROM current"
    " JOIN days ON days.cell_id = cell AND days.day = current.day"
    " JOIN day_rungs ON day_rungs.cell_id = cell AND day_rungs.day = coalesce(days.carried_from, days.day)"
    " WHERE platform LIKE ? ORDER BY subject, step"
)
# Which repetition shares its session depends on who else needs one, and a kill may leave a cell by itself.
ATTEMPTS = "SELECT cell_id, purpose, max(solo), count(*) AS runs FROM runs GROUP BY 1, 2 ORDER BY 1, 2"


@dataclass
class Running:
    """One `settle` at work, in a process group of its own."""

    process: subprocess.Popen[bytes]
    progress: Path
    out: Path
    began: float = field(default_factory=time.monotonic)

    @property
    def said(self) -> str:
        return self.progress.read_text(encoding="utf-8")

    def wait_for(self, pattern: re.Pattern[str]) -> bool:
        """Wait until it says something; False when it ends before."""
        while not pattern.search(self.said):
            if self.process.poll() is not None:
                return bool(pattern.search(self.said))
            assert time.monotonic() - self.began < SECONDS, self.said
            time.sleep(0.02)
        return True

    def lives_after(self, seconds: float) -> bool:
        try:
            self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            return True
        return False

    def kill(self) -> None:
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def ended(self) -> int:
        return self.process.wait(SECONDS)


@dataclass(frozen=True)
class World:
    home: Path
    config: Path
    engine: str = "docker"

    def start(self, *arguments: str) -> Running:
        progress, out = self.home / "talk.txt", self.home / "out.txt"
        engine = ("--engine", self.engine) if arguments[0] in {"run", "probe", "replay"} else ()
        with progress.open("wb") as stderr, out.open("wb") as stdout:
            process = subprocess.Popen(
                [str(SETTLE), "--config", str(self.config), *arguments, *engine],
                stdin=subprocess.DEVNULL,
                stdout=stdout,
                stderr=stderr,
                env={**os.environ, "SETTLE_HOME": str(self.home)},
                start_new_session=True,
            )
        return Running(process, progress, out)

    def cycle(self) -> Running:
        """Hold a whole cycle, to its end."""
        running = self.start(*CYCLE)
        assert running.ended() == 0, running.said
        return running

    def ask(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run a command beside whatever runs here."""
        return subprocess.run(
            [str(SETTLE), "--config", str(self.config), *arguments],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            env={**os.environ, "SETTLE_HOME": str(self.home)},
            timeout=SECONDS,
            check=False,
        )

    def forget(self) -> None:
        """Begin a new history; cache and environments stay."""
        for file in self.home.glob("settle.*"):
            file.unlink()
        for folder in ("events", "logs"):
            shutil.rmtree(self.home / folder, ignore_errors=True)

    def lose_environments(self) -> None:
        for folder in self.home.glob("install/envs/*"):
            shutil.rmtree(folder)

    def rows(self, sql: str, *values: object) -> list[tuple[Any, ...]]:
        with closing(sqlite3.connect(self.home / "settle.db", timeout=30)) as db:
            return db.execute(sql, values).fetchall()

    def facts(self) -> dict[str, Counter[tuple[Any, ...]]]:
        """Return every fact that is in the database now."""
        if not (self.home / "settle.db").exists():
            return {}
        with closing(sqlite3.connect(self.home / "settle.db", timeout=30)) as db:
            there = {name for (name,) in db.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")}
            return {name: Counter(db.execute(f"SELECT * FROM {name}")) for name in FACTS if name in there}  # noqa: S608 - the constants above

    def matrix(self) -> list[tuple[Any, ...]]:
        platform = "process" if self.engine == "process" else "container"
        return self.rows(MATRIX, f"%-{platform}")

    def attempts(self) -> list[tuple[Any, ...]]:
        return self.rows(ATTEMPTS)

    def damage(self) -> list[str]:
        """Return what is wrong with the database and the files it names."""
        with closing(sqlite3.connect(self.home / "settle.db", timeout=30)) as db:
            said = [f"integrity: {text}" for (text,) in db.execute("PRAGMA integrity_check") if text != "ok"]
            said += [f"foreign key: {row}" for row in db.execute("PRAGMA foreign_key_check")]
        for digest in self._kept():
            try:
                gzip.decompress((self.home / digest).read_bytes())
            except (OSError, EOFError) as error:
                said.append(f"{digest}: {error}")
        return said

    def leftovers(self) -> list[str]:
        """Return what a finished command should have taken away with it: containers, processes, half-made folders."""
        patterns = (
            *("install/envs/.*", "install/work/*", "install/bytecode/*/.*"),
            *("sessions/*", "scratch/*", "*/.writing/*"),
        )
        return [*(str(path) for pattern in patterns for path in self.home.glob(pattern)), *self._at_work()]

    def _at_work(self) -> Iterator[str]:
        yield from (f"process {pid}" for pid, mark in marks().items() if mark.startswith(home_digest(self.home)))
        if self.engine == "docker":
            with closing(docker.from_env()) as client:
                label = f"settle.home={home_digest(self.home)}"
                for one in client.containers.list(all=True, filters={"label": label}):
                    yield f"container {one.short_id} {one.labels.get('settle.role')} {one.status}"

    def _kept(self) -> Iterator[str]:
        for column, table, folder in (
            ("events_digest", "runs", "events"),
            ("request_digest", "sessions", "events"),
            ("log_digest", "endings", "logs"),
        ):
            for (digest,) in self.rows(f"SELECT {column} FROM {table} WHERE {column} <> ''"):  # noqa: S608 - the constants above
                yield f"{folder}/{digest[:2]}/{digest}.gz"


def write_config(path: Path, install: Mapping[str, Sequence[str]]) -> None:
    lines = [f"{key} = {json.dumps(list(values))}" for key, values in install.items()]
    path.write_text("\n".join(["[disk]", "floor_gib = 0.1", "[install]", *lines, ""]), encoding="utf-8")
