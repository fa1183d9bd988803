"""Sends requests to a hub: bounded in size and time, retried past short rate limits, the token to the hub alone."""

from __future__ import annotations

import os
import re
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import httpx

from containers.lock import redacted
from containers.settings import InstallSettings
from monitor.errors import AskAgain, InfraError, NoAnswer
from monitor.sources.web import http_date, install_settings, open_client

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from monitor.config.settings import Config

DEFAULT_HUB = "https://huggingface.co"
CHECK = "check the section [hub] of the configuration, the proxy and the certificate authority"

_TIMEOUT_S = 30.0
_ANSWER_S = 120.0  # a whole answer: a server that sends a byte at a time must not hold the daemon for ever
_ANSWER_BYTES = 32 << 20
_SHORT_WAIT_S = 30.0  # a rate limit that ends sooner is waited for
_TRIES = 3
_RESET = re.compile(r"r\s*=\s*\d+\s*;\s*t\s*=\s*(\d+)")


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


class HubConnection:
    """A connection to a hub, made at the first request.

    Raises NoAnswer when the hub cannot be reached or fails, AskAgain after a long rate limit.
    """

    def __init__(self, access: HubAccess, *, now: Callable[[], datetime], sleep: Callable[[float], None]) -> None:
        self.access = access
        self._now, self._sleep = now, sleep

    def close(self) -> None:
        if "_client" in self.__dict__:
            self._client.close()

    def ask(self, path: str, query: Sequence[tuple[str, str]]) -> HubAnswer:
        """Ask once, and again after a short rate limit or a passing failure of the server."""
        for attempt in range(1, _TRIES + 1):
            with (
                _as_no_answer(),
                # redirects are not followed: a moved model is an answer
                self._client.stream("GET", self._url(path), params=list(query), follow_redirects=False) as response,
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

    @contextmanager
    def open(self, path: str, *, start: int = 0) -> Iterator[Stream]:
        """Open a file's bytes, from ``start`` on where the server supports it, wherever it is stored."""
        headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={start}-"} if start else {})
        with _as_no_answer(), self._client.stream("GET", self._url(path), headers=headers) as response:
            if response.status_code == httpx.codes.TOO_MANY_REQUESTS:
                raise self._later(response)
            if response.is_server_error:
                raise NoAnswer(f"the hub answers {response.status_code} to {path}", hint=CHECK)
            yield Stream(response.status_code, response.headers, response.iter_raw(1 << 20))

    def _read(self, response: httpx.Response, path: str) -> HubAnswer:
        until = self._now() + timedelta(seconds=_ANSWER_S)
        body = bytearray()
        for chunk in bounded(response.iter_bytes(), _ANSWER_BYTES):
            body += chunk
            if self._now() > until:
                raise NoAnswer(f"the hub takes longer than {_ANSWER_S:g} s for {path}")
        if len(body) > _ANSWER_BYTES:
            raise InfraError(f"the hub's answer to {path} is larger than {_ANSWER_BYTES >> 20} MiB")
        following = urlsplit(response.links.get("next", {}).get("url", "")).query
        return HubAnswer(response.status_code, response.headers, bytes(body), following)

    def _later(self, response: httpx.Response) -> AskAgain:
        at = self._now() + timedelta(seconds=wait_of(response.headers, self._now()) + 1)
        message = f"the hub limits the rate of requests: the next one at {at:%H:%M:%S} UTC"
        return AskAgain(message, at=at, hint="a token raises the limit")

    def _url(self, path: str) -> str:
        return f"{self.access.endpoint.rstrip('/')}/{path}"

    @cached_property
    def _client(self) -> httpx.Client:
        return open_client(self.access.network, _TIMEOUT_S, token=self.access.token)


def wait_of(headers: Mapping[str, str], now: datetime) -> float:
    """Return the seconds that a rate limit lasts, by ``RateLimit`` or ``Retry-After``; else a minute."""
    reset = _RESET.search(headers.get("ratelimit", ""))
    if reset:
        return float(reset[1])
    retry_after = headers.get("retry-after", "")
    if retry_after.isdecimal():
        return float(retry_after[:9])
    at = http_date(retry_after)
    return 60.0 if at is None else max(0.0, (at - now).total_seconds())


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
