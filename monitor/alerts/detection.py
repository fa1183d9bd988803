"""Finds what is news: in histories, among models and in the watcher's own troubles; pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from monitor.alerts.flapping import spells
from monitor.alerts.items import (
    calm_item,
    changed_item,
    flapping_item,
    flip_item,
    model_item,
    over_item,
    stable_item,
    trouble_item,
    withdrawn_item,
    works_item,
)
from monitor.alerts.values import Alert, Kind
from monitor.domain import CellVerdict
from monitor.stability.track import stabilization

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from monitor.alerts.flapping import Spell
    from monitor.alerts.values import Facts, FlipSeen, History, Item, Rules
    from monitor.stability.values import Stabilization

_BROKEN = (Kind.REGRESSION, Kind.SETBACK)


def news(facts: Facts, rules: Rules) -> list[Alert]:
    """Return the messages that are due, each thing in one of them; what was told before is not told again."""
    return _together([item for item in _items(facts, rules) if item.key not in facts.announced], rules)


def _items(facts: Facts, rules: Rules) -> Iterator[Item]:
    for history in facts.histories:
        answer = stabilization(
            history.track.observations,
            released=history.track.released,
            through=history.track.observations[-1].day,
        )
        yield from _of_flips(history, answer, facts, rules)
        yield from _of_milestones(history, answer, facts)
    yield from map(model_item, facts.new_models)
    yield from map(withdrawn_item, facts.taken_back)
    yield from _of_troubles(facts)


def _of_flips(history: History, answer: Stabilization, facts: Facts, rules: Rules) -> Iterator[Item]:
    """Yield each new flip, but those of a cell that flips back and forth as that one thing."""
    fresh = [one for one in history.flips if not one.announced and one.confirmed >= facts.began]
    flapping = spells(
        [one.confirmed for one in history.flips], seen=history.track.observations[-1].day, days=rules.flap_days
    )
    for spell in flapping:
        own = [one for one in fresh if _within(one, spell)]
        told = flapping_item(history, spell, own)
        if own:
            yield changed_item(history, own) if told.key in facts.announced else told
        if spell.calm and (own or told.key in facts.announced):
            yield calm_item(history, spell, [one for one in history.flips if _within(one, spell)][-1])
    for one in fresh:
        if not any(_within(one, spell) for spell in flapping):
            yield flip_item(history, one, kind_of(history, one, answer))


def kind_of(history: History, flip: FlipSeen, answer: Stabilization) -> Kind:
    """Return what a flip is to a reader: it hangs on whether the cell had worked, and had been stable, before."""
    if flip.after is CellVerdict.WORKS:
        worked = any(one.day < flip.day and one.verdict is CellVerdict.WORKS for one in history.track.observations)
        return Kind.RESTORED if worked else Kind.NEWLY_WORKS
    began = [one for one in answer.setbacks if one.began.by and flip.day <= one.began.by <= flip.confirmed]
    if flip.after is not CellVerdict.BROKEN or not began:
        return Kind.CHANGED
    return Kind.REGRESSION if began[0].regression else Kind.SETBACK


def _within(flip: FlipSeen, spell: Spell) -> bool:
    return spell.began <= flip.confirmed and (spell.calm is None or flip.confirmed < spell.calm)


def _of_milestones(history: History, answer: Stabilization, facts: Facts) -> Iterator[Item]:
    """Yield what needs no flip: the first success of a model that is new to us, and stable support."""
    first = answer.works.by
    by_flip = any(one.after is CellVerdict.WORKS for one in history.flips)
    if history.new_model and first and first >= facts.began and not by_flip:
        yield works_item(history, first)
    if answer.stable.proven and answer.stable.proven >= facts.began:
        yield stable_item(history, answer)


def _of_troubles(facts: Facts) -> Iterator[Item]:
    yield from (trouble_item(one, facts.stamp) for one in facts.troubles if one.slug not in facts.open_troubles)
    standing = {one.slug for one in facts.troubles}
    for slug, sentence in facts.open_troubles.items():
        if slug in facts.fine and slug not in standing:
            yield over_item(slug, sentence, facts.stamp)


def _together(items: Sequence[Item], rules: Rules) -> list[Alert]:
    """Put into one message what one release did alike, and all that it broke where that is much."""
    groups: dict[tuple[str, ...], list[Item]] = {}
    for item in items:
        groups.setdefault(_group_of(item), []).append(item)
    alerts = []
    for own in groups.values():
        kinds = [own[0].kind]
        if own[0].kind in _BROKEN:
            many = _models(own) >= rules.many
            kinds = [Kind.BREAKS_MANY] if many else [kind for kind in _BROKEN if any(one.kind is kind for one in own)]
        for kind in kinds:
            chosen = own if kind is Kind.BREAKS_MANY else [one for one in own if one.kind is kind]
            # by cause: what failed alike stands together
            ordered = sorted(chosen, key=lambda one: (one.signature, one.model, one.subject))
            alerts.append(Alert(kind, tuple(ordered), _models(chosen)))
    return alerts


def _group_of(item: Item) -> tuple[str, ...]:
    if item.kind in _BROKEN:
        return "broken", item.runtime, item.version
    if item.kind is Kind.NEW_MODEL:
        return (item.kind,)
    return (item.kind, item.runtime, item.version) if item.runtime and item.model else (item.kind, item.key)


def _models(items: Iterable[Item]) -> int:
    return len({item.model for item in items})
