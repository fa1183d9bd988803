"""Writes each announcement: versions, since when, whose fault, and the command that shows it; pure."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

from monitor.alerts.values import SETS_BACK, Item, Kind, TroubleArea
from monitor.report.format import days_text, moved_text, since_text
from monitor.store.outbox import AnnouncementKey

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import date

    from monitor.alerts.values import CellHistory, FlipEvidence, NewLayout, NewModel, Trouble, TroubleId, WithdrawnFlip
    from monitor.report.evidence import DayEvidence
    from monitor.stability.values import Stabilization

_VERBS = {
    Kind.REGRESSION: "was stable and is broken",
    Kind.SETBACK: "no longer works",
    Kind.RESTORED: "works again",
    Kind.NEWLY_WORKS: "newly works",
}
_RECOVERIES = {
    TroubleArea.DAEMON: "{name}. The step works again.",
    TroubleArea.MEASURING: "measuring {name}. Cells are measured again.",
    TroubleArea.SILENCE: "silence. Results are recorded again.",
    TroubleArea.TARGET: "target {name}. Messages arrive again.",
}
MOST_FLIPS = 6


def flip_item(history: CellHistory, flip: FlipEvidence, kind: Kind) -> Item:
    version = flip.since.version if flip.since else ""
    verb = _VERBS.get(kind, f"is {flip.after} (before: {flip.before})")
    return _item(
        history,
        kind,
        key=_flip_key(history, flip),
        text=f"{verb} in {_where(history, version)} since {flip.day}",
        day=flip.day,
        flips=[flip],
        version=version,
        signature=flip.since.signature if flip.since else "",
        facts=tuple(_facts_of(history, flip, kind)),
    )


def _facts_of(history: CellHistory, flip: FlipEvidence, kind: Kind) -> Iterator[tuple[str, str]]:
    last, since, sets_back = flip.last, flip.since, kind in SETS_BACK
    names = ("last good", "first bad") if sets_back else ("before", "since")
    for name, day, verdict in ((names[0], last, flip.before), (names[1], since, flip.after)):
        if day is not None:
            version = day.version or "an unresolved version"
            yield name, f"{version} on {day.day}" + ("" if sets_back else f", {verdict}")
    if flip.moved:
        yield "packages", moved_text(flip.moved, first=str(history.track.runtime))
    if since is not None and since.blame:
        yield "blame", since.blame
    if since is not None and since.reason:
        yield "reason", since.reason
    elif last is not None and last.reason:
        yield "was", last.reason
    yield _show(history, since)


def works_item(history: CellHistory, first: date) -> Item:
    version = next(day.version for day in history.track.observations if day.day == first)
    return _item(
        history,
        Kind.NEWLY_WORKS,
        key=str(AnnouncementKey("works", history.track.cell)),
        text=f"works in {_where(history, version)}, first seen on {first}",
        day=first,
        version=version,
        facts=(("since", f"{version} on {first}"), _show(history)),
    )


def stable_item(history: CellHistory, answer: Stabilization) -> Item:
    span = answer.stable.span
    took = days_text(span, answer.released, answer.created)
    last = history.track.observations[-1]
    facts = (
        ("stable since", since_text(span)),
        *([("after release", f"{took} days")] if took else []),
        ("newest", f"{last.version} on {last.day}"),
        _show(history),
    )
    return _item(
        history,
        Kind.NEWLY_STABLE,
        key=str(AnnouncementKey("stable", history.track.cell)),
        text=f"is stable in {_where(history)} since {span.by}",
        day=answer.stable.proven,
        facts=facts,
    )


def flapping_item(history: CellHistory, began: date, flips: Sequence[FlipEvidence]) -> Item:
    return _item(
        history,
        Kind.FLAPPING,
        key=str(AnnouncementKey("flapping", history.track.cell, (str(began),))),
        text=f"flips back and forth in {_where(history)}; the next alert comes when it is calm",
        day=began,
        flips=flips,
        facts=(_flips(history), _show(history)),
    )


def calm_item(history: CellHistory, began: date, calm: date, last: FlipEvidence) -> Item:
    return _item(
        history,
        Kind.CALM,
        key=str(AnnouncementKey("calm", history.track.cell, (str(began),))),
        text=f"is calm again in {_where(history)}: {last.after} since {last.day}",
        day=calm,
        facts=(_flips(history), _show(history, last.since)),
    )


def changed_item(history: CellHistory, flips: Sequence[FlipEvidence]) -> Item:
    last = flips[-1]
    return _item(
        history,
        Kind.CHANGED,
        key=_flip_key(history, last),
        text=f"keeps flipping in {_where(history)}: {last.after} since {last.day}",
        day=last.day,
        flips=flips,
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


def layout_item(layout: NewLayout) -> Item:
    return Item(
        key=layout.key,
        kind=Kind.NEW_LAYOUT,
        line=f"{layout.model}: {layout.line}",
        day=layout.day,
        model=layout.model,
        organisation=layout.organisation,
        facts=(("revision", layout.revision), *(("layout", sentence) for sentence in layout.sentences)),
    )


def withdrawn_item(flip: WithdrawnFlip) -> Item:
    return Item(
        key=str(AnnouncementKey("withdrawn", flip.cell, (flip.day, flip.after))),
        kind=Kind.WITHDRAWN,
        line=f"{flip.subject}: '{flip.after} in {flip.runtime} since {flip.day}' is withdrawn by a later judgement",
        day=flip.day,
        model=flip.model,
        subject=flip.subject,
        organisation=flip.organisation,
        runtime=flip.runtime,
        facts=(("show", f"settle show {shlex.quote(flip.subject)}"),),
    )


def trouble_item(trouble: Trouble, stamp: str) -> Item:
    return Item(
        key=str(AnnouncementKey("trouble", str(trouble.id), (stamp,))),
        kind=Kind.TROUBLE,
        line=trouble.sentence,
        runtime=trouble.runtime,
        facts=(("show", "settle doctor"),),
        not_to=trouble.id.name if trouble.id.area is TroubleArea.TARGET else "",
    )


def resolved_item(trouble: TroubleId, stamp: str) -> Item:
    line = f"Resolved: {_RECOVERIES[trouble.area].format(name=trouble.name)}"
    key = str(AnnouncementKey("over", str(trouble), (stamp,)))
    return Item(key=key, kind=Kind.TROUBLE_OVER, line=line)


def _item(
    history: CellHistory,
    kind: Kind,
    *,
    key: str,
    text: str,
    day: date | None,
    flips: Sequence[FlipEvidence] = (),
    version: str = "",
    signature: str = "",
    facts: tuple[tuple[str, str], ...] = (),
) -> Item:
    track = history.track
    return Item(
        key=key,
        kind=kind,
        line=f"{track.subject.id} {text}",
        day=f"{day}" if day else "",
        flips=tuple(flip.id for flip in flips),
        model=track.subject.model_id,
        subject=track.subject.id,
        organisation=track.organisation,
        runtime=str(track.runtime),
        version=version,
        signature=signature,
        facts=facts,
    )


def _flip_key(history: CellHistory, flip: FlipEvidence) -> str:
    return str(AnnouncementKey("flip", history.track.cell, (str(flip.day), str(flip.after))))


def _where(history: CellHistory, version: str = "") -> str:
    """Name runtime, version and platform; the channel only where it is not the usual one."""
    track = history.track
    channel = "" if track.channel == "stable" else f" ({track.channel})"
    return f"{track.runtime}{f' {version}' if version else ''}{channel}, {track.platform}"


def _show(history: CellHistory, day: DayEvidence | None = None) -> tuple[str, str]:
    return "show", f"settle show {day.run if day else shlex.quote(history.track.subject.id)}"


def _flips(history: CellHistory) -> tuple[str, str]:
    return "flips", ", ".join(f"{flip.after} {flip.day}" for flip in history.flips[-MOST_FLIPS:])
