"""Who is told what: a target gets the items that its filters let through; pure."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Protocol

from monitor.alerts.values import Kind, severity_of

if TYPE_CHECKING:
    from collections.abc import Collection

    from monitor.alerts.values import Alert, Item
    from monitor.domain import Severity


class Filters(Protocol):
    """What a target wants to hear of; an empty filter lets everything through."""

    @property
    def name(self) -> str: ...
    @property
    def runtimes(self) -> Collection[str]: ...
    @property
    def organisations(self) -> Collection[str]: ...
    @property
    def severities(self) -> Collection[Severity]: ...


def routed(alert: Alert, to: Filters) -> Alert | None:
    """Return the alert with what ``to`` wants to hear of, None where that is nothing."""
    if alert.kind is Kind.CHANGED or (to.severities and severity_of(alert.kind) not in to.severities):
        return None
    items = tuple(item for item in alert.items if wanted(item, to))
    return replace(alert, items=items) if items else None


def wanted(item: Item, to: Filters) -> bool:
    """Tell whether an item passes; what has no runtime or organisation concerns them all."""
    return (
        item.not_to != to.name
        and (not item.runtime or not to.runtimes or item.runtime in to.runtimes)
        and (
            not item.organisation
            or not to.organisations
            or item.organisation.lower() in {one.lower() for one in to.organisations}
        )
    )
