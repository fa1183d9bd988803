"""How long releases of the past take, many architectures in each, against a fresh environment and process a cell."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from monitor.domain import Channel, Origin
from tests.bench.probing import Probing
from tests.bench.timing import tell, timed, title

if TYPE_CHECKING:
    from monitor.runner.context import RunContext
    from monitor.runner.request import ProbeRequest

RELEASES = 3
ALONE = 3  # cells of each release that are measured the naive way


def measure(context: RunContext, request: ProbeRequest) -> None:
    lines = [
        Probing(context, replace(request, version=version, origin=Origin.ADHOC))
        for version in _versions(context, request)
    ]
    count = sum(len(line.cells) for line in lines)
    names = ", ".join(line.installation.version for line in lines)
    title(f"a replay: {len(lines[0].cells)} architectures in transformers {names}, everything cached")
    lines[0].together(lines[0].cells[:1])  # the files are in memory from here on
    together = sum(timed(lambda line=line: _again(line)) for line in lines)  # type: ignore[misc]
    naive = [
        timed(lambda line=line, attempt=attempt: _fresh(line, attempt))  # type: ignore[misc]
        for line in lines
        for attempt in range(ALONE)
    ]
    one = sum(naive) / len(naive)
    tell("a fresh environment and process, a cell", f"{one:.1f} s (mean of {len(naive)})")
    tell("replayed: a cell", f"{together / count:.2f} s ({together:.1f} s for {count})")
    tell("one by one / replayed", f"{one * count / together:.1f}")


def _versions(context: RunContext, request: ProbeRequest) -> list[str]:
    context.tools_for(request.runtime).installer.learn_releases(request.runtime)
    stable = [
        release.version
        for release in context.store.releases(request.runtime)
        if release.channel is Channel.STABLE and not release.yanked
    ]
    return stable[-1 : -1 - 8 * RELEASES : -8]  # from some months, not from one week


def _again(line: Probing) -> None:
    line.rebuild()
    line.together(line.cells)


def _fresh(line: Probing, installation: int) -> None:
    line.rebuild()
    line.alone(line.cells[installation])
