"""Which of the answers to the same prompts over the same files is right, by independent code bases; pure."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from packaging.version import InvalidVersion, Version

from monitor.domain import REFERENCE, Runtime
from monitor.judge.changes import TOLERANCE_NAT, distance

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import date

    from monitor.judge.changes import Logprobs

_TWO_FAMILIES = 2  # of other code bases that agree with each other, against a reference that does not contradict itself


class AnswerVerdict(StrEnum):
    """What the other answers say of one."""

    UNCONTESTED = "uncontested"  # nothing that could decide contradicts it
    RIGHT = "right"  # an independent code base agrees
    WRONG = "wrong"  # another side is right
    DISPUTED = "disputed"  # the reference contradicts itself, and nothing decides
    APART = "apart"  # differs from a reference that stands


@dataclass(frozen=True, slots=True)
class TracedRelease:
    """A release that answered. ``reader`` is the version of the reference that reads configurations for it."""

    runtime: Runtime
    version: str
    day: date  # on which the answer was first seen
    independent: bool  # it computed with its runtime's code, and not with the reference's
    reader: str = ""

    @property
    def votes(self) -> bool:
        return self.independent and self.runtime is not REFERENCE


@dataclass(frozen=True, slots=True)
class AnswerGroup:
    """Answers that agree within rounding, and the releases that gave them."""

    answers: frozenset[int]
    releases: tuple[TracedRelease, ...]

    @property
    def is_side(self) -> bool:
        """Return whether releases of the reference are in it."""
        return any(release.runtime is REFERENCE for release in self.releases)

    def has(self, family: str) -> bool:
        return any(release.votes and release.runtime.record.family == family for release in self.releases)

    def newest_of(self, family: str, releases: Iterable[TracedRelease]) -> tuple[TracedRelease, ...]:
        """Return the family's newest releases, one a runtime, of those among ``releases`` that are in the group."""
        newest: dict[Runtime, Version] = {}
        for release in releases:
            newest[release.runtime] = max(newest.get(release.runtime, Version("0")), version_of(release.version))
        return tuple(
            release
            for release in self.releases
            if release.votes
            and release.runtime.record.family == family
            and version_of(release.version) == newest[release.runtime]
        )


@dataclass(frozen=True, slots=True)
class Ruling:
    """What all answers together say; ``reason`` is a sentence for people, "" where nothing is to be said."""

    by_answer: Mapping[int, AnswerVerdict]
    groups: tuple[AnswerGroup, ...] = ()
    witnesses: tuple[str, ...] = ()  # code bases that agree with the right group
    reason: str = ""

    def of(self, answer: int | None) -> AnswerVerdict:
        return AnswerVerdict.UNCONTESTED if answer is None else self.by_answer.get(answer, AnswerVerdict.UNCONTESTED)


def ruling(answers: Mapping[int, Logprobs], releases: Mapping[int, Sequence[TracedRelease]], allowed: float) -> Ruling:
    """Return which group of ``answers`` is right, or that it is disputed.

    Both mappings have the same keys, one for each distinct answer over one subject's files; ``allowed`` is the
    distance, in nat, that rounding explains. The order of nothing matters.
    """
    groups = [
        AnswerGroup(keys, tuple(sorted((release for key in keys for release in releases[key]), key=_order)))
        for keys in grouped(answers, max(allowed, TOLERANCE_NAT))
    ]
    groups.sort(key=lambda group: (not group.is_side, [_order(release) for release in group.releases]))
    sides = [group for group in groups if group.is_side]
    votes = _votes(groups, sides)
    right = _right(groups, sides, votes)
    disputed = right is None and len(sides) > 1
    by_answer = {key: _standing(group, right, disputed=disputed) for group in groups for key in group.answers}
    witnesses = tuple(sorted(votes.get(right.answers, ()))) if right else ()
    return Ruling(by_answer, tuple(groups), witnesses, _reason(groups, right, witnesses, answers))


def grouped(answers: Mapping[int, Logprobs], allowed: float) -> list[frozenset[int]]:
    """Return the keys of answers that agree, transitively; those to fewer prompts join one group, or none.

    An answer to fewer prompts must not tie together two that only the other prompts tell apart.
    """
    most = max(map(len, answers.values()), default=0)
    whole = [key for key in sorted(answers) if len(answers[key]) == most]
    groups: list[set[int]] = []
    for key in whole:
        near = [group for group in groups if any(_agree(answers[key], answers[other], allowed) for other in group)]
        groups = [group for group in groups if group not in near] + [{key}.union(*near)]
    fewer: list[int] = []
    joined: list[tuple[set[int], int]] = []
    for key in sorted(answers.keys() - set(whole)):
        near = [group for group in groups if any(_agree(answers[key], answers[other], allowed) for other in group)]
        comparable = any(distance(answers[key], answers[other]) is not None for other in whole)
        if len(near) == 1:
            joined.append((near[0], key))
        elif not near and comparable:
            fewer.append(key)
    for group, key in joined:
        group.add(key)
    rest = grouped({key: answers[key] for key in fewer}, allowed) if fewer else []
    return [*map(frozenset, groups), *rest]


def _agree(left: Logprobs, right: Logprobs, allowed: float) -> bool:
    apart = distance(left, right)
    return apart is not None and apart <= allowed


