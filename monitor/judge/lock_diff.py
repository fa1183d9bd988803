"""How the locks of two environments differ; pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping


class Moved(NamedTuple):
    """A package whose pin differs; "" where a side does not have it."""

    package: str
    before: str
    after: str

    def __str__(self) -> str:
        if not self.before:
            return f"+{self.package} {self.after}"
        return f"{self.package} {self.before} → {self.after}" if self.after else f"-{self.package} {self.before}"


def moved(before: Mapping[str, str], after: Mapping[str, str]) -> tuple[Moved, ...]:
    """Return what differs between two locks, by package name to version, in the order of names."""
    return tuple(
        Moved(name, before.get(name, ""), after.get(name, ""))
        for name in sorted({*before, *after})
        if before.get(name) != after.get(name)
    )
