"""`settle doctor`: checks engine, disk, index, certificates, hub, memory and clock; each problem comes with a fix."""

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

import click

from containers.connect import connect
from containers.errors import EngineUnavailable
from monitor.cli.root import JSON, Options, examples
from monitor.domain import Runtime
from monitor.errors import InfraError, SettleError
from monitor.sources.index import fetch_releases

if TYPE_CHECKING:
    from collections.abc import Iterator

    from containers.settings import InstallSettings
    from monitor.config.settings import Config
    from monitor.sources.hub_http import HubAccess

GIB = 1 << 30
_CLOCK_TOLERANCE_S = 120


@click.command(epilog=examples("settle doctor", "settle doctor --json", "settle doctor --engine process"))
@click.option("--engine", type=click.Choice(["auto", "docker", "podman", "process"]), help="Check this engine.")
@JSON
@click.pass_obj
def doctor(options: Options, *, engine: str | None, as_json: bool) -> None:
    """Check engine, disk, index, certificates, hub, memory and clock; each problem comes with a fix.

    The exit code is 5 when a finding prevents every measurement.
    """
    from monitor.cli.output import data_console, write_json
    from monitor.sources.hub_http import hub_access
    from monitor.sources.web import install_settings

    config = options.with_engine(engine)
    settings = install_settings(config)
    findings = []
    console = data_console()
    for finding in examine(config, settings, hub_access(config), now=datetime.now(UTC)):
        findings.append(finding)
        if not as_json:
            console.print(f"{finding.state:8} {finding.subject}: {finding.message}", markup=False, soft_wrap=True)
            if finding.fix:
                console.print(f"         fix: {finding.fix}", markup=False, soft_wrap=True)
    if as_json:
        write_json(findings)
    bad = [finding.subject for finding in findings if finding.state is State.BAD]
    if bad:
        raise InfraError(f"cannot measure: {', '.join(bad)}", hint="each problem above comes with a fix")


class State(StrEnum):
    GOOD = "good"
    WARNING = "warning"
    BAD = "bad"


@dataclass(frozen=True, slots=True)
class Finding:
    subject: str
    state: State
    message: str
    fix: str = ""


def examine(config: Config, settings: InstallSettings, hub: HubAccess, *, now: datetime) -> Iterator[Finding]:
    """Yield the findings as they come; those of engine, index and hub take a while."""
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
    fix = "install and start Docker or Podman (`make engine` does it on Debian), or set engine = 'process'"
    return Finding("engine", State.GOOD if config.engine == "process" else State.WARNING, engine.describe(), fix)


def _disk(config: Config) -> Finding:
    existing = next(folder for folder in (config.home, *config.home.parents) if folder.exists())
    if not existing.is_dir() or not os.access(existing, os.W_OK | os.X_OK):
        return Finding("disk", State.BAD, f"{existing} is not writable", "set home to a writable folder")
    free = shutil.disk_usage(existing).free / GIB
    message = f"{free:.0f} GiB free at {config.home}; a first environment takes about 2 GiB"
    if free < config.disk.floor_gib:
        fix = "free some space, run `settle disk-budget`, or set home to another disk"
        return Finding("disk", State.BAD, message, fix)
    if free < config.disk.floor_gib * 2:
        fix = "lower disk.budget_gib and run `settle disk-budget`, or free some space"
        return Finding("disk", State.WARNING, message, fix)
    return Finding("disk", State.GOOD, message)


def _certificates(bundle: Path | None) -> Finding:
    if bundle is None:
        return Finding("certificates", State.GOOD, "the public authorities; no bundle is configured")
    try:
        count = len(_load(bundle))
    except (OSError, ssl.SSLError) as error:
        fix = "set SSL_CERT_FILE or install.ca_bundle to a readable PEM file"
        return Finding("certificates", State.BAD, f"{bundle} cannot be used: {error}", fix)
    return Finding("certificates", State.GOOD, f"{count} authorities in {bundle}; installers use them too")


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
        yield Finding("clock", State.WARNING, f"{now:%Y-%m-%d %H:%M} UTC, not compared: the index does not answer")
        return
    if answer.has_upload_times:
        yield Finding("index", State.GOOD, f"{len(answer.releases)} releases of transformers, with upload times")
    else:
        fix = "past days cannot be rebuilt from this index; use one that serves PEP 700 upload times"
        yield Finding("index", State.WARNING, "the index gives no upload times", fix)
    yield _clock(answer.served_at, now)


def _clock(served_at: datetime | None, now: datetime) -> Finding:
    if served_at is None:
        return Finding("clock", State.WARNING, f"{now:%Y-%m-%d %H:%M} UTC, not compared: the index sends no time")
    off = abs((served_at.astimezone(UTC) - now).total_seconds())
    if off > _CLOCK_TOLERANCE_S:
        fix = "set the clock (NTP): days and release times are compared in UTC"
        return Finding("clock", State.BAD, f"{off:.0f} s away from the index's clock", fix)
    return Finding("clock", State.GOOD, f"{now:%Y-%m-%d %H:%M} UTC, within {off:.0f} s of the index")


def _hub(config: Config, access: HubAccess) -> Iterator[Finding]:
    """Check the first watched organisation or model; without any there is no finding."""
    section = config.hub
    if not section.asked:
        return
    from monitor.sources.hub import Gone, HubClient

    try:
        with closing(HubClient(access, sleep=lambda _: None)) as hub:
            if section.organisations:
                name = section.organisations[0]
                there, message = True, f"{len(hub.models_of(name)[0])} models of {name}"
            else:
                name = section.named[0]
                there = not isinstance(hub.model(name), Gone)
                message = f"{name} {'exists' if there else 'does not exist'}"
    except SettleError as error:
        fix = error.hint or "check hub.endpoint, the proxy variables and SSL_CERT_FILE; the daemon waits for a hub"
        yield Finding("hub", State.WARNING, str(error), fix)
        return
    message = f"{access.endpoint}: {message}; {'with' if access.token else 'without'} a token"
    fix = "" if there else "check the name; a private or gated model needs a token with access"
    yield Finding("hub", State.GOOD if there else State.WARNING, message, fix)


def _memory(config: Config) -> Finding:
    available = _meminfo().get("MemAvailable", 0) / (1 << 20)
    message = f"{available:.0f} GiB available; a container may take {config.limits.memory_gib:g} GiB"
    if available < config.limits.memory_gib:
        fix = "lower limits.memory_gib (4 is enough for miniatures), or stop something else"
        return Finding("memory", State.WARNING, message, fix)
    return Finding("memory", State.GOOD, message)


def _meminfo() -> dict[str, int]:
    """Return the kernel's figures in KiB; empty where there is no such file."""
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
    except OSError:
        return {}
    return {name: int(rest.split()[0]) for name, _, rest in (line.partition(":") for line in lines)}
