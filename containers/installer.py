"""The installer: commands with the network that see cache and environments, and no subject."""

from __future__ import annotations

import contextlib
import itertools
import os
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from containers.engine import Command, CommandLimits, Engine, Execution, Mount, Role
from containers.processes import owner_lives, owner_token
from containers.storage import TOOLS
from containers.uv_command import reading_mounts, tool_mount, uv_environment, uv_program

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from containers.base import Base
    from containers.settings import InstallSettings

INSIDE = Path(__file__).parent / "inside"
LOG_BYTES = 1 << 20
FOLDERS = ("cache", "envs", "wheels", "bytecode", "artefacts", "work")
_numbers = itertools.count()


@dataclass(frozen=True, slots=True)
class PackageInstaller:
    """``root`` is one mount, shown everywhere under the same path: hard links do not cross mounts."""

    engine: Engine
    base: Base
    root: Path
    settings: InstallSettings
    toolchain: Callable[[], Base] | None = None  # makes the base of a builder, when one is needed; None: the same base
    uv: str = field(init=False)
    program: Mount = field(init=False)
    script: Mount = field(init=False)
    unpacker: Mount = field(init=False)

    def __post_init__(self) -> None:
        isolated = self.engine.isolated
        object.__setattr__(self, "program", tool_mount(uv_program(), self.root, isolated=isolated))
        object.__setattr__(self, "uv", self.program.target)
        for field_name, script in (("script", "bytecode.py"), ("unpacker", "artefact.py")):
            object.__setattr__(self, field_name, tool_mount(INSIDE / script, self.root, isolated=isolated))
        for name in FOLDERS:
            (self.root / name).mkdir(parents=True, exist_ok=True)

    def run(self, *argv: str, wheels: Iterable[str | Path] = (), files: Iterable[Path] = ()) -> Execution:
        """Run with the network; shows ``wheels``, folders of wheels besides those of the settings, and ``files``."""
        tools = self.root / TOOLS
        return self.engine.run(
            Command(
                argv=argv,
                role=Role.INSTALLER,
                image=self.base.image,
                mounts=(
                    *self.reading_mounts(),
                    *(self.script, self.unpacker),
                    *(Mount(file, str(file)) for file in files if file.is_file()),
                    Mount(self.root, str(self.root), writable=True),
                    # our tools stay read-only within the folder that may be written: they run beside sources, too
                    *([Mount(tools, str(tools))] if self.engine.isolated else ()),
                ),
                env=uv_environment(self.settings, cache=self.root / "cache", wheels=wheels),
                limits=CommandLimits(
                    seconds=self.settings.seconds,
                    memory_bytes=self.settings.memory_bytes,
                    cpus=float(os.cpu_count() or 1),
                    log_bytes=LOG_BYTES,
                ),
            )
        )

    def reading_mounts(self) -> tuple[Mount, ...]:
        """Show uv, certificates, wheels, and the interpreter where no image holds it."""
        mounts = (self.program, *reading_mounts(self.settings))
        return mounts if self.engine.isolated else (*mounts, Mount(self.base.prefix, str(self.base.prefix)))

    @contextlib.contextmanager
    def workspace(self, *, mode: int = 0o755) -> Iterator[Path]:
        """Lend a folder for files of a command; a builder, which is another user, may write to it with mode 0777."""
        folder = unique_path(self.root / "work" / "files")
        folder.mkdir()
        folder.chmod(mode)
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def sweep(self) -> list[str]:
        """Remove what a crash left half built, half removed or half resolved; running processes keep theirs."""
        removed = []
        for folder in (*(self.root / "envs").glob(".*@*"), *(self.root / "work").iterdir()):
            if not owner_lives(folder.name.rpartition("@")[2]):
                shutil.rmtree(folder, ignore_errors=True)
                removed.append(folder.name)
        return removed


def unique_path(path: Path) -> Path:
    """Return a name that no other thread or process uses; it holds its owner."""
    return path.with_name(f"{path.name}-{next(_numbers)}@{owner_token()}")
