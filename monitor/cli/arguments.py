"""Parses the runtimes, versions, days and models that a command line names."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING

from monitor.domain import Runtime
from monitor.errors import UnknownName, UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from monitor.domain import Model, Subject
    from monitor.progress import Progress

FIRST_DAY = date(2025, 1, 1)


def runtime_and_version(text: str) -> tuple[Runtime, str]:
    """Parse ``runtime`` or ``runtime==version``; the version is "" where none is named."""
    name, _, version = text.partition("==")
    if any(sign in text.replace("==", "", 1) for sign in "=<>~!"):
        raise UsageError(f"{text!r} does not name a single version", hint="write runtime or runtime==version")
    try:
        runtime = Runtime(name.strip().lower())
    except ValueError:
        raise UnknownName("runtime", name, list(Runtime), hint=f"known: {', '.join(Runtime)}") from None
    version = version.strip()
    if version:
        from packaging.version import InvalidVersion, Version

        try:
            Version(version)
        except InvalidVersion:
            raise UsageError(f"{version!r} is not a version", hint="write it as transformers==5.2.0") from None
    elif "==" in text:
        raise UsageError(f"{text!r} names no version", hint="write runtime or runtime==version") from None
    return runtime, version


def exact_pin(text: str) -> str:
    """Return ``text`` as name==version; raises UsageError for any other requirement."""
    from packaging.requirements import InvalidRequirement, Requirement

    try:
        requirement = Requirement(text)
    except InvalidRequirement:
        raise UsageError(f"{text!r} is not a requirement", hint="write --with transformers==5.2.0") from None
    pins = [part.version for part in requirement.specifier if part.operator == "==" and not part.version.endswith(".*")]
    extras = requirement.marker or requirement.extras or requirement.url
    if len(pins) != 1 or len(requirement.specifier) != 1 or extras:
        raise UsageError(f"{text!r} does not name a single version", hint="write --with transformers==5.2.0")
    return f"{requirement.name.lower()}=={pins[0]}"


def past_day(text: str, today: date) -> date:
    try:
        day = date.fromisoformat(text)
    except ValueError:
        raise UsageError(f"{text!r} is not a day", hint="write it as YYYY-MM-DD, such as 2026-03-31") from None
    if day > today:
        raise UsageError(f"{day} is in the future (today is {today}, UTC)", hint="give today or an earlier day")
    return day


def replayable_day(text: str, today: date) -> date:
    """Return a day whose environments can be rebuilt."""
    day = past_day(text, today)
    if day < FIRST_DAY:
        raise UsageError(f"{day} is before {FIRST_DAY}, the first day that can be rebuilt", hint="give a later day")
    return day


def replayable_range(first: str, last: str, today: date) -> tuple[date, date]:
    begin, end = replayable_day(first, today), replayable_day(last, today)
    if begin > end:
        raise UsageError(f"--from {begin} is after --to {end}", hint="give the earlier day first")
    if end == today:
        raise UsageError(
            f"{today} is not over: its environment may still change",
            hint=f"give a day before {today}; `settle run --once` measures today",
        )
    return begin, end


def watched_subjects(names: Sequence[str], progress: Progress, home: Path) -> Sequence[Subject]:
    """Return the subjects of the named models, or of the whole catalogue."""
    from monitor.subjects.catalogue import load_catalogue

    if not names:
        return load_catalogue().subjects()
    return list(dict.fromkeys(subject for name in names for subject in _subjects(name, progress, home)))


def subjects_of(model: str, progress: Progress, home: Path) -> tuple[Sequence[Subject], Sequence[Model]]:
    """Return the subjects of a model or a checkpoint folder, and the models that the catalogue does not hold."""
    from monitor.subjects.local_folder import folder_subject

    if model.startswith((".", "/", "~")) or (model and Path(model).is_dir()):
        folder_model, subject = folder_subject(Path(model).expanduser())
        return [subject], [folder_model]
    return _subjects(model, progress, home), []


def _subjects(model: str, progress: Progress, home: Path) -> Sequence[Subject]:
    from monitor.discovery.watched_models import discovered_subjects
    from monitor.subjects.catalogue import load_catalogue

    try:
        match = load_catalogue().find(model)
    except UnknownName:
        if discovered := discovered_subjects(home, model):
            return discovered
        raise
    if match.note:
        progress.message(match.note)
    subjects = match.entry.subjects()
    return [subject for subject in subjects if subject.id.lower() == model.lower()] or subjects
