"""Sends requests to a hub: bounded in size and time, retried past short rate limits, the token to the hub alone."""

from __future__ import annotations

import math
import os
import re
import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import httpx

from containers.lock import redacted
from containers.settings import InstallSettings
from monitor.errors import AskAgain, InfraError, NoAnswer
from monitor.sources.web import Connections, TooSlow, http_date, install_settings, open_client

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from contextlib import AbstractContextManager

    from monitor.config.settings import Config

DEFAULT_HUB = "https://huggingface.co"
CHECK = "check the section [hub] of the configuration, the proxy and the certificate authority"

_TIMEOUT_S = 30.0
_ANSWER_S = 60.0  # a whole answer, a small file included
_LOOK_S = 60.0  # how often a long download is looked at ...
_SLOWEST_BYTES_S = 16 << 10  # ... and what it must have brought since: slower, and the daemon would wait for weeks
_ANSWER_BYTES = 16 << 20
_SHORT_WAIT_S = 30.0  # a rate limit that ends sooner is waited for
_TRIES = 3
LONGEST_WAIT_S = 6 * 3600.0  # a hub may ask for a longer one, by mistake or malice; it is asked again after this
_DIGITS = 9
_RESET = re.compile(r"r\s*=\s*[0-9]+\s*;\s*t\s*=\s*([0-9]+)")


@dataclass(frozen=True, slots=True)
class HubAccess:
    endpoint: str = DEFAULT_HUB
    token: str = field(default="", repr=False)
    network: InstallSettings = field(default_factory=InstallSettings)  # proxies and authorities, as for packages


@dataclass(frozen=True, slots=True)
class HubAnswer:
    status: int
    headers: Mapping[str, str]
    body: bytes
    following: str  # query of the next page, "" on the last one


@dataclass(frozen=True, slots=True)
class Stream:
    status: int
    headers: Mapping[str, str]
    chunks: Iterator[bytes]
    response: httpx.Response


class HubConnection:
    """A connection to a hub, made at the first request.

    Raises NoAnswer when the hub cannot be reached or fails, AskAgain after a long rate limit.
    """

    def __init__(
        self,
        access: HubAccess,
        *,
        now: Callable[[], datetime],
        sleep: Callable[[float], None],
        answer_s: float = _ANSWER_S,
        look_s: float = _LOOK_S,
    ) -> None:
        self.access = access
        self._now, self._sleep = now, sleep
        self._answer_s, self._look_s = answer_s, look_s
        self._connections = Connections()

    def close(self) -> None:
        if "_client" in self.__dict__:
            self._client.close()

    def ask(self, path: str, query: Sequence[tuple[str, str]]) -> HubAnswer:
        """Ask once, and again after a short rate limit or a passing failure of the server."""
        for attempt in range(1, _TRIES + 1):
            with (
                self._in_time(path),
                # redirects are not followed: a moved model is an answer
                self._stream(path, params=list(query), follow_redirects=False) as response,
            ):
                last = attempt == _TRIES
                if response.status_code == httpx.codes.TOO_MANY_REQUESTS:
                    wait = wait_of(response.headers, self._now()) + 1
                    if last or wait > _SHORT_WAIT_S:
                        raise self._later(response)
                elif response.is_server_error and not last:
                    wait = float(attempt)
                elif response.is_server_error:
                    raise NoAnswer(f"the hub answers {response.status_code} to {path}", hint=CHECK)
                else:
                    return self._read(response, path)
            self._sleep(wait)
        raise AssertionError("unreachable")

    def file(self, path: str, limit: int) -> tuple[Stream, bytes]:
        """Return the answer to a request for a small file, and as much of it as shows whether it exceeds the limit."""
        with self._in_time(path), self._opened(path, {}) as stream:
            return stream, b"".join(bounded(stream.chunks, limit))

    def piece(self, path: str, start: int, size: int) -> tuple[Stream, bytes]:
        """Return the answer to a request for some bytes of a file; a server without ranges sends it from its start."""
        with (
            self._in_time(path),
            self._opened(path, {"Range": f"bytes={start}-{start + size - 1}"}) as stream,
        ):
            before = 0 if stream.status == httpx.codes.PARTIAL_CONTENT else start
            return stream, b"".join(bounded(stream.chunks, before + size - 1))[before : before + size]

    @contextmanager
    def open(self, path: str, *, start: int = 0) -> Iterator[Stream]:
        """Open a file's bytes, from ``start`` on where the server supports it, wherever it is stored.

        A file takes as long as it needs, unless it comes too slowly to be worth a wait.
        """
        with (
            _as_no_answer(),
            self._fast_enough(path) as watch,
            self._opened(path, {"Range": f"bytes={start}-"} if start else {}) as stream,
        ):
            watch(stream.response)
            yield stream

    @contextmanager
    def _opened(self, path: str, headers: Mapping[str, str]) -> Iterator[Stream]:
        with self._stream(path, headers={"Accept-Encoding": "identity", **headers}) as response:
            if response.status_code == httpx.codes.TOO_MANY_REQUESTS:
                raise self._later(response)
            if response.is_server_error:
                raise NoAnswer(f"the hub answers {response.status_code} to {path}", hint=CHECK)
            yield Stream(response.status_code, response.headers, response.iter_raw(1 << 20), response)

    def _stream(self, path: str, **options: Any) -> AbstractContextManager[httpx.Response]:
        return self._client.stream("GET", self._url(path), extensions=self._connections.extensions, **options)

    @contextmanager
    def _in_time(self, path: str) -> Iterator[None]:
        try:
            with _as_no_answer(), self._connections.within(self._answer_s):
                yield
        except TooSlow as error:
            raise NoAnswer(f"the hub takes longer than {self._answer_s:g} s for {path}") from error

    @contextmanager
    def _fast_enough(self, path: str) -> Iterator[Callable[[httpx.Response], None]]:
        """Shut a connection that brings too few bytes between two looks at it; yields what begins the watch."""
        watch = _Watch(self._connections, self._look_s)
        self._connections.reopen()
        watch.start()
        slow = NoAnswer(f"the hub sends {path} too slowly")
        try:
            yield watch.begin
        except httpx.HTTPError as error:
            if watch.late:
                raise slow from error
            raise
        finally:
            watch.end()
        if watch.late:  # a body without a length looks complete when its connection is shut
            raise slow

    def _read(self, response: httpx.Response, path: str) -> HubAnswer:
        body = b"".join(bounded(response.iter_bytes(), _ANSWER_BYTES))
        if len(body) > _ANSWER_BYTES:
            raise InfraError(f"the hub's answer to {path} is larger than {_ANSWER_BYTES >> 20} MiB")
        return HubAnswer(response.status_code, response.headers, body, _following(response))

    def _later(self, response: httpx.Response) -> AskAgain:
        at = self._now() + timedelta(seconds=wait_of(response.headers, self._now()) + 1)
        message = f"the hub limits the rate of requests: the next one on {at:%Y-%m-%d at %H:%M:%S} UTC"
        return AskAgain(message, at=at, hint="a token raises the limit")

    def _url(self, path: str) -> str:
        return f"{self.access.endpoint.rstrip('/')}/{path}"

    @cached_property
    def _client(self) -> httpx.Client:
        return open_client(self.access.network, _TIMEOUT_S, token=self.access.token)


