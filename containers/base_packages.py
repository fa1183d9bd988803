"""A base with more Debian packages: made once, in a container with the network, and kept as an image."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from containers.base import REPOSITORY, HasImages, described, run_in_image
from containers.engine import CommandLimits
from containers.errors import BaseUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from containers.base import Base
    from containers.engine import Engine, Execution
    from containers.settings import InstallSettings

LIST = ("/bin/sh", "-c", "dpkg-query -W -f '${Package} ${db:Status-Status}\\n'")
INSTALL = """
set -eu
mirror=$1; shift
if [ -n "$mirror" ]; then
    . /etc/os-release
    echo "deb $mirror $VERSION_CODENAME main" > /etc/apt/sources.list
    rm -f /etc/apt/sources.list.d/*
fi
apt-get -q update
apt-get -q install --yes --no-install-recommends "$@"
rm -rf /var/lib/apt/lists/* /var/cache/apt/*
"""


@runtime_checkable
class ExtendingEngine(HasImages, Protocol):
    """An engine that can make one image from another."""

    def extend(
        self, image: str, argv: Sequence[str], *, env: Mapping[str, str], limits: CommandLimits, reference: str
    ) -> Execution:
        """Run as root with the network and a root that is kept; name the result where that ended well."""
        ...


def base_with_packages(
    engine: Engine, base: Base, packages: Iterable[str], *, settings: InstallSettings, progress: Callable[[str], None]
) -> Base:
    """Return the base with these packages: itself where it has them, else another one made from it.

    Its digest is that of its contents, so that other environments stay as they are. Raises ``BaseUnavailable`` with the
    packages that are missing.
    """
    wanted = sorted(set(packages))
    if not wanted:
        return base
    if not isinstance(engine, ExtendingEngine):
        _check_this_machine(wanted)
        return base
    suffix = hashlib.sha256(" ".join(wanted).encode()).hexdigest()[:12]
    reference = f"{REPOSITORY}:{base.digest[:12]}-{suffix}"
    if not engine.images.find(reference):
        listed = run_in_image(engine, base.image, *LIST)
        missing = missing_packages(wanted, listed.text) if listed.ok else wanted
        if not missing:
            return base
        progress(f"adding {', '.join(missing)} to the base")
        _extend(engine, base, missing, reference, settings)
    extended = described(engine, reference)
    if extended is None:
        raise BaseUnavailable(f"{reference} has no Python", hint="remove that image, and settle makes it again")
    return extended


def _extend(
    engine: ExtendingEngine, base: Base, missing: Sequence[str], reference: str, settings: InstallSettings
) -> None:
    proxies = {"http_proxy": settings.http_proxy, "https_proxy": settings.https_proxy, "no_proxy": settings.no_proxy}
    execution = engine.extend(
        base.image,
        ("/bin/sh", "-c", INSTALL, "install", settings.debian_mirror, *missing),
        env={"DEBIAN_FRONTEND": "noninteractive", **{name: value for name, value in proxies.items() if value}},
        limits=CommandLimits(settings.seconds, settings.memory_bytes),
        reference=reference,
    )
    if not execution.ok:
        reason = execution.engine_fault or execution.text[-600:].strip()
        raise BaseUnavailable(
            f"{', '.join(missing)} cannot be added to {base.image}: {reason}",
            hint="check that Debian's mirror is reachable, or configure another mirror or an image with these packages",
        )


def _check_this_machine(wanted: Sequence[str]) -> None:
    """Refuse a Debian machine without the packages; of another system it is not known."""
    if shutil.which("dpkg-query") is None:
        return
    listed = subprocess.run(LIST, capture_output=True, timeout=60, check=False)
    if missing := missing_packages(wanted, listed.stdout.decode(errors="replace")):
        raise BaseUnavailable(
            f"this machine has no {', '.join(missing)}",
            hint=f"`apt-get install {' '.join(missing)}`, or use Docker or Podman, where settle adds them to the base",
        )


def missing_packages(wanted: Iterable[str], listed: str) -> list[str]:
    """Return the packages that a list of dpkg's does not name as installed; pure."""
    lines = (line.partition(" ") for line in listed.splitlines())
    installed = {name.partition(":")[0] for name, _, state in lines if state.strip() == "installed"}
    return [name for name in wanted if name not in installed]
