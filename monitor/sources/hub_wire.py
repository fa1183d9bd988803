"""Carries questions to a hub and answers back: within limits, past short rate limits, never a token to a stranger."""

from __future__ import annotations

import re
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from functools import cached_property
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import httpx

from containers.lock import redacted
from containers.settings import InstallSettings
from monitor.errors import AskAgain, InfraError, NoAnswer
from monitor.sources.web import open_client

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from contextlib import AbstractContextManager

DEFAULT_HUB = "https://huggingface.co"
CHECK = "check the section [hub] of the configuration, the proxy and the certificate authority"

_TIMEOUT_S = 30.0
_ANSWER_S = 120.0  # one answer in all: a server that drips would hold us for ever
_ANSWER_BYTES = 32 << 20
_SHORT_WAIT_S = 30.0  # a rate limit that ends sooner is waited for
_TRIES = 3
_RESET = re.compile(r"r\s*=\s*\d+\s*;\s*t\s*=\s*(\d+)")


@dataclass(frozen=True, slots=True)
class HubAccess:
    endpoint: str = DEFAULT_HUB
    token: str = field(default="", repr=False)
    network: InstallSettings = field(default_factory=InstallSettings)  # asked as packages are fetched


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    headers: Mapping[str, str]
    body: bytes
    following: str  # query of the next page, "" on the last one


@dataclass(frozen=True, slots=True)
class Stream:
    status: int
    headers: Mapping[str, str]
    chunks: Iterator[bytes]


class Wire:
    """Raises NoAnswer when the hub cannot be reached or fails, AskAgain when it wants to be left alone for long.

    No connection is made before the first question.
    """

    def __init__(self, access: HubAccess, *, now: Callable[[], datetime], sleep: Callable[[float], None]) -> None:
        self.access = access
        self._now, self._sleep = now, sleep

    def close(self) -> None:
        if "_client" in self.__dict__:
            self._client.close()

    def ask(self, path: str, query: Sequence[tuple[str, str]]) -> Answer:
        """Ask once, and again where a short rate limit or a passing failure of the server stood in the way."""
        for attempt in range(1, _TRIES + 1):
            with _spoken(), self._ask(path, query) as response:
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

    @contextmanager
    def open(self, path: str, *, start: int = 0) -> Iterator[Stream]:
        """Open a file's bytes, from ``start`` on where the server can do that, wherever it is kept."""
        headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={start}-"} if start else {})
        with _spoken(), self._client.stream("GET", self._url(path), headers=headers) as response:
            if response.status_code == httpx.codes.TOO_MANY_REQUESTS:
                raise self._later(response)
            if response.is_server_error:
                raise NoAnswer(f"the hub answers {response.status_code} to {path}", hint=CHECK)
            yield Stream(response.status_code, response.headers, response.iter_raw(1 << 20))

    def _ask(self, path: str, query: Sequence[tuple[str, str]]) -> AbstractContextManager[httpx.Response]:
        """Ask without following: that a model moved is an answer."""
        return self._client.stream("GET", self._url(path), params=list(query), follow_redirects=False)

    def _read(self, response: httpx.Response, path: str) -> Answer:
        until = self._now() + timedelta(seconds=_ANSWER_S)
        body = bytearray()
        for chunk in bounded(response.iter_bytes(), _ANSWER_BYTES):
            body += chunk
            if self._now() > until:
                raise NoAnswer(f"the hub takes longer than {_ANSWER_S:g} s for {path}")
        if len(body) > _ANSWER_BYTES:
            raise InfraError(f"the hub's answer to {path} is larger than {_ANSWER_BYTES >> 20} MiB")
        following = urlsplit(response.links.get("next", {}).get("url", "")).query
        return Answer(response.status_code, response.headers, bytes(body), following)

    def _later(self, response: httpx.Response) -> AskAgain:
        at = self._now() + timedelta(seconds=wait_of(response.headers, self._now()) + 1)
        said = f"the hub wants to be asked less often: again at {at:%H:%M:%S} UTC"
        return AskAgain(said, at=at, hint="a token raises the limit")

    def _url(self, path: str) -> str:
        return f"{self.access.endpoint.rstrip('/')}/{path}"

    @cached_property
    def _client(self) -> httpx.Client:
        return open_client(self.access.network, _TIMEOUT_S, token=self.access.token)


def wait_of(headers: Mapping[str, str], now: datetime) -> float:
    """Return for how many seconds a rate limit lasts, as ``RateLimit`` or ``Retry-After`` say it; else a minute."""
    reset = _RESET.search(headers.get("ratelimit", ""))
    if reset:
        return float(reset[1])
    said = headers.get("retry-after", "")
    if said.isdecimal():
        return float(said[:9])
    try:
        at = parsedate_to_datetime(said)
    except ValueError:
        return 60.0
    at = at if at.tzinfo else at.replace(tzinfo=UTC)
    return max(0.0, (at - now).total_seconds())


def bounded(chunks: Iterator[bytes], limit: int) -> Iterator[bytes]:
    """Yield chunks until more than ``limit`` bytes have come; no more is read than tells that there are more."""
    size = 0
    for chunk in chunks:
        yield chunk
        size += len(chunk)
        if size > limit:
            return


@contextmanager
def _spoken() -> Iterator[None]:
    try:
        yield
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        said = f"{type(error).__name__}: {redacted(str(error))[:200]}"
        raise NoAnswer(f"the hub does not answer: {said}", hint=CHECK) from error
