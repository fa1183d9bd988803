"""Talks to an OpenAI-compatible server on this machine, with the standard library; every answer is bounded."""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from typing import Any

from probes.faults import ReportedError
from probes.supervise import oom_kills

MAX_BYTES = 64 << 20
NO_ANSWER = (OSError, ValueError, http.client.HTTPException)  # ValueError: the answer is not HTTP
_MAX_SHOWN = 600
_ASK_EVERY_S = 0.05
# a proxy of the environment must never see what is asked of this machine
_OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class ServerError(ReportedError):
    """The server refused a request, answered something unreadable, or did not answer."""

    def __init__(self, message: str, status: int = 0) -> None:
        super().__init__(message)
        self.status = status  # 0: there was no answer


class Server:
    """One server: where it listens, what it calls the model, and whether it takes a bias for each token."""

    def __init__(self, url: str, model: str, *, biases: bool = True, kills: Callable[[], int] = oom_kills) -> None:
        self.url = url.rstrip("/")
        self.model = model
        self.biases = biases
        self._count_kills, self._kills_before = kills, kills()

    def get(self, path: str) -> Any:
        return _parsed(self._answer(path, None), path)

    def post(self, path: str, body: dict[str, Any]) -> Any:
        return _parsed(self._answer(path, body), path)

    def stream(self, path: str, body: dict[str, Any]) -> Iterator[Any]:
        """Yield the events of a streamed answer, without the ``[DONE]`` that must end them."""
        text = self._answer(path, {**body, "stream": True}).decode("utf-8", "replace")
        events = [line[5:].strip() for line in text.splitlines() if line.startswith("data:")]
        if not events or events[-1] != "[DONE]":
            raise ServerError(f"the stream of {path} does not end with [DONE]: {text[-_MAX_SHOWN:]!r}")
        for event in events[:-1]:
            yield _parsed(event.encode(), path)

    def broken(self, message: str) -> Exception:
        """Return why there is no answer: a server that our memory limit ended is not to blame for it."""
        if self._count_kills() > self._kills_before:
            return MemoryError(f"our memory limit ended a process of the server: {message}")
        return ServerError(message)

    def _answer(self, path: str, body: dict[str, Any] | None) -> bytes:
        try:
            status, content = exchange(self.url + path, None if body is None else json.dumps(body).encode())
        except NO_ANSWER as error:
            raise self.broken(f"{path} does not answer: {getattr(error, 'reason', error)}") from None
        if status >= http.client.BAD_REQUEST:
            text = content[:_MAX_SHOWN].decode("utf-8", "replace")
            raise ServerError(f"{path} answers {status}: {text}", status)
        if len(content) > MAX_BYTES:
            raise ServerError(f"{path} answers with more than {MAX_BYTES >> 20} MiB")
        return content


def exchange(url: str, body: Any = None, **headers: str) -> tuple[int, bytes]:
    """Return status and content of an answer, at most one byte more than MAX_BYTES; raises NO_ANSWER without one.

    It has no time limit: the subject's is watched from outside, where a hang is distinguished from a delay.
    """
    headers = headers or {"Content-Type": "application/json"}
    request = urllib.request.Request(url, data=body, headers=headers)  # noqa: S310 -- an address of our own making
    try:
        with _OPENER.open(request) as answer:
            return answer.status, answer.read(MAX_BYTES + 1)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read(MAX_BYTES + 1)


def free_port() -> int:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return int(listening.getsockname()[1])


def wait_until_ready(server: Server, alive: Callable[[], bool]) -> float:
    """Return how long it took until the server listed its models; raises ServerError when it ended instead."""
    began = time.monotonic()
    while True:
        with contextlib.suppress(ServerError):
            server.get("/v1/models")
            return time.monotonic() - began
        if not alive():
            raise server.broken("the server ended before it was ready")
        time.sleep(_ASK_EVERY_S)


def _parsed(content: bytes, path: str) -> Any:
    try:
        return json.loads(content)
    except ValueError as error:  # bytes that are no UTF-8 as well
        raise ServerError(f"{path} answers no JSON ({error}): {content[:_MAX_SHOWN]!r}") from None
