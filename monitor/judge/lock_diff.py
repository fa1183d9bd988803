"""What an environment's lock says of the packages that a probe really imports, and how two of them differ; pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping


class Moved(NamedTuple):
    """A package whose pin differs; "" where a side does not have it."""

    package: str
    before: str
    after: str

    def __str__(self) -> str:
        if not self.before:
            return f"+{self.package} {self.after}"
        return f"{self.package} {self.before} → {self.after}" if self.after else f"-{self.package} {self.before}"


def imported_pins(packages: Mapping[str, str], imported: Collection[str]) -> str:
    """Return the pins that a probe imports as one text: equal texts are the same thing under test."""
    return " ".join(f"{name}=={packages[name]}" for name in sorted(imported) if name in packages)


def moved(before: Mapping[str, str], after: Mapping[str, str]) -> tuple[Moved, ...]:
    """Return what differs between two locks, by package name to version, in the order of names."""
    return tuple(
        Moved(name, before.get(name, ""), after.get(name, ""))
        for name in sorted({*before, *after})
        if before.get(name) != after.get(name)
    )
