"""vLLM's OpenAI-compatible server, started as users start it."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

from probes.faults import SaidError
from probes.runtimes.vllm_said import said
from probes.served import Server, ServerError, wait_until_ready

_KEPT_CHARS = 20000
_MODEL = "subject"


def serve(folder: Path, *, names: Path, context: int) -> tuple[Server, float]:
    """Start `vllm serve` on a port of this machine and wait until it lists the model.

    Nobody ends it: it is of the subject's group of processes and dies with it.
    """
    port = _free_port()
    scratch = Path(tempfile.mkdtemp(prefix="vllm-serve-"))
    log = scratch / "log"
    with log.open("wb") as stream:
        server = subprocess.Popen(
            command(folder, port=port, context=context),
            cwd=scratch, stdin=subprocess.DEVNULL, stdout=stream, stderr=subprocess.STDOUT,
            env={**os.environ, "PYTHONPATH": str(names)},
        )  # fmt: skip
    there = Server(f"http://127.0.0.1:{port}", _MODEL)
    try:
        seconds = wait_until_ready(there, lambda: server.poll() is None)
    except ServerError as error:
        text = log.read_text(encoding="utf-8", errors="replace")
        sys.stderr.write(text[-_KEPT_CHARS:])
        raise SaidError(f"{error}: {said(text)}") from None
    return there, seconds


def command(folder: Path, *, port: int, context: int) -> list[str]:
    return [
        *(sys.executable, "-m", "vllm.entrypoints.cli.main", "serve", str(folder)),
        *("--host", "127.0.0.1", "--port", str(port), "--served-model-name", _MODEL),
        *("--dtype", "float32", "--enforce-eager", "--seed", "0"),
        *("--max-model-len", str(context), "--max-num-batched-tokens", str(context), "--max-num-seqs", "8"),
    ]


def _free_port() -> int:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return int(listening.getsockname()[1])
