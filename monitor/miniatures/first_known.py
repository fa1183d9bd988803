"""The first release of transformers that registers each architecture, as ``python -m tools.refresh`` writes it."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class FirstKnown:
    """``release`` is ``<=4.49.0`` (and ``published`` None) for an architecture of the oldest release that was read."""

    model_type: str
    release: str
    published: date | None


def read_first_known(path: Path) -> dict[str, FirstKnown]:
    with path.open(encoding="utf-8", newline="") as file:
        return {
            row["model_type"]: FirstKnown(
                row["model_type"],
                row["release"],
                date.fromisoformat(row["published"]) if row["published"] else None,
            )
            for row in csv.DictReader(file)
        }
