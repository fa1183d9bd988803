"""Reads the known causes of differences from the reference's numbers, by the runtime's family."""

from __future__ import annotations

import tomllib
from importlib.resources import files

from monitor.judge.parity import ParityCause


def load_parity_causes() -> tuple[ParityCause, ...]:
    text = (files("monitor") / "data" / "parity_causes.toml").read_text(encoding="utf-8")
    return tuple(
        ParityCause(row["family"], architecture, row["finding"])
        for row in tomllib.loads(text)["cause"]
        for architecture in row["architectures"]
    )
