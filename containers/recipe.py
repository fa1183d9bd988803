"""A recipe: how one runtime is installed and run, as a frozen record; pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

MACHINES = {"x86_64": "amd64", "aarch64": "arm64"}  # as publishers of archives name them
COMMON_VARIABLES: Mapping[str, str] = {
    "HF_HUB_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "DO_NOT_TRACK": "1",
    "TOKENIZERS_PARALLELISM": "false",  # its threads and forked children do not go together
    "OMP_NUM_THREADS": "1",  # the same sums in the same order, and a fork without a thread pool
    "MKL_NUM_THREADS": "1",
}
ENVIRONMENT: Mapping[str, str] = {
    **COMMON_VARIABLES,
    # glibc gives every large tensor back to the kernel and asks for the next: a sixth of a probe's time
    "MALLOC_MMAP_THRESHOLD_": str(256 << 20),
    "MALLOC_TRIM_THRESHOLD_": str(1 << 30),
    "MALLOC_TOP_PAD_": str(64 << 20),
}


@dataclass(frozen=True, slots=True)
class Shape:
    """The members to take out of an archive; patterns of names as a shell has them."""

    kept: tuple[str, ...]
    dropped: tuple[str, ...]
    wanted: str  # a file that the right archive holds


def source_shape(address: str) -> Shape:
    """Return the members to take out of a package's source archive: its Python files, and its requirements."""
    name = address.partition("?")[0].partition("#")[0].rpartition("/")[2].removesuffix(".tar.gz")
    return Shape(kept=("*.py", "*/requirements*.txt", "*/PKG-INFO"), dropped=(), wanted=f"{name}/PKG-INFO")


@dataclass(frozen=True, slots=True)
class Wanted:
    """An archive to fetch, from the first address that exists; ``sums`` and ``sha256`` may be empty."""

    name: str
    version: str
    addresses: tuple[str, ...]
    shape: Shape
    sums: str = ""
    sha256: str = ""


@dataclass(frozen=True, slots=True)
class ReleaseArchive:
    """Where a runtime publishes its archives: patterns with ``{version}`` and ``{machine}``."""

    addresses: tuple[str, ...]  # the first that exists is taken
    sums: str  # the publisher's list of sha256, "" without one
    shape: Shape

    def of(self, name: str, version: str, machine: str, *, sha256: str = "") -> Wanted:
        def filled(pattern: str) -> str:
            # not str.format: an address or a path may hold other braces
            return pattern.replace("{version}", version).replace("{machine}", MACHINES.get(machine, machine))

        return Wanted(name, version, tuple(map(filled, self.addresses)), self.shape, filled(self.sums), sha256)


def pinned(package: str, version: str | None) -> str:
    return f"{package}=={version}" if version else package


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """How one runtime is installed and run."""

    runtime: str
    requirements: Callable[[str | None], tuple[str, ...]]  # what to install for a version, or for the newest (None)
    imported: frozenset[str]  # packages a probe really imports: a change of one is a change of what is measured
    accelerator: str = ""  # "cuda": only there; "": wherever the runtime has no other recipe
    index_name: str = ""  # what the index calls it, if not as the runtime; its release day is still the runtime's
    # requirements that replace what the packages of a version ask for
    overrides: Callable[[str | None], tuple[str, ...]] = lambda _: ()
    mislabelled: tuple[str, ...] = ()  # packages whose wheels are labelled as another platform's
    # Packages that the cutoff of a day does not touch. CPU wheels of torch lie on an index without upload times, and
    # torch asks for a setuptools newer than most days: with both under the cutoff transformers 4.49.0 does not resolve.
    exempt: tuple[str, ...] = ("torch", "setuptools")
    # Its releases name a torch, and ask for a torchvision: where no CPU build of both is at hand, the index's builds
    # serve, too. They are gigabytes, which all releases with that torch share.
    index_torch: bool = False
    environment: Mapping[str, str] = field(default_factory=lambda: ENVIRONMENT)  # variables of the probe
    forks: bool = True  # one import may serve many subjects; else each has a session, and imports for itself
    heavy: bool = False  # a probe of it never runs beside another container
    memory_bytes: int | None = None  # what a probe's container needs, None for what is configured
    shm_bytes: int = 64 << 20  # shared memory of a probe
    libraries: tuple[str, ...] = ()  # Debian packages that a probe needs, besides those of the base
    # The source archive to unpack in the environment, to be read: that of the first of these requirements that can be
    # met, in the installed version or else the newest of the day
    sources: tuple[str, ...] = ()
    archive: ReleaseArchive | None = None  # of a runtime that is no Python package
    unverified: str = ""  # why its verdicts are not to be relied on yet; "" where real releases were probed
    build_libraries: tuple[str, ...] = ()  # Debian packages that building it needs, where it has only sources
    build_environment: Mapping[str, str] = field(default_factory=dict)
    build_seconds: float = 0.0  # the limit of a build, where compiling takes longer than installing may

    @property
    def distribution(self) -> str:
        """Return what the index calls it."""
        return self.index_name or self.runtime

    @property
    def is_built(self) -> bool:
        """Whether the runtime has only sources."""
        return bool(self.build_libraries)

    def allowed_conflicts(self, version: str | None) -> tuple[str, ...]:
        """Return the requirements that its environment contradicts on purpose, or in name only."""
        return (*self.overrides(version), *self.mislabelled)
