"""Runs a script in an environment: a probe session, whose subjects are handed over as their turns end."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from containers.engine import Command, CommandLimits, Execution, Mount, Role
from containers.leftovers import Bounds, excess, remove
from containers.watched import run_watched
from monitor.domain import Ending
from monitor.subjects.shown_files import ShownFiles, shown_files
from monitor.wire.stream import Listener, Tail
from probes import wire

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from containers.engine import Engine
    from containers.environment import Environment
    from containers.recipe import Recipe
    from monitor.config.settings import Limits as Allowed
    from monitor.domain import Runtime, Subject
    from monitor.judge.observations import Finished, Session
    from monitor.wire.stream import SubjectEvents

_MOST_NAMES = 100  # of files that a probe does not see
_SUBJECTS_SHARE = 0.75  # of a container that a recipe sizes: the importing process needs the rest
MIB = 1 << 20
GIB = 1 << 30


@dataclass(frozen=True, slots=True)
class PreparedSubject:
    """One subject, ready to be probed: its files and what the probe should compare them with."""

    subject: Subject
    path: Path
    golden: Mapping[str, Any]
    deep: bool = True
    shown: ShownFiles = field(init=False)  # by construction, so that no caller can show anything else

    def __post_init__(self) -> None:
        object.__setattr__(self, "shown", shown_files(self.path))


@dataclass(frozen=True, slots=True)
class SessionSpec:
    """One session: which subjects, in which environment, how isolated and with how much patience."""

    id: str
    runtime: Runtime
    version: str
    environment: Environment
    prepared_subjects: tuple[PreparedSubject, ...]
    solo: bool = False
    limit_factor: int = 1
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Script:
    """A script with its request, to be run in an environment; it may write below ``out`` only.

    A plain process sees every path where it lies, a container no path of the host. Of an input that is named in
    ``parts`` the script sees these files and no other: a container as mounts, a plain process as links in a folder.
    """

    folder: Path  # holds request.json and out/
    environment: Path
    file: Path
    answer: str  # the file that the script writes into out/
    inputs: Sequence[Path]
    isolated: bool
    parts: Mapping[Path, Mapping[str, Path]] = field(default_factory=dict)  # real files by their names in the input

    @property
    def out(self) -> Path:
        return self.folder / "out"

    @property
    def request(self) -> Path:
        return self.folder / "request.json"

    def lay_out(self, request: Mapping[str, Any]) -> None:
        self.out.mkdir(parents=True, exist_ok=True)
        self.out.chmod(0o777)
        if not self.isolated:
            for path, files in self.parts.items():
                for name, file in files.items():
                    link = Path(self.inside(path), name)
                    link.parent.mkdir(parents=True, exist_ok=True)
                    link.symlink_to(file)
        self.request.write_text(json.dumps(request), encoding="utf-8")

    def events_file(self) -> Tail:
        """Create the events file and hold it open, so that the session can take its name away from its subjects."""
        file = self.out / self.answer
        file.touch()
        file.chmod(0o666)  # a container runs as another user
        tail = Tail(file, limit_bytes=wire.MAX_EVENTS_BYTES)
        tail.read()
        return tail

    def inside(self, path: Path) -> str:
        """Return the path under which the script sees one of its files."""
        return self._targets()[path]

    @property
    def argv(self) -> tuple[str, ...]:
        script, request, out = map(self.inside, (self.file, self.request, self.out))
        return f"{self.inside(self.environment)}/bin/python", "-I", script, request, f"{out}/{self.answer}"

    @property
    def mounts(self) -> tuple[Mount, ...]:
        mounts: list[Mount] = []
        for path, target in self._targets().items():
            if path not in self.parts:
                mounts.append(Mount(path, target, writable=path == self.out))
            elif self.isolated:
                mounts += [Mount(file, f"{target}/{name}") for name, file in self.parts[path].items()]
            elif self.parts[path]:
                mounts.append(Mount(Path(target), target))
                mounts += [Mount(file, str(file)) for file in dict.fromkeys(self.parts[path].values())]
        return tuple(mounts)

    def _targets(self) -> dict[Path, str]:
        inputs = dict.fromkeys(self.inputs)  # models may share a miniature
        paths = {
            "env": self.environment,
            self.file.name: self.file,
            "request.json": self.request,
            **{f"subjects/{number}": path for number, path in enumerate(inputs)},
            "out": self.out,  # last: it may lie within an input, which is not writable
        }
        if self.isolated:
            return {path: f"/settle/{name}" for name, path in paths.items()}
        return {path: str(self.folder / name if path in self.parts else path) for name, path in paths.items()}


@dataclass(frozen=True, slots=True)
class SessionResult:
    """What one session left behind."""

    session: Session
    ending: Ending
    log: bytes
    log_dropped_bytes: int


@dataclass(frozen=True, slots=True)
class SessionRunner:
    engine: Engine
    image: str  # the base that probes run on; empty on the process engine
    bundle: Path
    workshop: Path  # a folder for the files of sessions in progress
    allowed: Allowed
    recipe: Recipe
    output_bytes: int = 2 * wire.MAX_EVENTS_BYTES  # a session that writes more is ended

    def run_session(
        self,
        spec: SessionSpec,
        *,
        subject_finished: Callable[[SubjectEvents, Ending], None],
        check_finished: Callable[[str | None, Finished], None] | None = None,
    ) -> SessionResult:
        """Run one session; ``subject_finished`` is called as soon as a subject's turn ends, with how it ended."""
        script = self._script(spec)
        script.lay_out(self.request(spec))
        ending = Ending(exit_code=0)  # a turn that ends while the session goes on ended well, or `died` says otherwise
        listener = Listener(
            [prepared.subject.id for prepared in spec.prepared_subjects],
            check_finished=check_finished,
            subject_finished=lambda events: subject_finished(events, ending),
        )
        tail = script.events_file()
        patience = self.allowed.import_seconds + self.allowed.check_seconds * len(spec.prepared_subjects)
        command = self.command(script, seconds=patience * spec.limit_factor, labels={"settle.session": spec.id})
        try:
            execution = self._follow(command, tail, listener, script.out)
            ending = ending_of(execution)
            session = listener.close(tail.problem)
        finally:
            tail.close()
            remove(script.folder)
        return SessionResult(session, ending, execution.log, execution.log_dropped_bytes)

    def command(self, script: Script, *, seconds: float, labels: Mapping[str, str]) -> Command:
        """Return what runs a script; the recipe's memory comes before the configured one."""
        recipe, allowed = self.recipe, self.allowed
        return Command(
            argv=script.argv,
            role=Role.PROBE,
            image=self.image,
            mounts=script.mounts,
            env=recipe.environment,
            labels=labels,
            limits=CommandLimits(
                seconds=seconds,
                memory_bytes=recipe.memory_bytes or int(allowed.memory_gib * GIB),
                cpus=allowed.cpus,
                pids=allowed.processes,
                log_bytes=int(allowed.log_mib * MIB),
                tmpfs_bytes=int(allowed.scratch_gib * GIB),
                shm_bytes=recipe.shm_bytes,
            ),
        )

    def _follow(self, command: Command, tail: Tail, listener: Listener, out: Path) -> Execution:
        """Run to the end, and feed the listener meanwhile."""

        def look() -> str:
            listener.feed(tail.read())
            # its folder lies on our disk, and what is over the limit is never read
            if not tail.problem and (over := excess(out, Bounds(self.output_bytes))):
                tail.problem = f"the probe wrote more files than it may: {over}"
            return tail.problem

        execution, _ = run_watched(self.engine, command, look)
        while more := tail.read():
            listener.feed(more)
        return execution

    def request(self, spec: SessionSpec) -> dict[str, Any]:
        script = self._script(spec)
        return {
            "wire": wire.WIRE,
            "runtime": str(spec.runtime),
            "version": spec.version,
            "isolation": "solo" if spec.solo else "fork",
            "seed": spec.seed,
            "limit_s": self.allowed.check_seconds * spec.limit_factor,
            "import_limit_s": self.allowed.import_seconds * spec.limit_factor,
            "memory_bytes": max(
                int(self.allowed.subject_memory_gib * GIB), int(_SUBJECTS_SHARE * (self.recipe.memory_bytes or 0))
            ),
            "private": self.engine.isolated,
            "subjects": [
                {
                    "id": prepared.subject.id,
                    "path": script.inside(prepared.path),
                    "golden": dict(prepared.golden),
                    "control": prepared.subject.control,
                    "deep": prepared.deep,
                    "withheld": list(prepared.shown.withheld[:_MOST_NAMES]),
                }
                for prepared in spec.prepared_subjects
            ],
        }

    def _script(self, spec: SessionSpec) -> Script:
        return Script(
            folder=self.workshop / spec.id,
            environment=spec.environment.path,
            file=self.bundle,
            answer="events.jsonl",
            inputs=[prepared.path for prepared in spec.prepared_subjects],
            isolated=self.engine.isolated,
            parts={
                prepared.path: prepared.shown.files
                for prepared in spec.prepared_subjects
                if not prepared.shown.is_whole
            },
        )


def ending_of(execution: Execution) -> Ending:
    """Return how a container ended, in the judge's words."""
    return Ending(
        exit_code=execution.exit_code,
        signal=execution.signal,
        timed_out=execution.timed_out,
        out_of_memory=execution.out_of_memory,
        engine_fault=execution.engine_fault,
        seconds=execution.seconds,
        peak_memory_bytes=execution.peak_memory_bytes,
    )
