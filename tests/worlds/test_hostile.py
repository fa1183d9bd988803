"""The daemon lives through a thousand hostile answers of hub and index, and none of them is blamed on a runtime."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from datetime import date, timedelta
from random import Random
from typing import TYPE_CHECKING

import pytest

from monitor.store import open_reader
from tests.standins.hostile import HostileServer

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.soak
ANSWERS = 1000
FIRST = date(2026, 6, 1)
LAST = FIRST + timedelta(days=60)
LONGEST_S = 1500.0
SUBJECT = "Qwen/Qwen3-8B"


@pytest.mark.timeout(LONGEST_S + 120)
@pytest.mark.parametrize("seed", [1])
def test_a_daemon_survives_a_thousand_hostile_answers(tmp_path: Path, seed: int) -> None:
    home, days = tmp_path / "home", tmp_path / "days"
    days.mkdir()
    for number in range((LAST - FIRST).days + 1):
        (days / f"{FIRST + timedelta(days=number)}.let-in").touch()
    with HostileServer(Random(seed), drip_s=3) as server, (tmp_path / "log").open("wb") as log:  # noqa: S311 - repeatable
        config = tmp_path / "settle.toml"
        config.write_text(_CONFIG.format(home=home, url=server.url), encoding="utf-8")
        command = [sys.executable, "-m", "tests.worlds.living", str(config), str(days), str(FIRST), str(LAST), SUBJECT]
        environment = {**os.environ, "HF_TOKEN": "", "UV_FIND_LINKS": "", "PIP_CONFIG_FILE": os.devnull}
        process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, env=environment)
        try:
            until = time.monotonic() + LONGEST_S
            while (
                server.answers.total() < ANSWERS
                or min(server.answers[kind] for kind in ("hub", "index")) < ANSWERS // 10
            ):
                assert process.poll() is None, _end_of(tmp_path / "log")
                assert time.monotonic() < until, f"{server.answers}\n{_end_of(tmp_path / 'log')}"
                time.sleep(0.2)
            print(f"survived {dict(server.answers)}")  # noqa: T201 - the soak shows its counts
        finally:
            process.terminate()
            code = process.wait(timeout=60)
    assert code == 128 + 15, _end_of(tmp_path / "log")
    assert "Traceback" not in (tmp_path / "log").read_text(encoding="utf-8", errors="replace")
    with open_reader(home) as store:
        assert {row["blame"] for row in store.history() if row["verdict"] == "broken"} <= {None}


def _end_of(log: Path) -> str:
    return log.read_text(encoding="utf-8", errors="replace")[-4000:]


_CONFIG = """
home = "{home}"
engine = "process"
runtimes = ["transformers", "vllm", "ollama"]
[install]
index_url = "{url}/simple"
find_links = []
[releases]
poll_minutes = 5
nightlies = "{url}"
registry = "{url}"
[releases.repositories]
transformers = ""
vllm = ""
llama_cpp = ""
ollama = ""
[hub]
endpoint = "{url}"
organisations = ["acme", "other"]
models = ["acme/three"]
poll_minutes = 5
[limits]
install_seconds = 30
[daemon]
listen = ""
tick_seconds = 60
"""
