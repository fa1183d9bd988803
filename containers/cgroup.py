"""What a container's control group says about memory: the peak so far, the kills; versions 1 and 2."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

ROOT = Path("/sys/fs/cgroup")


@dataclass(frozen=True, slots=True)
class MemoryGroup:
    """The files to read; a file that is not there reads as not known."""

    peak_file: Path
    events_file: Path

    def peak_bytes(self) -> int | None:
        try:
            return int(self.peak_file.read_text(encoding="ascii"))
        except (OSError, ValueError):
            return None

    def kills(self) -> int:
        try:
            lines = self.events_file.read_text(encoding="ascii").splitlines()
        except OSError:
            return 0
        return sum(int(line.split()[1]) for line in lines if line.startswith("oom_kill "))


def memory_group(pid: int, container: str, *, proc: Path = Path("/proc"), root: Path = ROOT) -> MemoryGroup | None:
    """Find the memory group of a container by its first process.

    None where the process is not visible from here (an engine in another machine or process namespace): a process id
    of over there would name a stranger here, so the group has to carry the container's own id.
    """
    try:
        lines = (proc / str(pid) / "cgroup").read_text(encoding="utf-8").splitlines()
    except OSError:
        return None
    groups = {controllers: path for _number, controllers, path in (line.split(":", 2) for line in lines)}
    for controllers, path in groups.items():
        if "memory" in controllers.split(",") and container in path:
            folder = root / "memory" / path.lstrip("/")
            return MemoryGroup(folder / "memory.max_usage_in_bytes", folder / "memory.oom_control")
    if container in groups.get("", ""):
        folder = root / groups[""].lstrip("/")
        peak = folder / "memory.peak"
        # before Linux 5.19 there is no peak: then the highest of the samples has to do
        return MemoryGroup(peak if peak.exists() else folder / "memory.current", folder / "memory.events")
    return None
