"""The bench: seats subjects in an environment, runs one probe session there, and hands back what was seen of each."""

from __future__ import annotations

import contextlib
import json
import shutil
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from containers.engine import Command, Execution, Limits, Mount, Role
from monitor.domain import Ending
from monitor.wire.bundle import suite_of
from monitor.wire.stream import Listener
from monitor.wire.tail import Tail
from probes import wire

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from containers.engine import Engine
    from containers.environment import Environment
    from monitor.config.settings import Limits as Allowed
    from monitor.domain import Runtime, Subject
    from monitor.judge.observations import Finished, Session

_LOOK_EVERY_S = 0.05
_SUBJECTS_SHARE = 0.75  # of a container that a recipe sizes: the importing process needs the rest
_OUTPUT_BYTES = 2 * wire.MAX_EVENTS_BYTES
MIB = 1 << 20
GIB = 1 << 30


@dataclass(frozen=True, slots=True)
class PreparedSubject:
    """One subject, ready to be probed: its files and what the probe should compare them with."""

    subject: Subject
    path: Path
    golden: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class SessionSpec:
    """One session to be held: which subjects, in which environment, how isolated and with how much patience."""

    id: str
    runtime: Runtime
    version: str
    environment: Environment
    prepared_subjects: tuple[PreparedSubject, ...]
    solo: bool = False
    limit_factor: int = 1
    seed: int = 0
    env: tuple[tuple[str, str], ...] = ()
    memory_bytes: int | None = None  # None: what is configured
    shm_bytes: int = 64 << 20


@dataclass(frozen=True, slots=True)
class Layout:
    """Host paths with the paths under which the probe sees them: environment, bundle, request, output, subjects."""

    targets: tuple[tuple[Path, str], ...]
    writable: Path

    def shown(self, path: Path) -> str:
        return dict(self.targets)[path]


@dataclass(frozen=True, slots=True)
class SessionResult:
    """What one sitting left behind."""

    session: Session
    ending: Ending
    log: bytes
    log_dropped_bytes: int
    seconds: float


@dataclass(frozen=True, slots=True)
class SessionRunner:
    engine: Engine
    image: str  # the base that probes run on; empty on the process engine
    bundle: Path
    workshop: Path  # a folder for the files of sittings in progress
    allowed: Allowed

    def run_session(
        self,
        spec: SessionSpec,
        *,
        over: Callable[[str, Session, bytes, Ending], None],
        heard: Callable[[str | None, Finished], None] | None = None,
    ) -> SessionResult:
        """Hold one session; ``over`` is called for every subject, as soon as its turn has ended, with how it ended."""
        folder = self.workshop / spec.id
        out = folder / "out"
        out.mkdir(parents=True)
        out.chmod(0o777)
        (folder / "request.json").write_text(json.dumps(self.request(spec)), encoding="utf-8")
        command = self._command(spec)
        ending = Ending(exit_code=0)  # a turn that ends while the session goes on ended well, or `died` says otherwise
        listener = Listener(
            [prepared.subject.id for prepared in spec.prepared_subjects],
            heard=heard,
            over=lambda subject, session, raw: over(subject, session, raw, ending),
        )
        tail = Tail(out / "events.jsonl", limit_bytes=wire.MAX_EVENTS_BYTES)
        started = time.monotonic()
        cancel = threading.Event()
        try:
            with ThreadPoolExecutor(1) as pool:
                running = pool.submit(self.engine.run, command, cancel=cancel)
                try:
                    while not running.done():
                        listener.feed(tail.read())
                        if tail.problem or _bytes_below(out) > _OUTPUT_BYTES:
                            tail.problem = tail.problem or "the probe wrote more files than it may"
                            cancel.set()  # its folder lies on our disk, and nobody reads what is over the limit
                        time.sleep(_LOOK_EVERY_S)
                except BaseException:
                    cancel.set()  # or leaving the pool would wait for the container's own end
                    raise
                execution = running.result()
            while more := tail.read():
                listener.feed(more)
            ending = ending_of(execution)
            session = listener.close(tail.problem)
        finally:
            tail.close()
            shutil.rmtree(folder, ignore_errors=True)
        return SessionResult(
            session=session,
            ending=ending,
            log=execution.log,
            log_dropped_bytes=execution.log_dropped_bytes,
            seconds=time.monotonic() - started,
        )

    @staticmethod
    def suite_of(runtime: Runtime) -> str:
        """Return the digest of everything that probes this runtime."""
        return suite_of(runtime)

    def request(self, spec: SessionSpec) -> dict[str, Any]:
        """Return what the probe is asked."""
        layout = self._layout(spec)
        return {
            "wire": wire.WIRE,
            "runtime": str(spec.runtime),
            "version": spec.version,
            "isolation": "solo" if spec.solo else "fork",
            "seed": spec.seed,
            "limit_s": self.allowed.check_seconds * spec.limit_factor,
            "import_limit_s": self.allowed.import_seconds * spec.limit_factor,
            "memory_bytes": max(
                int(self.allowed.subject_memory_gib * GIB), int(_SUBJECTS_SHARE * (spec.memory_bytes or 0))
            ),
            "subjects": [
                {
                    "id": prepared.subject.id,
                    "path": layout.shown(prepared.path),
                    "golden": dict(prepared.golden),
                    "control": prepared.subject.control,
                }
                for prepared in spec.prepared_subjects
            ],
        }

    def _layout(self, spec: SessionSpec) -> Layout:
        """Say where the probe sees what: a plain process sees a path where it lies, a container no path of the host."""
        folder = self.workshop / spec.id
        request, out = folder / "request.json", folder / "out"
        fixed = [
            (spec.environment.path, "env"),
            (self.bundle, "probes.pyz"),
            (request, "request.json"),
            (out, "out"),
        ]
        subjects = list(
            dict.fromkeys(prepared.path for prepared in spec.prepared_subjects)
        )  # models may share a miniature
        named = [*fixed, *((path, f"subjects/{number}") for number, path in enumerate(subjects))]
        isolated = self.engine.isolated
        return Layout(
            targets=tuple((path, f"/settle/{name}" if isolated else str(path)) for path, name in named),
            writable=out,
        )

    def _command(self, spec: SessionSpec) -> Command:
        layout = self._layout(spec)
        environment, bundle, request, out = (target for _, target in layout.targets[:4])
        patience = self.allowed.import_seconds + self.allowed.check_seconds * len(spec.prepared_subjects)
        return Command(
            argv=(f"{environment}/bin/python", "-I", bundle, request, f"{out}/events.jsonl"),
            role=Role.PROBE,
            image=self.image,
            mounts=tuple(Mount(path, target, writable=path == layout.writable) for path, target in layout.targets),
            env=dict(spec.env),
            labels={"settle.sitting": spec.id},
            limits=Limits(
                seconds=patience * spec.limit_factor,
                memory_bytes=spec.memory_bytes or int(self.allowed.memory_gib * GIB),
                cpus=self.allowed.cpus,
                pids=self.allowed.processes,
                log_bytes=int(self.allowed.log_mib * MIB),
                tmpfs_bytes=int(self.allowed.scratch_gib * GIB),
                shm_bytes=spec.shm_bytes,
            ),
        )


def _bytes_below(folder: Path) -> int:
    """Return what an untrusted process has written, following nothing; what vanishes meanwhile counts nothing."""
    total = 0
    for path in (folder, *folder.rglob("*")):
        with contextlib.suppress(OSError):
            total += path.lstat().st_blocks * 512
    return total


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
