"""What is tried in the release before: miniatures that fail and have passed nowhere, whose files may be at fault."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from monitor.domain import Blame, CellVerdict, Channel, Origin, SubjectForm
from monitor.errors import InfraError
from monitor.judge.attribution import release_before
from monitor.judge.confirm import Settled
from monitor.runner.release_day import dated_by

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from monitor.domain import Cell, Release, Subject
    from monitor.judge.confirm import RetryNeeded
    from monitor.runner.install import Installer
    from monitor.runner.request import ProbeRequest
    from monitor.store import Reader


def unproven(store: Reader, decisions: Mapping[Cell, Settled | RetryNeeded]) -> list[Cell]:
    """Return the cells that fail where their miniature's own files may be at fault: it has passed nowhere."""
    return [
        cell
        for cell, decision in decisions.items()
        if isinstance(decision, Settled)
        and decision.verdict.verdict is CellVerdict.UNKNOWN
        and decision.verdict.blame is Blame.UNATTRIBUTED
        and _is_unproven(store.subject(cell.subject_id))
    ]


def _is_unproven(subject: Subject) -> bool:
    return subject.form is SubjectForm.MINIATURE and not subject.qualified


def release_before_of(installer: Installer, request: ProbeRequest, version: str) -> Release | None:
    """Return the stable release before a version, None where there is none to try, or no index that answers.

    A replay has the releases before in their turn.
    """
    if request.origin is Origin.REPLAY or request.channel is not Channel.STABLE or request.extra_pins:
        return None
    try:
        listed = installer.listed_releases(request.runtime)
    except InfraError:
        return None  # it stays unknown, and the next cycle tries again
    before = release_before(version, listed)
    return next((release for release in listed if release.version == before), None)


def was_tried(store: Reader, cell: Cell, release: Release) -> bool:
    return store.cells.was_tried(cell.id, release.version, store.subject(cell.subject_id).digest)


def request_in(release: Release, request: ProbeRequest, subjects: Sequence[Subject]) -> ProbeRequest:
    """Return a request for a release by hand, as of its own day."""
    by_hand = replace(request, version=release.version, origin=Origin.ADHOC, subjects=subjects, force=False)
    return dated_by([release], by_hand)
