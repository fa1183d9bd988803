"""Why a runtime's numbers differ from the reference's: what people found out, by the runtime's family."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from importlib.resources import files

from monitor.domain import Runtime, family_of


@dataclass(frozen=True, slots=True)
class ParityCause:
    """One architecture's difference; ``family`` is of runtimes that share their code."""

    family: str
    architecture: str
    found: str

    @property
    def runtimes(self) -> tuple[Runtime, ...]:
        return tuple(runtime for runtime in Runtime if family_of(runtime) == self.family)


def load_parity_causes() -> tuple[ParityCause, ...]:
    text = (files("monitor") / "data" / "parity_causes.toml").read_text(encoding="utf-8")
    return tuple(
        ParityCause(row["family"], architecture, row["found"])
        for row in tomllib.loads(text)["cause"]
        for architecture in row["architectures"]
    )
