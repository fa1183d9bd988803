"""Detects what is new in histories, among models and in Settle's own troubles; pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from itertools import zip_longest
from typing import TYPE_CHECKING

from monitor.alerts import items
from monitor.alerts.values import SETS_BACK, Alert, Kind
from monitor.domain import CellVerdict
from monitor.stability.track import stabilization

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from datetime import date

    from monitor.alerts.values import AlertInputs, CellHistory, FlipEvidence, Item
    from monitor.stability.values import Stabilization

FLAPS = 3  # this many flips within ``flap_days`` begin a spell of flapping; ``flap_days`` without a flip end it
MANY = 3  # models that one release breaks, to be one message


def new_alerts(inputs: AlertInputs, *, flap_days: int) -> list[Alert]:
    """Return the alerts that are due; no announcement is in two of them, and none is made twice."""
    return _together([item for item in _items(inputs, flap_days) if item.key not in inputs.announced])


def _items(inputs: AlertInputs, flap_days: int) -> Iterator[Item]:
    for history in inputs.histories:
        track = history.track
        answer = stabilization(
            track.observations,
            released=track.released,
            created=track.created,
            through=track.observations[-1].day,
        )
        yield from _of_flips(history, answer, inputs, flap_days)
        yield from _of_milestones(history, answer, inputs)
    yield from map(items.model_item, inputs.new_models)
    yield from map(items.layout_item, inputs.new_layouts)
    yield from map(items.withdrawn_item, inputs.withdrawn)
    troubles = {trouble.id: trouble for trouble in inputs.troubles}
    for trouble in troubles.values():
        if trouble.id not in inputs.open_troubles:
            yield items.trouble_item(trouble, inputs.stamp)
    for trouble_id in inputs.open_troubles:
        if trouble_id in inputs.fine and trouble_id not in troubles:
            yield items.resolved_item(trouble_id, inputs.stamp)


def _of_flips(history: CellHistory, answer: Stabilization, inputs: AlertInputs, flap_days: int) -> Iterator[Item]:
    """Yield each new flip, but the flips of a spell of flapping as one item."""
    new = [flip for flip in history.flips if not flip.announced and flip.confirmed >= inputs.began]
    confirmed = [flip.confirmed for flip in history.flips]
    spells = flapping_spells(confirmed, seen=history.track.observations[-1].day, days=flap_days)
    for spell in spells:
        flips = [flip for flip in new if spell.holds(flip.confirmed)]
        begins = items.flapping_item(history, spell.began, flips)
        if flips:
            yield items.changed_item(history, flips) if begins.key in inputs.announced else begins
        if spell.calm and (flips or begins.key in inputs.announced):
            last = [flip for flip in history.flips if spell.holds(flip.confirmed)][-1]
            yield items.calm_item(history, spell.began, spell.calm, last)
    for flip in new:
        if not any(spell.holds(flip.confirmed) for spell in spells):
            yield items.flip_item(history, flip, _kind_of(history, flip, answer))


def _kind_of(history: CellHistory, flip: FlipEvidence, answer: Stabilization) -> Kind:
    """Return the kind of a flip, which depends on whether the cell worked, and was stable, before it."""
    if flip.after is CellVerdict.WORKS:
        worked = any(
            observation.day < flip.day and observation.verdict is CellVerdict.WORKS
            for observation in history.track.observations
        )
        return Kind.RESTORED if worked else Kind.NEWLY_WORKS
    setbacks = [
        setback for setback in answer.setbacks if setback.began.by and flip.day <= setback.began.by <= flip.confirmed
    ]
    if flip.after is not CellVerdict.BROKEN or not setbacks:
        return Kind.CHANGED
    return Kind.REGRESSION if setbacks[0].regression else Kind.SETBACK


def _of_milestones(history: CellHistory, answer: Stabilization, inputs: AlertInputs) -> Iterator[Item]:
    """Yield what needs no flip: the first success of a new model, and stable support."""
    first = answer.works.by
    by_flip = any(flip.after is CellVerdict.WORKS for flip in history.flips)
    if history.new_model and first and first >= inputs.began and not by_flip:
        yield items.works_item(history, first)
    if answer.stable.proven and answer.stable.proven >= inputs.began:
        yield items.stable_item(history, answer)


@dataclass(frozen=True, slots=True)
class Spell:
    """``began`` is the day of the flip that began the flapping, ``calm`` the first day after enough quiet ones."""

    began: date
    calm: date | None

    def holds(self, day: date) -> bool:
        return self.began <= day and (self.calm is None or day < self.calm)


def flapping_spells(flips: Sequence[date], *, seen: date, days: int) -> tuple[Spell, ...]:
    """Return the spells of flapping of a cell that flipped on these days, in order, and was last seen on ``seen``.

    A cell is not calm as long as no later day of it is seen.
    """
    spells: list[Spell] = []
    recent: list[date] = []
    for day, following in zip_longest(flips, flips[1:]):
        recent = [*(earlier for earlier in recent if (day - earlier).days <= days), day]
        if not spells or spells[-1].calm is not None:
            if len(recent) < FLAPS:
                continue
            spells.append(Spell(day, None))
        calm = day + timedelta(days=days + 1)
        if seen >= calm and (following is None or following >= calm):
            spells[-1] = Spell(spells[-1].began, calm)
            recent = []
    return tuple(spells)


def _together(due: Sequence[Item]) -> list[Alert]:
    """Group what one release did alike, and everything that it broke where that is much."""
    groups: dict[tuple[str, ...], list[Item]] = {}
    for item in due:
        groups.setdefault(_group_of(item), []).append(item)
    alerts = []
    for group in groups.values():
        kinds = [kind for kind in Kind if any(item.kind is kind for item in group)]
        if group[0].kind in SETS_BACK and _models(group) >= MANY:
            alerts.append(_alert(Kind.BREAKS_MANY, group))
        else:
            alerts += [_alert(kind, [item for item in group if item.kind is kind]) for kind in kinds]
    return alerts


def _alert(kind: Kind, group: Iterable[Item]) -> Alert:
    # equal failures are next to each other
    ordered = sorted(group, key=lambda item: (item.signature, item.model, item.subject))
    return Alert(kind, tuple(ordered), _models(ordered))


def _group_of(item: Item) -> tuple[str, ...]:
    if item.kind in SETS_BACK:
        return "broken", item.runtime, item.version
    if item.kind in (Kind.NEW_MODEL, Kind.NEW_LAYOUT):
        return (item.kind,)
    return (item.kind, item.runtime, item.version) if item.runtime and item.model else (item.kind, item.key)


def _models(group: Iterable[Item]) -> int:
    return len({item.model for item in group})
