"""How long the pages of a year take: 200 models in every runtime, lived through in a real store."""

from __future__ import annotations

import shutil
import time
from typing import TYPE_CHECKING

from monitor.site.pages import make_site
from monitor.site.publish import publish
from monitor.store import open_reader, open_store
from tests.bench.timing import tell, tell_aim, timed, title
from tests.bench.year import Year

if TYPE_CHECKING:
    from pathlib import Path

MOST_SECONDS, MOST_KB = 60, 300


def measure(home: Path) -> None:
    """Live through the year, which takes many minutes, and print what its pages take."""
    title("the pages of a year")
    shutil.rmtree(home, ignore_errors=True)
    with open_store(home) as store:
        year = Year(store)
        tell("lived through", f"{timed(year.live) / 60:.0f} min, {year.runs} runs")
        (days,) = store.query("SELECT count(*) FROM days").rows[0]
    tell("days of cells", str(days))
    place = home / "public"
    with open_reader(home) as store:
        busy, began = time.process_time(), time.perf_counter()
        done = publish(make_site(store), place)
        seconds, busy = time.perf_counter() - began, time.process_time() - busy
        again = publish(make_site(store), place)
    tell("files, and changed by writing them again", f"{done.files}, {again.changed}")
    tell("seconds of processors", f"{busy:.1f}")
    tell_aim("seconds in all", seconds, f"under {MOST_SECONDS}", met=seconds < MOST_SECONDS)
    tell_aim("largest page, kB", done.largest_bytes / 1000, f"under {MOST_KB}", met=done.largest_bytes < 1000 * MOST_KB)
