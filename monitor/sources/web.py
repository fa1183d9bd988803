"""Fetches one document over HTTP, bounded in bytes and in time, with the proxies and authorities of packages."""

from __future__ import annotations

import ssl
import time
from dataclasses import dataclass
from datetime import UTC
from email.utils import parsedate_to_datetime
from functools import cache
from importlib.metadata import version
from typing import TYPE_CHECKING

import httpx

from containers.lock import redacted
from monitor.errors import InfraError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime
    from pathlib import Path

    from containers.settings import InstallSettings

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


def fetch(
    url: str,
    settings: InstallSettings,
    *,
    accept: str = "*/*",
    limit_bytes: int = LIMIT_BYTES,
    seconds: float = SECONDS,
    clock: Callable[[], float] = time.monotonic,
) -> Document | None:
    """Return the document at an address, None where there is none (404).

    Raises InfraError for a server that does not answer, or answers with an error, too much, or too slowly.
    """
    host = httpx.URL(url).host
    deadline = clock() + seconds
    body = bytearray()
    try:
        with (
            open_client(settings, seconds) as client,
            client.stream("GET", url, headers={"Accept": accept}) as answer,
        ):
            if answer.status_code == _NOT_FOUND:
                return None
            if answer.status_code >= _ERRORS:
                raise _no_answer(host, f"it answers {answer.status_code} {answer.reason_phrase}".strip())
            for part in answer.iter_bytes():
                body += part
                if len(body) > limit_bytes:
                    raise _no_answer(host, f"its answer is longer than {limit_bytes} bytes")
                if clock() > deadline:
                    raise _no_answer(host, f"its answer takes longer than {seconds:g} s")
            return Document(
                body=bytes(body),
                url=str(answer.url),
                media_type=answer.headers.get("Content-Type", "").partition(";")[0].strip().lower(),
                changed_at=_moment(answer.headers.get("Last-Modified", "")),
                served_at=_moment(answer.headers.get("Date", "")),
            )
    except (httpx.HTTPError, httpx.InvalidURL, OSError) as error:
        raise _no_answer(host, f"{type(error).__name__}: {redacted(str(error))[:200]}") from error


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


def _moment(text: str) -> datetime | None:
    try:
        moment = parsedate_to_datetime(text)
    except ValueError:
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)  # "-0000" is UTC too
