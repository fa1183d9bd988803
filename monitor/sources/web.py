"""Fetches one document over HTTP, bounded in bytes and in time, with the proxies and authorities of packages."""

from __future__ import annotations

import os
import socket
import ssl
import threading
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from email.utils import parsedate_to_datetime
from functools import cache
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, TypeVar
from weakref import WeakSet

import httpx

from containers.lock import redacted
from containers.settings import TorchBuild, settings_from_environment
from monitor.errors import InfraError
from monitor.sources.bounds import plausible

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from datetime import datetime
    from pathlib import Path

    from containers.settings import InstallSettings
    from monitor.config.settings import Config

GIB = 1 << 30
T = TypeVar("T")
LIMIT_BYTES = 8 << 20
SECONDS = 30.0
_NOT_FOUND = 404
_ERRORS = 400


@dataclass(frozen=True, slots=True)
class Document:
    body: bytes
    url: str  # after redirects
    media_type: str
    changed_at: datetime | None  # as the server says
    served_at: datetime | None  # by the server's clock


class TooSlow(Exception):
    """An answer is not complete in time."""


class Connections:
    """The connections of a client, which can be shut from outside.

    A timeout of httpx is that of a single read: a server that sends a byte at a time, of the headers or of a
    compressed body, never exceeds it.
    """

    def __init__(self) -> None:
        self._sockets: WeakSet[socket.socket] = WeakSet()
        self._late = threading.Event()
        self.extensions = {"trace": self._trace}  # of every request of the client

    def _trace(self, event: str, details: Mapping[str, Any]) -> None:
        if event.endswith((".connect_tcp.complete", ".start_tls.complete")):
            self._sockets.add(details["return_value"].get_extra_info("socket"))
            if self._late.is_set():  # connected after the time was over
                self.shut()

    def reopen(self) -> None:
        """Let the next request connect again."""
        self._late.clear()

    def shut(self) -> None:
        """Shut every connection, so that whatever waits for one of them fails."""
        self._late.set()
        for connected in list(self._sockets):
            with suppress(OSError):
                socket.socket.shutdown(connected, socket.SHUT_RDWR)  # TLS has a shutdown that other threads may not use

    @contextmanager
    def within(self, seconds: float) -> Iterator[None]:
        """Shut the connections after so many seconds. Raises TooSlow where that ended the work."""
        self.reopen()
        timer = threading.Timer(seconds, self.shut)
        timer.daemon = True
        timer.start()
        try:
            yield
        except httpx.HTTPError as error:
            if self._late.is_set():
                raise TooSlow from error
            raise
        finally:
            timer.cancel()
        if self._late.is_set():  # a body without a length looks complete when its connection is shut
            raise TooSlow


def fetch(
    url: str,
    settings: InstallSettings,
    *,
    accept: str = "*/*",
    limit_bytes: int = LIMIT_BYTES,
    seconds: float = SECONDS,
) -> Document | None:
    """Return the document at an address, None where there is none (404).

    Raises InfraError for a server that does not answer, or answers with an error, too much, or too slowly.
    """
    connections, body = Connections(), bytearray()
    try:
        host = httpx.URL(url).host
    except httpx.InvalidURL as error:
        raise _no_answer(redacted(url)[:200], f"no address: {error}") from error
    try:
        with (
            open_client(settings, seconds) as client,
            connections.within(seconds),
            client.stream("GET", url, headers={"Accept": accept}, extensions=connections.extensions) as answer,
        ):
            if answer.status_code == _NOT_FOUND:
                return None
            if answer.status_code >= _ERRORS:
                raise _no_answer(host, f"it answers {answer.status_code} {answer.reason_phrase}".strip())
            for part in answer.iter_bytes():
                body += part
                if len(body) > limit_bytes:
                    raise _no_answer(host, f"its answer is longer than {limit_bytes} bytes")
            document = Document(
                body=bytes(body),
                url=str(answer.url),
                media_type=answer.headers.get("Content-Type", "").partition(";")[0].strip().lower(),
                changed_at=http_date(answer.headers.get("Last-Modified", "")),
                served_at=http_date(answer.headers.get("Date", "")),
            )
    except TooSlow as error:
        raise _no_answer(host, f"its answer takes longer than {seconds:g} s") from error
    except (httpx.HTTPError, httpx.InvalidURL, OSError, ValueError) as error:
        raise _no_answer(host, f"{type(error).__name__}: {redacted(str(error))[:200]}") from error
    return document


