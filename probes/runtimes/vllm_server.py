"""vLLM's OpenAI-compatible server: started as users start it, or by a process that has imported it already."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import types
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from probes.faults import ReportedError
from probes.runtimes.vllm_errors import reasons
from probes.served import Server, ServerError, free_port, wait_until_ready
from probes.supervise import work_and_exit

_KEPT_CHARS = 20000
_MODEL = "subject"
NOTHING_BUT_TEXT = {"image": 0, "video": 0, "audio": 0, "vision_chunk": 0}  # of each in a prompt, at most


class Understudy:
    """A fork that waits, with vLLM imported and nothing computed yet, for the order to become the server.

    The probing process has an engine by then, whose threads no fork of it would have. The order names the classes that
    need no inspection in another process. The fork never outlives the process that it waits for.
    """

    def __init__(self, become: Callable[[dict[str, Any]], None]) -> None:
        order, self._order = os.pipe()
        self._pid = os.fork()
        if not self._pid:
            os.close(self._order)
            _wait_and_become(order, become)
        os.close(order)
        self._status: int | None = None

    def start(self, settings: dict[str, Any]) -> None:
        with os.fdopen(self._order, "wb") as pipe:
            pipe.write(json.dumps(settings).encode())

    def alive(self) -> bool:
        if self._status is None:
            pid, status = os.waitpid(self._pid, os.WNOHANG)
            self._status = status if pid else None
        return self._status is None


def serve(
    folder: Path,
    *,
    names: Path,
    context: int,
    understudy: Understudy | None,
    classes: Sequence[str],
    text_only: bool = False,
    dtype: str = "float32",
    scratch: Path | None = None,
) -> tuple[Server, float]:
    """Start `vllm serve` on a port of this machine and wait until it lists the model.

    It ends with the subject's group of processes. ``classes`` are those that the model may run as.
    """
    port = free_port()
    scratch = scratch or Path(tempfile.mkdtemp(prefix="vllm-serve-"))
    log = scratch / "log"
    arguments = serve_arguments(folder, port=port, context=context, text_only=text_only, dtype=dtype)
    if understudy is None:
        alive = _started(arguments, log, names=names)
    else:
        understudy.start({"arguments": arguments, "log": str(log), "classes": list(classes)})
        alive = understudy.alive
    there = Server(f"http://127.0.0.1:{port}", _MODEL)
    try:
        seconds = wait_until_ready(there, alive)
    except ServerError as error:
        text = log.read_text(encoding="utf-8", errors="replace") if log.exists() else ""
        sys.stderr.write(text[-_KEPT_CHARS:])
        raise ReportedError(f"{error}: {reasons(text)}") from None
    return there, seconds


def serve_arguments(
    folder: Path, *, port: int, context: int, text_only: bool = False, dtype: str = "float32"
) -> list[str]:
    return [
        *("serve", str(folder)),
        *("--host", "127.0.0.1", "--port", str(port), "--served-model-name", _MODEL),
        *("--dtype", dtype, "--enforce-eager", "--seed", "0"),
        *("--max-model-len", str(context), "--max-num-batched-tokens", str(context), "--max-num-seqs", "8"),
        *(("--limit-mm-per-prompt", json.dumps(NOTHING_BUT_TEXT)) if text_only else ()),
    ]


def become_server(settings: dict[str, Any]) -> None:
    """Run the command line of vLLM in this process, and its engine in a fork of it.

    Without an accelerator vLLM starts a new process for the engine, which imports everything again; with one it forks.
    """
    import multiprocessing

    from vllm.entrypoints.cli.main import main

    plain = multiprocessing.get_context

    def forking(method: str | None = None) -> Any:
        return plain("fork" if method == "spawn" else method)

    multiprocessing.get_context = forking
    sys.argv = ["vllm", *settings["arguments"]]
    main()


def _started(arguments: Sequence[str], log: Path, *, names: Path) -> Callable[[], bool]:
    with log.open("wb") as stream:
        server = subprocess.Popen(
            [sys.executable, "-m", "vllm.entrypoints.cli.main", *arguments],
            cwd=log.parent, stdin=subprocess.DEVNULL, stdout=stream, stderr=subprocess.STDOUT,
            env={**os.environ, "PYTHONPATH": str(names)},
        )  # fmt: skip
    return lambda: server.poll() is None


def _wait_and_become(order: int, become: Callable[[dict[str, Any]], None]) -> None:
    with os.fdopen(order, "rb") as pipe:
        text = pipe.read()
    if not text:  # the process that would order it has ended
        os._exit(0)

    def work() -> None:
        settings = json.loads(text)
        log = Path(settings["log"])
        os.chdir(log.parent)
        with log.open("wb") as stream, Path(os.devnull).open("rb") as silence:
            os.dup2(silence.fileno(), 0)
            os.dup2(stream.fileno(), 1)
            os.dup2(stream.fileno(), 2)
        sys.stdout, sys.stderr = os.fdopen(1, "w", 1), os.fdopen(2, "w", 1)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, signal.SIG_DFL)
        # a new process looks at the main module, and must not find the probe
        sys.modules["__main__"] = types.ModuleType("__main__")
        become(settings)

    work_and_exit(work)
