"""Examines what a measurement stands on, from the engine to the clock; each finding has a fix."""

from __future__ import annotations

import os
import shutil
import ssl
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING

from containers.connect import connect
from containers.errors import EngineUnavailable
from monitor.domain import Runtime
from monitor.errors import SettleError
from monitor.sources.index import fetch_releases

if TYPE_CHECKING:
    from collections.abc import Iterator

    from containers.settings import InstallSettings
    from monitor.config.settings import Config
    from monitor.sources.hub_wire import HubAccess

GIB = 1 << 30
_CLOCK_TOLERANCE_S = 120


class State(StrEnum):
    GOOD = "good"
    WARNING = "warning"
    BAD = "bad"


@dataclass(frozen=True, slots=True)
class Finding:
    what: str
    state: State
    found: str
    fix: str = ""


def examine(config: Config, settings: InstallSettings, hub: HubAccess, *, now: datetime) -> Iterator[Finding]:
    """Yield one finding after the other; the slow ones ask the engine, the index and the hub."""
    yield _engine(config)
    yield _disk(config)
    yield _certificates(settings.ca_bundle)
    yield from _index_and_clock(settings, now)
    yield from _hub(config, hub)
    yield _memory(config)


def _engine(config: Config) -> Finding:
    try:
        engine = connect(config.engine, home=config.home)
    except EngineUnavailable as error:
        return Finding("engine", State.BAD, str(error), error.hint)
    if engine.isolated:
        return Finding("engine", State.GOOD, engine.describe())
    fix = "install and start Docker or Podman (`make engine` does it on Debian), or set engine = 'process' to mean it"
    return Finding("engine", State.GOOD if config.engine == "process" else State.WARNING, engine.describe(), fix)


def _disk(config: Config) -> Finding:
    existing = next(folder for folder in (config.home, *config.home.parents) if folder.exists())
    if not existing.is_dir() or not os.access(existing, os.W_OK | os.X_OK):
        return Finding(
            "disk", State.BAD, f"nothing can be written below {existing}", "set home to a folder of your own"
        )
    free = shutil.disk_usage(existing).free / GIB
    found = f"{free:.0f} GiB free at {config.home}; a first environment takes about 2 GiB"
    if free < config.disk.floor_gib:
        return Finding("disk", State.BAD, found, "free some space, run `settle gc`, or set home to another disk")
    if free < config.disk.floor_gib * 2:
        return Finding(
            "disk", State.WARNING, found, "`settle gc` keeps to disk.budget_gib; lower it, or free some space"
        )
    return Finding("disk", State.GOOD, found)


def _certificates(bundle: Path | None) -> Finding:
    if bundle is None:
        return Finding("certificates", State.GOOD, "the public authorities; no bundle of your own is named")
    try:
        count = len(_load(bundle))
    except (OSError, ssl.SSLError) as error:
        fix = "name a readable PEM file in SSL_CERT_FILE or install.ca_bundle"
        return Finding("certificates", State.BAD, f"{bundle} cannot be used: {error}", fix)
    return Finding("certificates", State.GOOD, f"{count} authorities in {bundle}, mounted into installers")


def _load(bundle: Path) -> list[object]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(bundle)
    return list(context.get_ca_certs())


def _index_and_clock(settings: InstallSettings, now: datetime) -> Iterator[Finding]:
    try:
        answer = fetch_releases(Runtime.TRANSFORMERS, "transformers", settings)
    except SettleError as error:
        fix = "check install.index_url, the proxy variables and SSL_CERT_FILE"
        yield Finding("index", State.BAD, str(error), fix)
        yield Finding("clock", State.WARNING, f"{now:%Y-%m-%d %H:%M} UTC, compared with nobody: the index is silent")
        return
    if answer.has_upload_times:
        yield Finding("index", State.GOOD, f"{len(answer.releases)} releases of transformers, with upload times")
    else:
        fix = "past days cannot be rebuilt from this index; use one that serves PEP 700 upload times"
        yield Finding("index", State.WARNING, "it answers, but gives no upload times", fix)
    yield _clock(answer.served_at, now)


def _clock(served_at: datetime | None, now: datetime) -> Finding:
    if served_at is None:
        return Finding("clock", State.WARNING, f"{now:%Y-%m-%d %H:%M} UTC; the index tells no time to compare with")
    off = abs((served_at.astimezone(UTC) - now).total_seconds())
    if off > _CLOCK_TOLERANCE_S:
        fix = "set the clock (NTP): days and release times are compared in UTC"
        return Finding("clock", State.BAD, f"{off:.0f} s away from the index's clock", fix)
    return Finding("clock", State.GOOD, f"{now:%Y-%m-%d %H:%M} UTC, within {off:.0f} s of the index")


def _hub(config: Config, access: HubAccess) -> Iterator[Finding]:
    """Look at the first of what is watched there; without any, the hub is never asked."""
    own = config.hub
    if not own.asked:
        return
    from monitor.sources.hub import Gone, Hub

    try:
        with closing(Hub(access, sleep=lambda _: None)) as hub:
            if own.organisations:
                name = own.organisations[0]
                there, found = True, f"{len(hub.models_of(name)[0])} models of {name}"
            else:
                name = own.named[0]
                there = not isinstance(hub.model(name), Gone)
                found = f"{name} is {'there' if there else 'not there'}"
    except SettleError as error:
        fix = error.hint or "check hub.endpoint, the proxy variables and SSL_CERT_FILE; the daemon waits for a hub"
        yield Finding("hub", State.WARNING, str(error), fix)
        return
    found = f"{access.endpoint}: {found}; asked {'with' if access.token else 'without'} a token"
    fix = "" if there else "check the name; a private or gated model needs a token that may see it"
    yield Finding("hub", State.GOOD if there else State.WARNING, found, fix)


def _memory(config: Config) -> Finding:
    available = _meminfo().get("MemAvailable", 0) / (1 << 20)
    found = f"{available:.0f} GiB available; a container may take {config.limits.memory_gib:g} GiB"
    if available < config.limits.memory_gib:
        fix = "lower limits.memory_gib (4 is enough for miniatures), or stop something else"
        return Finding("memory", State.WARNING, found, fix)
    return Finding("memory", State.GOOD, found)


def _meminfo() -> dict[str, int]:
    """Return the kernel's figures in KiB; empty where there is no such file."""
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
    except OSError:
        return {}
    return {name: int(rest.split()[0]) for name, _, rest in (line.partition(":") for line in lines)}