def _votes(groups: Sequence[AnswerGroup], sides: Sequence[AnswerGroup]) -> dict[frozenset[int], set[str]]:
    """Return the independent code bases that agree with each group; one that contradicts itself has no vote.

    A runtime that reads configurations through the reference may share a fault in reading them. Where it agrees with
    the very release that reads for it, it has no vote against a code base that reads by itself and answers otherwise,
    nor where its own releases change sides.
    """
    releases = [release for group in groups for release in group.releases if release.votes]
    chosen: dict[str, AnswerGroup] = {}
    for family in sorted({release.runtime.record.family for release in releases}):
        stands_in = [group for group in groups if group.newest_of(family, releases)]
        if len(stands_in) == 1:
            (chosen[family],) = stands_in
    by_itself = [
        group for family, group in chosen.items() if not any(r.reader for r in group.newest_of(family, releases))
    ]
    votes: dict[frozenset[int], set[str]] = {}
    for family, group in chosen.items():
        contested = any(other is not group for other in by_itself)
        follows = sum(side.has(family) for side in sides) > 1
        if not (_may_share_reading(group.newest_of(family, releases), group, sides) and (contested or follows)):
            votes.setdefault(group.answers, set()).add(family)
    return votes


def _may_share_reading(voters: Sequence[TracedRelease], group: AnswerGroup, sides: Sequence[AnswerGroup]) -> bool:
    """Return whether what the voters read configurations with is on their side, as far as is known."""
    readers = {voter.reader for voter in voters if voter.reader}
    elsewhere = {
        release.version
        for side in sides
        if side is not group
        for release in side.releases
        if release.runtime is REFERENCE
    }
    return bool(readers) and not readers <= elsewhere


def _right(
    groups: Sequence[AnswerGroup], sides: Sequence[AnswerGroup], votes: Mapping[frozenset[int], set[str]]
) -> AnswerGroup | None:
    if not sides:
        return None
    outvoting = [group for group in groups if len(votes.get(group.answers, ())) >= _TWO_FAMILIES]
    if len(outvoting) == 1:
        return outvoting[0]
    most = max(len(votes.get(side.answers, ())) for side in sides)
    first = [side for side in sides if len(votes.get(side.answers, ())) == most]
    return first[0] if most and len(first) == 1 else None


def _standing(group: AnswerGroup, right: AnswerGroup | None, *, disputed: bool) -> AnswerVerdict:
    if disputed:
        return AnswerVerdict.DISPUTED
    if right is None:
        return AnswerVerdict.UNCONTESTED if group.is_side else AnswerVerdict.APART
    if group is right:
        return AnswerVerdict.RIGHT
    return AnswerVerdict.WRONG if group.is_side else AnswerVerdict.APART


def _reason(
    groups: Sequence[AnswerGroup], right: AnswerGroup | None, witnesses: Sequence[str], answers: Mapping[int, Logprobs]
) -> str:
    sides = [group for group in groups if group.is_side]
    every = sorted(
        {version_of(release.version) for side in sides for release in side.releases if release.runtime is REFERENCE}
    )
    spans = {side.answers: spans_of(side, every) for side in sides}
    if right is None:
        if len(sides) < _TWO_FAMILIES:
            return ""
        by = _apart(sides[0], sides[1:], answers)
        listed = " and ".join(spans[side.answers] for side in sides)
        return f"{REFERENCE} contradicts itself by {by:.2g} nat, and no independent code base decides: {listed}"
    named = " and ".join(witnesses)
    wrong = [side for side in sides if side is not right]
    agree = f"{named} agree{'' if len(witnesses) > 1 else 's'}"
    if not wrong:
        return f"{agree} with {REFERENCE} {spans[right.answers]}"
    others = " and ".join(spans[side.answers] for side in wrong)
    differ = f"{REFERENCE} {others} differs by {_apart(right, wrong, answers):.2g} nat"
    if not right.is_side:
        return f"{agree} with each other, and {differ}"
    return f"{agree} with {REFERENCE} {spans[right.answers]}, and {differ}"


def spans_of(group: AnswerGroup, every: Sequence[Version]) -> str:
    """Return the reference's releases in the group as ranges among ``every``, which is sorted."""
    here = {version_of(release.version) for release in group.releases if release.runtime is REFERENCE}
    ranges: list[list[Version]] = []
    before: Version | None = None
    for version in every:
        if version in here:
            if before in here and ranges:
                ranges[-1].append(version)
            else:
                ranges.append([version])
        before = version
    return ", ".join(f"{each[0]} to {each[-1]}" if len(each) > 1 else str(each[0]) for each in ranges)


def _apart(group: AnswerGroup, others: Iterable[AnswerGroup], answers: Mapping[int, Logprobs]) -> float:
    return max(
        (
            distance(answers[left], answers[right]) or 0.0
            for other in others
            for left in group.answers
            for right in other.answers
        ),
        default=0.0,
    )


def _order(release: TracedRelease) -> tuple[bool, str, Version, str]:
    return release.runtime is not REFERENCE, str(release.runtime), version_of(release.version), release.reader


def version_of(text: str) -> Version:
    """Return a version to compare; a nightly's commit, which is none, comes before all."""
    try:
        return Version(text)
    except InvalidVersion:
        return Version("0")