def wait_of(headers: Mapping[str, str], now: datetime) -> float:
    """Return the seconds that a rate limit lasts, by ``RateLimit`` or ``Retry-After``; else a minute, hours at most."""
    reset = _RESET.search(headers.get("ratelimit", ""))
    retry_after = headers.get("retry-after", "")
    if reset:
        seconds = _seconds(reset[1])
    elif retry_after.isascii() and retry_after.isdecimal():
        seconds = _seconds(retry_after)
    else:
        at = http_date(retry_after)
        seconds = 60.0 if at is None else max(0.0, (at - now).total_seconds())
    return min(seconds, LONGEST_WAIT_S)


def _seconds(digits: str) -> float:
    return float(digits) if len(digits) <= _DIGITS else math.inf


def _following(response: httpx.Response) -> str:
    """Return the query of the next page, "" where the answer names none that can be read."""
    try:
        return urlsplit(response.links.get("next", {}).get("url", "")).query
    except ValueError:
        return ""


class _Watch(threading.Thread):
    """Looks at a download from time to time, and ends one that has brought too little since."""

    def __init__(self, connections: Connections, look_s: float) -> None:
        super().__init__(daemon=True)
        self._connections, self._look_s = connections, look_s
        self._over = threading.Event()
        self._response: httpx.Response | None = None
        self.late = False

    def begin(self, response: httpx.Response) -> None:
        self._response = response

    def end(self) -> None:
        self._over.set()
        self.join()

    def run(self) -> None:
        before = 0
        while not self._over.wait(self._look_s):
            size = self._response.num_bytes_downloaded if self._response else 0
            if size - before < _SLOWEST_BYTES_S * self._look_s:
                self.late = True
                self._connections.shut()
                return
            before = size


def bounded(chunks: Iterator[bytes], limit: int) -> Iterator[bytes]:
    """Yield chunks until they exceed ``limit`` bytes, and read no further."""
    size = 0
    for chunk in chunks:
        yield chunk
        size += len(chunk)
        if size > limit:
            return


@contextmanager
def _as_no_answer() -> Iterator[None]:
    try:
        yield
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        cause = f"{type(error).__name__}: {redacted(str(error))[:200]}"
        raise NoAnswer(f"the hub does not answer: {cause}", hint=CHECK) from error


def hub_access(config: Config, env: Mapping[str, str] | None = None) -> HubAccess:
    """Return how the hub is asked: the configuration first, then the variables and files of the hub's tools."""
    env = os.environ if env is None else env
    section = config.hub
    token = section.token.get_secret_value() if section.token else ""
    return HubAccess(
        endpoint=section.endpoint or env.get("HF_ENDPOINT") or DEFAULT_HUB,
        token=token or env.get("HF_TOKEN", "").strip() or _stored_token(env),
        network=install_settings(config, env),
    )


def _stored_token(env: Mapping[str, str]) -> str:
    """Read the token that `hf auth login` keeps."""
    home = env.get("HF_HOME") or str(Path(env.get("XDG_CACHE_HOME") or "~/.cache") / "huggingface")
    try:
        return Path(env.get("HF_TOKEN_PATH") or f"{home}/token").expanduser().read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError, RuntimeError):
        return ""
