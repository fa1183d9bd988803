"""Says of each piece of news what a reader asks: which versions, since when, whose fault, how to see it; pure."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

from monitor.alerts.values import Item, Kind
from monitor.report.format import days_text, moved_text, since_text
from monitor.store.outbox import AnnouncementKey

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import date

    from monitor.alerts.flapping import Spell
    from monitor.alerts.values import FlipSeen, History, NewModel, TakenBack, Trouble
    from monitor.report.evidence import DayEvidence
    from monitor.stability.values import Stabilization

_VERBS = {
    Kind.REGRESSION: "was stable and is broken",
    Kind.SETBACK: "no longer works",
    Kind.RESTORED: "works again",
    Kind.NEWLY_WORKS: "newly works",
}
_BROKEN = (Kind.REGRESSION, Kind.SETBACK)
MOST_FLIPS = 6
TARGET = "target "  # slugs of troubles with one target begin with it


def flip_item(history: History, flip: FlipSeen, kind: Kind) -> Item:
    told = flip.told
    verb = _VERBS.get(kind, f"is {flip.after}, was {flip.before}")
    return _item(
        history,
        kind,
        key=str(AnnouncementKey("flip", history.track.cell, (str(flip.day), str(flip.after)))),
        says=f"{verb} in {_where(history, told.version if told else '')} since {flip.day}",
        day=flip.day,
        flips=(flip.id,),
        version=told.version if told else "",
        signature=told.signature if told else "",
        facts=tuple(_facts_of(history, flip, kind)),
    )


def _facts_of(history: History, flip: FlipSeen, kind: Kind) -> Iterator[tuple[str, str]]:
    last, told = flip.last, flip.told
    names = ("last good", "first bad") if kind in _BROKEN else ("before", "since")
    for name, one, verdict in ((names[0], last, flip.before), (names[1], told, flip.after)):
        if one is not None:
            yield name, f"{_version(one)} on {one.day}" + ("" if kind in _BROKEN else f", {verdict}")
    if flip.moved:
        yield "moved", moved_text(flip.moved, first=str(history.track.runtime))
    if told is not None and told.blame:
        yield "blame", told.blame
    if told is not None and told.reason:
        yield "reason", told.reason
    elif last is not None and last.reason:
        yield "was", last.reason
    yield "show", _show(history, told)


def works_item(history: History, first: date) -> Item:
    seen = next(one for one in history.track.observations if one.day == first)
    return _item(
        history,
        Kind.NEWLY_WORKS,
        key=str(AnnouncementKey("works", history.track.cell)),
        says=f"works in {_where(history, seen.version)}, seen on {first} for the first time",
        day=first,
        version=seen.version,
        facts=(("since", f"{seen.version} on {first}"), ("show", _show(history, None))),
    )


def stable_item(history: History, answer: Stabilization) -> Item:
    span = answer.stable.span
    took = days_text(span, answer.released)
    last = history.track.observations[-1]
    facts = (
        ("stable since", since_text(span)),
        *([("after release", f"{took} days")] if took else []),
        ("newest", f"{last.version} on {last.day}"),
        ("show", _show(history, None)),
    )
    return _item(
        history,
        Kind.NEWLY_STABLE,
        key=str(AnnouncementKey("stable", history.track.cell)),
        says=f"is stable in {_where(history, '')} since {span.by}",
        day=answer.stable.proven,
        facts=facts,
    )


def flapping_item(history: History, spell: Spell, flips: Sequence[FlipSeen]) -> Item:
    return _item(
        history,
        Kind.FLAPPING,
        key=str(AnnouncementKey("flapping", history.track.cell, (str(spell.began),))),
        says=f"flips back and forth in {_where(history, '')}; nothing more of it until it is calm",
        day=spell.began,
        flips=tuple(one.id for one in flips),
        facts=(("flips", _flips(history.flips)), ("show", _show(history, None))),
    )


def calm_item(history: History, spell: Spell, last: FlipSeen) -> Item:
    return _item(
        history,
        Kind.CALM,
        key=str(AnnouncementKey("calm", history.track.cell, (str(spell.began),))),
        says=f"is calm again in {_where(history, '')}: {last.after} since {last.day}",
        day=spell.calm,
        facts=(("flips", _flips(history.flips)), ("show", _show(history, last.told))),
    )


def changed_item(history: History, flips: Sequence[FlipSeen]) -> Item:
    last = flips[-1]
    return _item(
        history,
        Kind.CHANGED,
        key=str(AnnouncementKey("flip", history.track.cell, (str(last.day), str(last.after)))),
        says=f"goes on flipping in {_where(history, '')}: {last.after} since {last.day}",
        day=last.day,
        flips=tuple(one.id for one in flips),
    )


def model_item(model: NewModel) -> Item:
    facts = (("architecture", model.architecture), ("released", model.released or "not known"))
    return Item(
        key=str(AnnouncementKey("model", model.id)),
        kind=Kind.NEW_MODEL,
        line=f"{model.id} is new and watched from now on",
        model=model.id,
        organisation=model.organisation,
        facts=facts,
    )


def withdrawn_item(flip: TakenBack) -> Item:
    return Item(
        key=str(AnnouncementKey("withdrawn", flip.cell, (str(flip.day), str(flip.after)))),
        kind=Kind.WITHDRAWN,
        line=f"{flip.subject} was told to be {flip.after} in {flip.runtime} since {flip.day}; judged again, it is not",
        day=flip.day,
        model=flip.model,
        subject=flip.subject,
        organisation=flip.organisation,
        runtime=flip.runtime,
        facts=(("show", f"settle show {shlex.quote(flip.subject)}"),),
    )


def trouble_item(trouble: Trouble, stamp: str) -> Item:
    return Item(
        key=str(AnnouncementKey("trouble", trouble.slug, (stamp,))),
        kind=Kind.TROUBLE,
        line=trouble.sentence,
        runtime=trouble.runtime,
        facts=(("show", "settle doctor"),),
        not_to=trouble.slug.removeprefix(TARGET) if trouble.slug.startswith(TARGET) else "",
    )


def over_item(slug: str, sentence: str, stamp: str) -> Item:
    return Item(
        key=str(AnnouncementKey("over", slug, (stamp,))),
        kind=Kind.TROUBLE_OVER,
        line=f"over: {sentence}",
    )


def _item(
    history: History,
    kind: Kind,
    *,
    key: str,
    says: str,
    day: date | None,
    flips: tuple[int, ...] = (),
    version: str = "",
    signature: str = "",
    facts: tuple[tuple[str, str], ...] = (),
) -> Item:
    track = history.track
    return Item(
        key=key,
        kind=kind,
        line=f"{track.subject.id} {says}",
        day=f"{day}" if day else "",
        flips=flips,
        model=track.subject.model_id,
        subject=track.subject.id,
        organisation=track.organisation,
        runtime=str(track.runtime),
        version=version,
        signature=signature,
        facts=facts,
    )


def _where(history: History, version: str) -> str:
    """Name runtime and version; a channel or platform only where it is not the usual one."""
    track = history.track
    channel = "" if track.channel == "stable" else f" ({track.channel})"
    return f"{track.runtime}{f' {version}' if version else ''}{channel}, {track.platform}"


def _version(told: DayEvidence) -> str:
    return told.version or "an unresolved version"


def _show(history: History, told: DayEvidence | None) -> str:
    return f"settle show {told.run if told else shlex.quote(history.track.subject.id)}"


def _flips(flips: Sequence[FlipSeen]) -> str:
    return ", ".join(f"{one.after} {one.day}" for one in flips[-MOST_FLIPS:])
