"""One `ollama serve` as a child of the probe: its surroundings, the end of its log, and its HTTP interface."""

from __future__ import annotations

import collections
import contextlib
import hashlib
import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from probes.faults import FaultError
from probes.served import MAX_BYTES, NO_ANSWER, exchange, free_port

_READY_S = 60.0
_LOOK_S = 0.02
_STOP_S = 10.0
_KEPT_LINES = 2000
_LINE_BYTES = 4096
_SENT_BYTES = 1 << 20
CONTEXT = 2048
# the lines of the log that name a cause where the answer over HTTP does not
_REASONS = re.compile(
    r"unknown model architecture|error loading model|missing tensor|wrong number of tensors|check_tensor_dims"
    r"|key not found in model|unknown pre-tokenizer|not within the file bounds|GGML_ASSERT|fatal error|panic:"
    r"|out[- ]of[- ]memory|unable to allocate|failed to allocate|bad_alloc|no space left|illegal instruction",
    re.IGNORECASE,
)


class ServerError(Exception):
    """The server refuses or fails."""


class LoadRefusedError(ServerError):
    """It was creating or loading the model that failed."""


class ServerEndedError(Exception):
    """The server has ended."""


class Server:
    """A running server; ``home`` is a folder for its models and keys."""

    def __init__(self, binary: Path, home: Path) -> None:
        self._log: collections.deque[str] = collections.deque(maxlen=_KEPT_LINES)
        self._lines = 0
        self._port = free_port()
        if not binary.is_file():
            raise FaultError("infra-recipe", f"there is no {binary.name} in this environment")
        self._process = subprocess.Popen(
            [str(binary), "serve"],
            env=_variables(os.environ, home, self._port),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        self._reader = threading.Thread(target=self._keep, name="ollama-log", daemon=True)
        self._reader.start()
        self.address = f"http://127.0.0.1:{self._port}"
        self.ready_s = self._await()

    @property
    def running(self) -> bool:
        return self._process.poll() is None

    def stop(self) -> None:
        self._process.send_signal(signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(_STOP_S)
        self._process.kill()
        self._process.wait()
        self._reader.join(_STOP_S)
        if self._process.stdout is not None and not self._reader.is_alive():
            self._process.stdout.close()

    def version(self) -> str:
        return str(self._exchange("/api/version", None)[-1].get("version"))

    def ask(self, path: str, body: Mapping[str, Any], *, error: type[ServerError] = ServerError) -> dict[str, Any]:
        """Return the one answer to a request that is not streamed."""
        return self._exchange(path, {**body, "stream": False}, error)[-1]

    def stream(
        self, path: str, body: Mapping[str, Any], error: type[ServerError] = ServerError
    ) -> list[dict[str, Any]]:
        """Return all lines of a streamed answer; raises the error that one of them holds."""
        return self._exchange(path, {**body, "stream": True}, error)

    def create(self, name: str, files: Mapping[str, Path]) -> list[str]:
        """Upload the files and create a model of them; return the statuses on the way."""
        body = {"model": name, "files": {file: self._upload(path) for file, path in files.items()}}
        statuses = [str(line.get("status")) for line in self.stream("/api/create", body, error=LoadRefusedError)]
        if not statuses or statuses[-1] != "success":
            raise LoadRefusedError(self._with_reason(f"creating ended without success, after {statuses[-1:]}"))
        return statuses

    def _upload(self, path: Path) -> str:
        digest = hashlib.sha256()
        with path.open("rb") as stream:
            while chunk := stream.read(_SENT_BYTES):
                digest.update(chunk)
        name = f"sha256:{digest.hexdigest()}"
        headers = {"Content-Length": str(path.stat().st_size), "Content-Type": "application/octet-stream"}
        with path.open("rb") as stream:
            self._exchange(f"/api/blobs/{name}", stream, LoadRefusedError, **headers)
        return name

    def _exchange(
        self, path: str, body: Any, error: type[ServerError] = ServerError, **headers: str
    ) -> list[dict[str, Any]]:
        """Return the objects of an answer, one a line; an empty answer is one empty object."""
        self._began = self._lines
        try:
            data = json.dumps(body).encode() if isinstance(body, dict) else body
            status, content = exchange(self.address + path, data, **headers)
        except NO_ANSWER as broken:
            raise self._broken(broken) from broken
        if len(content) > MAX_BYTES:
            raise error(f"the answer is longer than {MAX_BYTES >> 20} MiB")
        answers = [self._parsed(line, status, error) for line in content.splitlines() if line.strip()]
        if status >= http.client.BAD_REQUEST:
            raise error(self._with_reason(f"HTTP status {status} without a message"))
        return answers or [{}]

    def _parsed(self, line: bytes, status: int, error: type[ServerError]) -> dict[str, Any]:
        try:
            answer = json.loads(line)
        except ValueError:
            answer = None
        if not isinstance(answer, dict):
            raise error(self._with_reason(f"not an object of JSON: {line[:200]!r}"))
        if "error" in answer or status >= http.client.BAD_REQUEST:
            inner = answer["status"] if isinstance(answer.get("status"), int) else status
            raise error(self._with_reason(f"{answer.get('error', answer)} (status {inner})"))
        return answer

    def _with_reason(self, message: str) -> str:
        """Add the lines of the log that name the cause: some failures name it nowhere else."""
        time.sleep(_LOOK_S)  # the last lines are on their way through the pipe
        since = list(self._log)[-(self._lines - self._began) :] if self._lines > self._began else []
        status_inside = list(dict.fromkeys(line for line in since if _REASONS.search(line)))
        return f"{message}; its log: {' | '.join(status_inside[-3:])}" if status_inside else message

    def _broken(self, error: Exception) -> Exception:
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(1.0)  # a connection closes a moment before its process is gone
        if self.running:
            return ServerError(self._with_reason(f"the connection broke: {type(error).__name__}: {error}"))
        return ServerEndedError(self._with_reason(self._ending()))

    def _await(self) -> float:
        """Return the seconds until it answers; raises ServerEndedError with the log's end where it ends instead."""
        self._began = 0
        began = time.monotonic()
        while time.monotonic() < began + _READY_S:
            if not self.running:
                raise ServerEndedError(f"{self._ending()}: {' | '.join(list(self._log)[-3:])}")
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self._port), 1.0):
                return time.monotonic() - began
            time.sleep(_LOOK_S)
        self.stop()
        raise ServerEndedError(f"the server timed out waiting for its own port for {_READY_S:.0f} s")

    def _ending(self) -> str:
        self._reader.join(_STOP_S)
        code = self._process.returncode
        name = f"signal: {signal.Signals(-code).name}" if code < 0 else f"exit status {code}"
        return f"the server ended with {name}"

    def _keep(self) -> None:
        """Keep the end of the log, and show all of it: the container bounds its log."""
        assert self._process.stdout is not None  # noqa: S101 -- it was asked for
        for raw in iter(lambda: self._process.stdout.readline(_LINE_BYTES), b""):  # type: ignore[union-attr]
            line = raw.decode(errors="replace").rstrip("\n")
            sys.stderr.write(f"ollama: {line}\n")
            self._log.append(line)
            self._lines += 1


def _variables(given: Mapping[str, str], home: Path, port: int) -> dict[str, str]:
    """Return the server's environment variables: no cloud, no proxy, everything in ``home``, full logging."""
    unwanted = ("OLLAMA_", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")
    kept = {name: value for name, value in given.items() if not name.upper().startswith(unwanted)}
    return {
        **kept,
        "HOME": str(home),
        "OLLAMA_HOST": f"127.0.0.1:{port}",
        "OLLAMA_MODELS": str(home / "models"),
        "OLLAMA_NO_CLOUD": "1",
        "OLLAMA_CONTEXT_LENGTH": str(CONTEXT),  # else it goes by the memory of a graphics card
        "OLLAMA_LOAD_TIMEOUT": "0",  # none: the subject's limit is watched from outside
        "OLLAMA_KEEP_ALIVE": "-1",
        "OLLAMA_NUM_PARALLEL": "1",
        "OLLAMA_MAX_LOADED_MODELS": "1",
        "OLLAMA_NOPRUNE": "1",
        "OLLAMA_DEBUG": "1",
    }
