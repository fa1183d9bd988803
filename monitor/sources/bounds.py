"""Bounds on what a source may answer: days, versions and names; past them an answer is unusable, and never an error."""

from __future__ import annotations

import json
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from packaging.version import InvalidVersion, Version

from containers.lock import redacted
from monitor.errors import InfraError, SettleError

if TYPE_CHECKING:
    from collections.abc import Iterator

# no model, commit or package is from outside: arithmetic with years 1 and 9999 overflows
EARLIEST, LATEST = datetime(1970, 1, 1, tzinfo=UTC), datetime(2200, 1, 1, tzinfo=UTC)
NAME_CHARACTERS = 255  # of a file on any file system
_VERSION_CHARACTERS = 100
_DEEPEST = 64  # levels of lists and objects; recursion over more would end in a RecursionError somewhere


def plausible(moment: datetime | None) -> datetime | None:
    """Return a moment in UTC, also one without a time zone; None where no clock can have shown it."""
    if moment is None:
        return None
    try:
        utc = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except (OverflowError, ValueError):
        return None
    return utc if EARLIEST <= utc < LATEST else None


def version_of(text: str | None) -> Version | None:
    """Return the version that a text is, None where it is none; a number of 5,000 digits is no version."""
    if not text or len(text) > _VERSION_CHARACTERS:
        return None
    try:
        return Version(text)
    except InvalidVersion:
        return None


def parsed_json(body: bytes) -> Any:
    """Parse a JSON document. Raises ValueError where it is none, or nested too deeply."""
    try:
        document = json.loads(body)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    level = [document]
    for _ in range(_DEEPEST):
        level = [
            item
            for part in level
            if isinstance(part, dict | list)
            for item in (part.values() if isinstance(part, dict) else part)
        ]
        if not level:
            return document
    raise ValueError("it is nested too deeply")


@contextmanager
def reading(what: str, *, hint: str = "") -> Iterator[None]:
    """Report whatever goes wrong while an answer is read as an InfraError: it comes from a stranger, not from here."""
    try:
        yield
    except SettleError:
        raise
    except Exception as error:
        raise InfraError(f"{what} cannot be read: {answer_fault(error)}", hint=hint) from error


def answer_fault(error: Exception) -> str:
    """Return, on a line and without passwords, what in an answer breaks its reader.

    Raises the error itself where a stranger's answer cannot be its cause: a disk or a database that fails.
    """
    if isinstance(error, OSError) or hasattr(error, "sqlite_errorcode"):
        raise error
    text = " ".join(redacted(str(error)).split())[:200]
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