def open_client(settings: InstallSettings, seconds: float, *, token: str = "") -> httpx.Client:
    """Return a client with the network settings of packages; the token goes to the addressed host alone."""
    bundle = settings.ca_bundle
    context = _tls_context(bundle, bundle.stat().st_mtime_ns if bundle else 0)
    return httpx.Client(
        verify=context,
        timeout=seconds,
        follow_redirects=True,
        trust_env=False,  # the settings come from the environment already, and the configuration precedes it
        mounts={
            pattern: httpx.HTTPTransport(verify=context, proxy=proxy) if proxy else None
            for pattern, proxy in _proxies(settings).items()
        },
        headers={"User-Agent": f"settle/{version('settle')}"} | ({"Authorization": f"Bearer {token}"} if token else {}),
    )


@cache
def _tls_context(bundle: Path | None, _changed_at: int) -> ssl.SSLContext:
    """Read the authorities once, and again when their file changes: reading takes longer than most answers."""
    return ssl.create_default_context(cafile=bundle) if bundle else httpx.create_ssl_context(trust_env=False)


def _proxies(settings: InstallSettings) -> Mapping[str, str]:
    """Return the proxy of each of httpx's URL patterns, "" for a direct connection."""
    direct = [host.strip() for host in settings.no_proxy.split(",") if host.strip()]
    if "*" in direct:
        return {}
    proxies = {"http://": settings.http_proxy, "https://": settings.https_proxy}
    used = {pattern: proxy for pattern, proxy in proxies.items() if proxy}
    return used | {f"all://{'*' if host.startswith('.') else ''}{host}": "" for host in direct}


def _no_answer(host: str, why: str) -> InfraError:
    return InfraError(
        f"{host} does not answer: {why}", hint="check the address, the proxy and the certificate authority"
    )


def http_date(text: str) -> datetime | None:
    """Parse the date of a header, None where it is none."""
    try:
        moment = parsedate_to_datetime(text)
    except (ValueError, TypeError, IndexError, OverflowError):  # whatever an older Python raises
        return None
    return plausible(moment)  # "-0000" is UTC too


def install_settings(config: Config, env: Mapping[str, str] | None = None) -> InstallSettings:
    """Return how packages are fetched: the configuration first, then the environment."""
    defaults = settings_from_environment(os.environ if env is None else env)
    section = config.install
    return replace(
        defaults,
        index_url=_first(section.index_url, defaults.index_url),
        extra_index_urls=_first(section.extra_index_urls, defaults.extra_index_urls),
        find_links=_first(section.find_links, defaults.find_links),
        ca_bundle=_first(section.ca_bundle, defaults.ca_bundle),
        http_proxy=_first(section.http_proxy, defaults.http_proxy),
        https_proxy=_first(section.https_proxy, defaults.https_proxy),
        no_proxy=_first(section.no_proxy, defaults.no_proxy),
        overrides=section.overrides,
        constraints=section.constraints,
        exempt=section.exempt,
        torch=TorchBuild.CPU if section.torch == "cpu" else TorchBuild.CUDA,
        python=section.python,
        base_image=_first(section.base_image, f"docker.io/library/python:{section.python}-slim-bookworm"),
        debian_mirror=_first(section.debian_mirror, defaults.debian_mirror),
        free_bytes=int(config.disk.floor_gib * GIB),
        seconds=config.limits.install_seconds,
        memory_bytes=int(config.limits.memory_gib * GIB),
    )


def _first(configured: T | None, default: T) -> T:
    return default if configured is None else configured
