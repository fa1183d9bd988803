"""Prints the measured claims, each with its ratio to the naive way, all or some: `python -m tests.bench [PART ...]`."""

from __future__ import annotations

import os
import shutil
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from containers.lock import parse_lock
from monitor.config.load import load_config
from monitor.domain import Runtime
from monitor.errors import SettleError
from monitor.progress import ConsoleProgress
from monitor.runner.context import open_context
from monitor.runner.request import ProbeRequest
from monitor.subjects.catalogue import load_catalogue
from tests.bench import installing, pages, planning, probing, replaying, runtimes, scale, stability

if TYPE_CHECKING:
    from monitor.config.settings import Config
    from monitor.domain import Subject

HOME = Path(__file__).parents[2] / ".settle-test" / "bench"
ARCHITECTURES = 20
CHECK_SECONDS = 300.0
PROBING = ("install", "cycle", "overhead", "replay", "runtimes")  # these need an engine and the index
PARTS = (*PROBING, "plan", "stability", "scale", "pages")


def main(parts: list[str]) -> None:
    if unknown := set(parts) - set(PARTS):
        sys.exit(f"no part is called {', '.join(sorted(unknown))}; there are {', '.join(PARTS)}")
    parts = parts or list(PARTS)
    if "stability" in parts:
        stability.measure()
    if "plan" in parts:
        planning.measure()
    if "pages" in parts:
        pages.measure(HOME / "year")
    if "scale" in parts:
        scale.measure(HOME / "scale")
    if set(parts) & set(PROBING):
        _probe(parts)


def _probe(parts: list[str]) -> None:
    scratch = HOME / "scratch-bench"
    shutil.rmtree(scratch, ignore_errors=True)
    for file in HOME.glob("settle.*"):
        file.unlink()  # a history of its own each time; the cache stays
    with (
        Path(os.devnull).open("w", encoding="utf-8") as nowhere,
        open_context(_config(), ConsoleProgress(out=nowhere)) as context,
    ):
        subjects = _subjects()
        context.store.record_catalogue(context.catalogue.models, context.catalogue.subjects())
        line = probing.Probing(context, _question(subjects))
        environment = line.installation.environment
        assert environment is not None, line.installation.failure
        if "install" in parts:
            lock = parse_lock(environment.lock_text, base_digest=context.base.digest)
            installing.measure(context, lock, scratch)
        if "cycle" in parts:
            probing.measure_cycle(line)
        if "overhead" in parts:
            probing.measure_overhead(line)
        if "replay" in parts:
            replaying.measure(context, line.request)
        if "runtimes" in parts:
            runtimes.measure(context, line.request)


def _config() -> Config:
    config = load_config(None, {**os.environ, "SETTLE_HOME": str(HOME)})
    # a limit costs nothing, and vLLM's server takes a minute to start
    return config.model_copy(update={"limits": config.limits.model_copy(update={"check_seconds": CHECK_SECONDS})})


def _subjects() -> list[Subject]:
    """Take architectures from all over the catalogue, for its first are the heaviest; the control first."""
    catalogue = load_catalogue()
    control = catalogue.control.subjects()[0]
    others = {subject.architecture: subject for subject in catalogue.subjects() if subject.qualified}
    others.pop(control.architecture, None)
    every = len(others) // (ARCHITECTURES - 1)
    return [control, *list(others.values())[::every][: ARCHITECTURES - 1]]


def _question(subjects: list[Subject]) -> ProbeRequest:
    now = datetime.now(UTC)
    return ProbeRequest(
        runtime=Runtime.TRANSFORMERS,
        day=now.date(),
        cutoff=now,
        subjects=subjects,
        force=True,
    )


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except SettleError as error:
        sys.exit(f"{error}\n{error.hint}")
