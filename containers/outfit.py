"""A base with more Debian packages than its own: made once, in a container with the network, and kept as an image."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from containers.base import REPOSITORY, HasImages, described
from containers.engine import Command, Limits, Role
from containers.errors import BaseUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from containers.base import Base
    from containers.engine import Engine, Execution
    from containers.settings import InstallSettings

LISTED = "dpkg-query -W -f '${Package} ${db:Status-Status}\\n'"
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
class Extending(HasImages, Protocol):
    """An engine that can make one image of another."""

    def extend(
        self, image: str, argv: Sequence[str], *, env: Mapping[str, str], limits: Limits, reference: str
    ) -> Execution:
        """Run as root with the network and a root that is kept; name the result where that ended well."""
        ...


def outfitted(
    engine: Engine, base: Base, packages: Iterable[str], *, settings: InstallSettings, say: Callable[[str], None]
) -> Base:
    """Return the base with these packages: itself where it has them, else one that was made of it.

    Its digest is that of what it holds, so that only what stands on these packages is another environment. Raises
    ``BaseUnavailable`` with the packages that are missing.
    """
    wanted = sorted(set(packages))
    if not wanted:
        return base
    if not isinstance(engine, Extending):
        return _as_it_is(base, wanted)
    named = hashlib.sha256(" ".join(wanted).encode()).hexdigest()[:12]
    reference = f"{REPOSITORY}:{base.digest[:12]}-{named}"
    if not engine.images.find(reference):
        missing = _missing(engine, base, wanted)
        if not missing:
            return base
        say(f"adding {', '.join(missing)} to the base")
        _make(engine, base, missing, reference, settings)
    found = described(engine, reference)
    if found is None:
        raise BaseUnavailable(f"{reference} has no Python", hint="remove that image, and it is made again")
    return found


def _make(engine: Extending, base: Base, missing: Sequence[str], reference: str, settings: InstallSettings) -> None:
    proxies = {"http_proxy": settings.http_proxy, "https_proxy": settings.https_proxy, "no_proxy": settings.no_proxy}
    done = engine.extend(
        base.image,
        ("/bin/sh", "-c", INSTALL, "install", settings.debian_mirror, *missing),
        env={"DEBIAN_FRONTEND": "noninteractive", **{name: value for name, value in proxies.items() if value}},
        limits=Limits(settings.seconds, settings.memory_bytes),
        reference=reference,
    )
    if not done.ok:
        why = done.engine_fault or done.log[-600:].decode(errors="replace").strip()
        raise BaseUnavailable(
            f"{', '.join(missing)} cannot be added to {base.image}: {why}",
            hint="is Debian's mirror reachable? another one, or an image that has them, can be configured",
        )


def _missing(engine: Engine, base: Base, wanted: Sequence[str]) -> list[str]:
    listed = engine.run(
        Command(
            argv=("/bin/sh", "-c", LISTED),
            role=Role.PROBE,
            image=base.image,
            limits=Limits(seconds=60, memory_bytes=512 << 20),
        )
    )
    return absent(wanted, listed.log.decode(errors="replace")) if listed.ok else list(wanted)


def _as_it_is(base: Base, wanted: Sequence[str]) -> Base:
    """Use this machine as it is; where it is Debian's, what is missing is known."""
    if shutil.which("dpkg-query") is None:
        return base
    listed = subprocess.run(["/bin/sh", "-c", LISTED], capture_output=True, timeout=60, check=False)
    if missing := absent(wanted, listed.stdout.decode(errors="replace")):
        raise BaseUnavailable(
            f"this machine has no {', '.join(missing)}",
            hint=f"`apt-get install {' '.join(missing)}`, or use Docker or Podman, where they are added to the base",
        )
    return base


def absent(wanted: Iterable[str], listed: str) -> list[str]:
    """Return which packages a list of dpkg's does not name as installed; pure."""
    there = {name.partition(":")[0] for name, _, state in (line.partition(" ") for line in listed.splitlines())
             if state.strip() == "installed"}  # fmt: skip
    return [name for name in wanted if name not in there]
