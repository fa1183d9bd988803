"""How long a cell takes in each runtime, warm, and how much of it is the runtime's own import, load and start."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from containers.installer import cpu_torches
from containers.recipes import recipe_of
from monitor.domain import Outcome, Runtime
from monitor.sources.web import install_settings
from tests.bench.probing import Probing
from tests.bench.timing import Times, tell, timed, title

if TYPE_CHECKING:
    from collections.abc import Sequence

    from monitor.runner.context import RunContext
    from monitor.runner.request import ProbeRequest
    from monitor.verdicts import RunDetail

RUNTIMES = (Runtime.TRANSFORMERS, Runtime.XLLAMACPP, Runtime.LLAMA_CPP_PYTHON, Runtime.VLLM)
ARCHITECTURES = ("llama", "qwen3", "olmo3", "glm4_moe")  # what each of them takes
REPEATS = 3  # of what takes seconds; minutes are taken once
ROOM = 8 << 30  # bytes of vLLM's packages and of what they unpack to
_IMPORT = frozenset({"installs.imports"})
_LOADING = frozenset({"loads.converts", "loads.model", "serves.ready"})  # a server that is another process loads again
_ROW = "  {:<26} {:>8} {:>8} {:>8} {:>8} {:>8} {:>8} {:>8} {:>8}"


@dataclass(frozen=True)
class Measured:
    """One runtime's cells: a session each, and all in one; ``runs`` are those of their own sessions."""

    version: str
    alone: Times
    together: Times
    runs: Sequence[RunDetail]

    @property
    def among(self) -> float:
        """Return the seconds of a cell among others, which share its container and its import."""
        return self.together.median / len(self.runs)

    @property
    def by_check(self) -> float:
        """Return the seconds that a fresh process for every check would take, by what a cell takes around them."""
        answered = [[one for one in run.checks if one.outcome is not Outcome.NOT_REACHED] for run in self.runs]
        count = sum(map(len, answered)) / len(self.runs)
        own = sum(one.seconds for checks in answered for one in checks) / len(self.runs)
        own -= self.seconds(_IMPORT | _LOADING)
        return count * (self.alone.median - own) + own

    def seconds(self, names: frozenset[str]) -> float:
        """Return the seconds of the named checks, in the mean of a cell."""
        return sum(one.seconds for run in self.runs for one in run.checks if one.name in names) / len(self.runs)


def measure(context: RunContext, request: ProbeRequest) -> None:
    own = {one.architecture: one for one in reversed(context.catalogue.subjects()) if one.architecture in ARCHITECTURES}
    subjects = [own[architecture] for architecture in ARCHITECTURES]  # the control is the first
    title(f"seconds a cell in each runtime, warm: {', '.join(ARCHITECTURES)}")
    found: dict[str, Measured] = {}
    for runtime in RUNTIMES:
        why = _why_not(context, runtime)
        measured = why or _measured(context, replace(request, runtime=runtime, subjects=subjects))
        if isinstance(measured, str):
            tell(str(runtime), f"not measured: {measured}")
        else:
            found[f"{runtime} {measured.version}"] = measured
    _tell_table(found)


def _why_not(context: RunContext, runtime: Runtime) -> str:
    """Return why a runtime is not measured here: what takes many minutes or gigabytes has to be there already."""
    if recipe_of(runtime).is_built:
        wheels = context.config.home / "install" / "wheels"
        if not list(wheels.glob(f"*/{runtime.replace('-', '_')}-*.whl")):
            return "its wheel has not been built in the benchmark's home, which takes minutes"
    if runtime is Runtime.VLLM:
        if not cpu_torches(install_settings(context.config)):
            return "no CPU build of torch lies in a find-links folder, and its wheel asks for one"
        if shutil.disk_usage(context.config.home).free < ROOM:
            return f"it takes {ROOM >> 30} GiB, and less is free"
    return ""


def _measured(context: RunContext, request: ProbeRequest) -> Measured | str:
    line = Probing(context, request)
    if line.installation.environment is None:
        return line.installation.failure.message if line.installation.failure else "it was not installed"
    line.together(line.cells[:1])  # the files are in memory from here on
    repeats = 1 if recipe_of(request.runtime).heavy else REPEATS
    together = Times(tuple(timed(lambda: line.together(line.cells)) for _ in range(repeats)))
    alone, runs = [], []
    for cell in line.cells:
        alone.append(timed(lambda cell=cell: line.alone(cell)))  # type: ignore[misc]
        runs.append(line.last_run(cell))
    failed = [
        f"{run.row['cell_id']} {one.name}: {one.message}"
        for run in runs
        for one in run.checks
        if one.outcome in (Outcome.UNKNOWN, Outcome.NOT_REACHED)
    ]
    return failed[0] if failed else Measured(line.installation.version, Times(tuple(alone)), together, runs)


def _tell_table(found: dict[str, Measured]) -> None:
    head = ("", "alone", "import", "load", "share", "among", "alone", "a check", "to first")
    under = ("", "s", "s", "s", "of alone", "s", "/ among", "/ among", "")
    rows: list[tuple[str, ...]] = [head, under]
    first = next(iter(found.values())).among if found else 0.0
    for name, one in found.items():
        imports, loads = one.seconds(_IMPORT), one.seconds(_LOADING)
        share = (imports + loads) / one.alone.median
        numbers = (one.alone.median, imports, loads, share, one.among, one.alone.median / one.among)
        more = (one.by_check / one.among, one.among / first)
        rows.append((name, *(f"{number:.2f}" for number in (*numbers, *more))))
    for row in rows:
        print(_ROW.format(*row))  # noqa: T201 - the benchmark's answer
    print(  # noqa: T201 - as above
        "  alone: a container, an import and a process for one cell; load: converting, loading, starting a server;\n"
        f"  among: one of {len(ARCHITECTURES)} that share container and import; a check: a fresh process for each"
    )
