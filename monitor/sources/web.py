"""Fetches one document over HTTP, bounded in bytes and in time, with the proxies and authorities of packages."""

from __future__ import annotations

import os
import ssl
import time
from dataclasses import dataclass, replace
from datetime import UTC
from email.utils import parsedate_to_datetime
from functools import cache
from importlib.metadata import version
from typing import TYPE_CHECKING, TypeVar

import httpx

from containers.lock import redacted
from containers.settings import TorchBuild, settings_from_environment
from monitor.errors import InfraError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
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
                changed_at=http_date(answer.headers.get("Last-Modified", "")),
                served_at=http_date(answer.headers.get("Date", "")),
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


def http_date(text: str) -> datetime | None:
    """Parse the date of a header, None where it is none."""
    try:
        moment = parsedate_to_datetime(text)
    except ValueError:
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)  # "-0000" is UTC too


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
