"""One line of the events file, parsed strictly: whatever is not an event exactly as agreed is malformed."""

from __future__ import annotations

import json
import math
import re
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from monitor.judge import faults
from probes import catalogue, wire

# C0 and C1 controls but newline and tab, lone surrogates, and what turns the reading direction around: none of them
# may reach a database, a terminal or a page
_UNPRINTABLE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
_MAYBE_UNPRINTABLE = re.compile(
    rb"\\[ubfr]|\x7f|\xc2[\x80-\x9f]|\xd8\x9c|\xe2\x80[\x8e\x8f\xaa-\xae]|\xe2\x81[\xa6-\xa9]"
)

_MAX_DEPTH = 64  # what is taken here is walked and written out again elsewhere, further down the stack

Name = Annotated[str, Field(min_length=1, max_length=200)]
Seconds = Annotated[float, Field(ge=0, allow_inf_nan=False)]

# checks of earlier probes: the records that name them are read as ever when a history is judged again
RETIRED = frozenset({"knows.values"})


class _Base(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)

    at: Seconds


class SessionEvent(_Base):
    event: Literal["session"]
    wire: int
    suite: Annotated[str, Field(max_length=200)]  # empty when the probe runs from a source tree
    runtime: Name
    version: Name
    python: Name


class StartedEvent(_Base):
    event: Literal["started"]
    subject: Name | None
    check: Name


class FinishedEvent(_Base):
    event: Literal["finished"]
    subject: Name | None
    check: Name
    outcome: Literal["passed", "failed", "skipped"]
    seconds: Seconds
    fault: Annotated[Name, AfterValidator(faults.current)] | None = None
    message: Annotated[str, Field(max_length=wire.MAX_MESSAGE_CHARS)] = ""
    evidence: dict[Name, Any] = Field(default_factory=dict, max_length=1000)


class FactEvent(_Base):
    event: Literal["fact"]
    subject: Name | None
    name: Name
    value: Any


class DiedEvent(_Base):
    event: Literal["died"]
    subject: Name
    exit_code: int | None
    signal: Annotated[int, Field(ge=1, le=128)] | None
    timed_out: bool
    out_of_memory: bool
    seconds: Seconds
    peak_memory_bytes: Annotated[int, Field(ge=0, le=1 << 62)] | None


class DoneEvent(_Base):
    event: Literal["done"]


Event = Annotated[
    SessionEvent | StartedEvent | FinishedEvent | FactEvent | DiedEvent | DoneEvent,
    Field(discriminator="event"),
]
_EVENT: TypeAdapter[Event] = TypeAdapter(Event)


class MalformedEventError(ValueError):
    """One sentence about what is wrong with a line; never leaves the readers."""


def parse_event(line: bytes) -> Event:
    if len(line) > wire.MAX_LINE_BYTES:
        raise MalformedEventError(f"longer than {wire.MAX_LINE_BYTES} bytes")
    try:
        value = json.loads(line.decode(), parse_float=_finite, parse_constant=_not_a_number)
    except RecursionError:
        raise MalformedEventError("nested too deeply") from None
    except ValueError as error:
        raise MalformedEventError(f"not JSON: {error}") from None
    if line.count(b"[") + line.count(b"{") > _MAX_DEPTH and _deeper_than(_MAX_DEPTH, value):
        raise MalformedEventError("nested too deeply")
    if _MAYBE_UNPRINTABLE.search(line):
        value = _printable(value)
    try:
        event = _EVENT.validate_python(value)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"]) or "event"
        raise MalformedEventError(f"{where}: {first['msg']}") from None
    if isinstance(event, StartedEvent | FinishedEvent):
        _check_known(event.check, of_session=event.subject is None)
    if isinstance(event, FinishedEvent):
        _check_fault(event)
    return event


def _check_known(check: str, *, of_session: bool) -> None:
    if check not in catalogue.INSTALLS and check not in catalogue.checks() and check not in RETIRED:
        raise MalformedEventError(f"no check is called {check!r}")
    if of_session != (check == "installs.imports") or (check in catalogue.INSTALLS and not of_session):
        raise MalformedEventError(f"{check} is not a check of {'the session' if of_session else 'a subject'}")


def _check_fault(event: FinishedEvent) -> None:
    if (event.outcome == "failed") != (event.fault is not None):
        raise MalformedEventError(f"outcome {event.outcome} with fault {event.fault}")
    if event.fault is not None and event.fault not in faults.BLAME:
        raise MalformedEventError(f"no fault is called {event.fault!r}")
    if event.fault is not None and event.fault not in wire.FAULTS:
        raise MalformedEventError(f"a probe may not claim the fault {event.fault}")


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"the number {text[:40]} is too large")
    return number


def _not_a_number(text: str) -> float:
    raise ValueError(f"{text} is no JSON number")


def _deeper_than(limit: int, value: Any) -> bool:
    """Return whether containers are nested more than ``limit`` deep, level by level: no stack is needed."""
    level = [value]
    for _ in range(limit + 1):
        level = [value for value in level if isinstance(value, list | dict)]
        if not level:
            return False
        level = [inner for value in level for inner in (value.values() if isinstance(value, dict) else value)]
    return True


def _printable(value: Any) -> Any:
    """Return ``value`` with what may not be shown replaced, in keys as in strings."""
    match value:
        case str():
            return _UNPRINTABLE.sub("\N{REPLACEMENT CHARACTER}", value)
        case list():
            return [_printable(item) for item in value]
        case dict():
            return {_printable(key): _printable(item) for key, item in value.items()}
        case _:
            return value
