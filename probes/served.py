"""Talks to an OpenAI-compatible server on this machine, with the standard library; every answer is bounded."""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.request
from typing import TYPE_CHECKING, Any

from probes.faults import SaidError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_MAX_BYTES = 64 << 20
_MAX_SAID = 600
_PATIENCE_S = 60.0
_ASK_EVERY_S = 0.05
# a proxy of the environment must never see what is asked of this machine
_OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class ServerError(SaidError):
    """The server refused a request, answered something unreadable, or did not answer."""

    def __init__(self, said: str, status: int = 0) -> None:
        super().__init__(said)
        self.status = status  # 0: there was no answer


class Server:
    """One server: where it listens, what it calls the model, and whether it takes a bias for each token."""

    def __init__(self, url: str, model: str, *, biases: bool = True) -> None:
        self.url = url.rstrip("/")
        self.model = model
        self.biases = biases

    def get(self, path: str) -> Any:
        return _parsed(self._answer(path, None, _PATIENCE_S), path)

    def post(self, path: str, body: dict[str, Any], *, seconds: float = _PATIENCE_S) -> Any:
        return _parsed(self._answer(path, body, seconds), path)

    def stream(self, path: str, body: dict[str, Any], *, seconds: float = _PATIENCE_S) -> Iterator[Any]:
        """Yield the events of a streamed answer, without the ``[DONE]`` that must end them."""
        text = self._answer(path, {**body, "stream": True}, seconds).decode("utf-8", "replace")
        events = [line[5:].strip() for line in text.splitlines() if line.startswith("data:")]
        if not events or events[-1] != "[DONE]":
            raise ServerError(f"the stream of {path} does not end with [DONE]: {text[-_MAX_SAID:]!r}")
        for event in events[:-1]:
            yield _parsed(event.encode(), path)

    def _answer(self, path: str, body: dict[str, Any] | None, seconds: float) -> bytes:
        request = urllib.request.Request(  # noqa: S310 -- an address of our own making
            self.url + path,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Content-Type": "application/json"},
        )
        try:
            with _OPENER.open(request, timeout=seconds) as answer:
                content = bytes(answer.read(_MAX_BYTES + 1))
        except urllib.error.HTTPError as error:
            said = error.read(_MAX_SAID).decode("utf-8", "replace")
            raise ServerError(f"{path} answers {error.code}: {said}", error.code) from None
        except (OSError, ValueError) as error:  # ValueError: what came is not HTTP
            raise ServerError(f"{path} does not answer: {getattr(error, 'reason', error)}") from None
        if len(content) > _MAX_BYTES:
            raise ServerError(f"{path} answers with more than {_MAX_BYTES >> 20} MiB")
        return content


def wait_until_ready(server: Server, alive: Callable[[], bool], *, seconds: float) -> float:
    """Return how long it took until the server listed its models; raises ServerError when it ended or never did."""
    began = time.monotonic()
    while True:
        try:
            server.get("/v1/models")
        except ServerError as error:
            said = error
        else:
            return time.monotonic() - began
        if not alive():
            raise ServerError("the server ended before it was ready")
        if time.monotonic() - began > seconds:
            raise ServerError(f"not ready after {seconds:.0f} s: {said}")
        time.sleep(_ASK_EVERY_S)


def _parsed(content: bytes, path: str) -> Any:
    try:
        return json.loads(content)
    except ValueError as error:  # bytes that are no UTF-8 as well
        raise ServerError(f"{path} answers no JSON ({error}): {content[:_MAX_SAID]!r}") from None
