"""The newest version, whether or not it has a wheel: a resolver that wants wheels passes over one that has none."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from packaging.version import Version

from containers.builder import resolve_building, taken_when_it_may_build
from containers.failures import InstallFailure, InstallFault

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from containers.installer import Installer
    from containers.lock import Lock
    from containers.resolving import Question, Resolution


@dataclass(frozen=True, slots=True)
class Listed:
    """The versions of one package that an index lists as of the moment that is asked about."""

    name: str
    versions: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Newest:
    """Resolves to what a user gets; remembers which listed versions nobody gets, so that it is found out once."""

    installer: Installer
    _nobodys: set[tuple[str, frozenset[str]]] = field(default_factory=set)

    def resolve(
        self, question: Question, listed: Listed | None, *, say: Callable[[str], None], env: Mapping[str, str]
    ) -> Resolution | InstallFailure:
        """Resolve; where a newer version of the package is listed, ask what an installer takes that may build it."""
        result = resolve_building(self.installer, question, say=say, env=env)
        if listed is None or not self._passed_over(result, listed):
            return result
        question = replace(question, afresh=(listed.name,))  # most often it came out since the page was last fetched
        result = resolve_building(self.installer, question, say=say, env=env)
        newer = self._passed_over(result, listed)
        if isinstance(result, InstallFailure) or not newer:
            return result
        say(f"{listed.name} {max(newer, key=Version)} is listed, and was passed over: asking what may be built")
        taken = taken_when_it_may_build(self.installer, question, result.lock, listed.name, env=env)
        if isinstance(taken, InstallFailure):
            return taken
        if not newer_listed(result.lock, listed.name, [str(taken)]):
            self._nobodys.add((listed.name, newer))
            return result
        again = resolve_building(
            self.installer, replace(question, built=(f"{listed.name}=={taken}",)), say=say, env=env
        )
        if isinstance(again, InstallFailure) and again.slug is InstallFault.UNRESOLVABLE:
            return replace(again, slug=InstallFault.NO_WHEEL)  # it was chosen a moment ago: no word of the index
        return again

    def _passed_over(self, result: Resolution | InstallFailure, listed: Listed) -> frozenset[str]:
        if isinstance(result, InstallFailure):
            return frozenset()
        newer = newer_listed(result.lock, listed.name, listed.versions)
        return frozenset() if (listed.name, newer) in self._nobodys else newer


def newer_listed(lock: Lock, name: str, versions: Iterable[str]) -> frozenset[str]:
    """Return the versions of a package that are newer than the one a lock holds; none where it holds none."""
    pin = lock.pin(name)
    if pin is None or not pin.version:
        return frozenset()
    return frozenset(version for version in versions if Version(version) > Version(pin.version))
