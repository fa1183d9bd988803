"""The script that repeats a run by hand: what an index has comes by its hash, what was built here is built again."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from monitor.domain import Isolation, Platform, Runtime
from monitor.report.reproduce import _without_local_wheels
from monitor.store import EnvironmentRecord

if TYPE_CHECKING:
    from pathlib import Path

OURS, THEIRS = "a" * 64, "b" * 64


def test_what_was_built_here_is_no_index_to_find(tmp_path: Path) -> None:
    (tmp_path / OURS).mkdir()
    lock = f"docopt==0.6.2 --hash=sha256:{OURS}\ntransformers==5.4.0 --hash=sha256:{THEIRS}\n"
    platform = Platform("3.11", "cpu", Isolation.CONTAINER)
    record = EnvironmentRecord(
        "e", Runtime.TRANSFORMERS, "5.4.0", platform, "b", lock, {}, datetime(2026, 4, 1, tzinfo=UTC)
    )
    rest, sources = _without_local_wheels(record, tmp_path)
    assert sources == [("docopt", "0.6.2")]
    assert rest.replace(" \\\n   ", "") == f"transformers==5.4.0 --hash=sha256:{THEIRS}"
