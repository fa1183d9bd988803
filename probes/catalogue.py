"""The checks, each one decorated function, and what each runtime's adapter declares: together, what a runtime is asked.

It imports nothing but the standard library and ours, so that the monitor reads it, too.
"""

from __future__ import annotations

import functools
import importlib
from typing import TYPE_CHECKING, Any, Callable, NamedTuple

from probes.wire import rung_of

if TYPE_CHECKING:
    from probes.events import Answer
    from probes.runtimes import Runtime
    from probes.subject import Subject

    Ask = Callable[[Subject], Answer]

# the modules of checks; checks of one rung are asked in this order, and in one module from top to bottom
MODULES = (
    "creates",
    "loads",
    "generates",
    "vectors",
    "ways",
    "speaks",
    "text_api",
    "matches",
    "serves",
    "trains",
    "whole",
    "beside",
    "effects",
)
# rung 0 is no function of a subject: the session answers the import, the installer the rest
INSTALLS = {
    "installs.resolves": "the index has a consistent set of packages for this release on this platform",
    "installs.builds": "every package installs, from its wheel or from one that is built from source",
    "installs.consistent": "the installed packages are those of the lock, and none contradicts another",
    "installs.imports": "the runtime imports",
}


class Check(NamedTuple):
    name: str
    ask: Ask
    needs: str  # ability that the runtime's adapter declares; "" for every runtime
    after: tuple[str, ...]  # checks that pass before this one can say anything
    fault: str  # what an exception out of the runtime means here when nothing in its text is known
    last: bool  # asked after everything else
    finding: bool  # for information: nothing that comes of it, but for ``proves``, speaks for or against its rung
    proves: str  # the one fault of a finding that counts all the same
    deep: bool  # takes long, and is asked of a new release, revision or suite, and after a failure

    @property
    def meaning(self) -> str:
        """Return what the check asks: the first line of its function's docstring."""
        line = str(self.ask.__doc__).partition("\n")[0].rstrip(".")
        return line[:1].lower() + line[1:]


_registered: dict[str, Check] = {}


def check(
    name: str,
    *,
    needs: str = "",
    after: tuple[str, ...] = (),
    fault: str = "",
    last: bool = False,
    finding: bool = False,
    proves: str = "",
    deep: bool = False,
) -> Callable[[Ask], Ask]:
    """Register a function as a check: the name's first word is its rung, its docstring's first line what it asks."""

    def register(ask: Ask) -> Ask:
        _registered[name] = Check(
            name, ask, needs, after, fault or "unclassified", last or finding or deep, finding, proves, deep
        )
        return ask

    return register


@functools.cache
def checks() -> dict[str, Check]:
    """Return every check of a subject by name: by rung, then by module, then from top to bottom."""
    for module in MODULES:
        importlib.import_module(f"probes.checks.{module}")
    ordered = sorted(_registered.values(), key=lambda entry: (rung_of(entry.name), _module(entry)))
    return {entry.name: entry for entry in ordered}


def meanings() -> dict[str, str]:
    """Return what every check asks by its name, those of the installation first."""
    return {**INSTALLS, **{name: entry.meaning for name, entry in checks().items()}}


@functools.cache
def sequence(runtime: str) -> tuple[Check, ...]:
    """Return the runtime's checks in their order; ``after`` names all that come before, and only what it is asked."""
    abilities = {"", *adapter_class(runtime).abilities}
    asked = [entry for entry in checks().values() if entry.needs in abilities]
    names = {entry.name for entry in asked}
    waiting = [entry._replace(after=tuple(name for name in _before(entry) if name in names)) for entry in asked]
    # a check belongs to the highest rung that it waits for
    waiting.sort(key=lambda entry: (entry.last, max(map(rung_of, (entry.name, *entry.after))), _module(entry)))
    ordered: list[Check] = []
    while waiting:
        done = {entry.name for entry in ordered}
        ordered.append(next(entry for entry in waiting if done.issuperset(entry.after)))
        waiting.remove(ordered[-1])
    return tuple(ordered)


def adapter_class(runtime: str) -> type[Runtime]:
    """Return the adapter: the ``ADAPTER`` of the module in probes/runtimes that is named like the runtime."""
    module = adapter_module(runtime)
    try:
        adapter: Any = importlib.import_module(module).ADAPTER
    except (AttributeError, ModuleNotFoundError) as error:
        if getattr(error, "name", module) not in {module, "ADAPTER"}:
            raise
        raise ValueError(f"there is no adapter for {runtime!r}: {module} has no ADAPTER") from None
    return adapter  # type: ignore[no-any-return]


def adapter_module(runtime: str) -> str:
    return f"probes.runtimes.{runtime.replace('-', '_')}"


def modules_of(runtime: str) -> set[str]:
    """Return the modules that the session imports by name for this runtime."""
    return {adapter_module(runtime), *(entry.ask.__module__ for entry in sequence(runtime))}


def _module(entry: Check) -> int:
    return MODULES.index(entry.ask.__module__.rpartition(".")[2])


def _before(entry: Check) -> dict[str, None]:
    """Return every check that has to pass before, the earliest first."""
    names: dict[str, None] = {}
    for name in entry.after:
        names.update({**_before(checks()[name]), name: None})
    return names
