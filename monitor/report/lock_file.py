"""Writes a stored lock as a file for pip: what it is, where its packages come from, and the short way first."""

from __future__ import annotations

from typing import TYPE_CHECKING

from containers.lock import Lock, Pin, parse_lock
from containers.recipes import recipe_of
from monitor.domain import Isolation

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import date
    from pathlib import Path

    from monitor.store import EnvironmentRecord

INDEX = "https://pypi.org/simple"
TORCH_INDEX = "https://download.pytorch.org/whl"  # with the builds whose version has a local part, such as 2.13.0+cpu
_ISOLATION = {Isolation.CONTAINER: "in a container", Isolation.PROCESS: "in plain processes"}


def lock_file(environment: EnvironmentRecord, *, day: date, wheels: Path) -> str:
    """Return the file; ``wheels`` is the folder of what was built from source here, which no index has."""
    lock = parse_lock(environment.lock, base_digest=environment.base_digest)
    built = built_here(lock, wheels)
    platform = environment.platform
    isolation = _ISOLATION[platform.isolation]
    lines = [
        f"# {environment.runtime} {environment.version}, as it worked on {day}:",
        f"# Python {platform.python} on Linux, {platform.accelerator}, {isolation}",
        "#",
        f"# The release alone:    {short_way(environment)}",
        f"# All of it, as tested: pip install --no-deps --require-hashes -r FILE   (with Python {platform.python})",
        *(
            f"# {pin.name} {pin.version} was built from source: pip install --no-deps {pin.name}=={pin.version}"
            for pin in built
        ),
        *(f"# {artefact.name} {artefact.version}: {artefact.address}" for artefact in lock.artefacts),
        f"--index-url {INDEX}",
        *index_lines(lock.packages),
        *(str(pin) for pin in lock.packages if pin not in built),
    ]
    return "".join(f"{line}\n" for line in lines)


def short_way(environment: EnvironmentRecord) -> str:
    """Return the command that installs the release with what an installer chooses today."""
    recipe = recipe_of(environment.runtime, environment.platform.accelerator)
    if recipe.archive is not None:
        return f"version {environment.version} from its publisher; it is no Python package"
    return f"pip install {recipe.distribution}=={environment.version}"


def index_lines(pins: Iterable[Pin]) -> list[str]:
    """Return a line for each index besides the usual one that these builds of torch and its companions come from."""
    builds = sorted(
        {pin.version.partition("+")[2] for pin in pins if pin.name.startswith("torch") and "+" in pin.version}
    )
    return [f"--extra-index-url {TORCH_INDEX}/{build}" for build in builds]


def built_here(lock: Lock, wheels: Path) -> list[Pin]:
    """Return the packages that were built from source here."""
    return [
        pin for pin in lock.packages if any((wheels / value.removeprefix("sha256:")).is_dir() for value in pin.hashes)
    ]
