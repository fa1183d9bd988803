"""Renders chat templates as published ones expect; an untrusted one in a process with limits of time and memory."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
from dataclasses import asdict, dataclass
from datetime import datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

from jinja2.exceptions import TemplateError
from jinja2.ext import Extension, loopcontrols
from jinja2.sandbox import ImmutableSandboxedEnvironment

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from jinja2 import Template
    from jinja2.nodes import Node
    from jinja2.parser import Parser

LONGEST_CHARS = 1 << 20  # a conversation of three turns
SECONDS = 10.0
MEMORY_BYTES = 512 << 20
# the clock that every template reads: a rendering must not depend on the day on which it is made
CLOCK: Final = datetime(2026, 2, 17, 9, 41, 53)  # noqa: DTZ001 -- templates format a local time without a zone
_REASON_CHARS = 300
_ENVIRONMENT = {"LANG": "C.UTF-8"}  # nothing of the daemon's: its variables hold tokens


@dataclass(frozen=True, slots=True)
class Rendering:
    """A template's text, or None and the reason; ``broken`` where the template itself is what fails.

    ``formats`` are those in which it wrote the time.
    """

    text: str | None
    reason: str = ""
    broken: bool = False
    formats: tuple[str, ...] = ()


def render(template: str, messages: Sequence[Mapping[str, Any]], specials: Mapping[str, Any]) -> str:
    """Return the rendering, at most ``LONGEST_CHARS`` of it; what is more raises TemplateError.

    The same environment as ``apply_chat_template`` documents: sandboxed, trimmed blocks, loop controls, JSON that keeps
    non-ASCII characters. The time is always ``CLOCK``.
    """
    return _rendered(template, messages, specials, tools=None, prompt=True, formats=[])


def _rendered(
    template: str,
    messages: Sequence[Mapping[str, Any]],
    specials: Mapping[str, Any],
    *,
    tools: Sequence[Mapping[str, Any]] | None,
    prompt: bool,
    formats: list[str],
) -> str:
    def strftime_now(format_: str) -> str:
        formats.append(format_)
        return CLOCK.strftime(format_)

    pieces: list[str] = []
    length = 0
    given = {"messages": messages, "tools": tools, "documents": None, "add_generation_prompt": prompt}
    for piece in _compiled(template).generate(**given, strftime_now=strftime_now, **specials):
        pieces.append(piece)
        length += len(piece)
        if length > LONGEST_CHARS:
            raise TemplateError(f"it renders more than {LONGEST_CHARS} characters")
    return "".join(pieces)


def render_apart(
    template: str, messages: list[dict[str, str]], specials: Mapping[str, Any], *, seconds: float = SECONDS
) -> tuple[str | None, str]:
    """Render in a separate process; return the rendering, or None and the reason. Always ends, and never raises."""
    (rendering,) = renderings_apart([(template, messages, None, True)], specials, seconds=seconds)
    return rendering.text, rendering.reason


def renderings_apart(
    requests: Sequence[tuple[str, Sequence[Mapping[str, Any]], Sequence[Mapping[str, Any]] | None, bool]],
    specials: Mapping[str, Any],
    *,
    seconds: float = SECONDS,
) -> list[Rendering]:
    """Render templates in one separate process, each a template, messages, tools, and whether a prompt is added.

    Always ends, and never raises. Where the process ends early, every rendering has the reason.
    """
    request = json.dumps({"requests": requests, "specials": dict(specials)})
    try:
        process = subprocess.run(
            [sys.executable, "-I", "-m", __name__],
            env=_ENVIRONMENT,
            input=request.encode(),
            capture_output=True,
            timeout=seconds,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return [Rendering(None, f"rendering takes longer than {seconds:g} s")] * len(requests)
    try:
        answer = json.loads(process.stdout)
        return [Rendering(**{**row, "formats": tuple(row["formats"])}) for row in answer]
    except (AttributeError, KeyError, RecursionError, TypeError, ValueError):
        return [Rendering(None, f"the process ended with {process.returncode}")] * len(requests)


def _answer() -> None:
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    given = json.loads(sys.stdin.buffer.read())
    renderings = [
        _tried(template, messages, tools, prompt, given["specials"])
        for template, messages, tools, prompt in given["requests"]
    ]
    sys.stdout.write(json.dumps([asdict(rendering) for rendering in renderings]))


def _tried(template: str, messages: Any, tools: Any, prompt: bool, specials: Any) -> Rendering:
    formats: list[str] = []
    try:
        text = _rendered(template, messages, specials, tools=tools, prompt=prompt, formats=formats)
    except MemoryError:
        return Rendering(None, f"it needs more than {MEMORY_BYTES >> 20} MiB")
    except Exception as error:  # noqa: BLE001 -- an untrusted program may raise anything
        # the plain class is what the template itself raises to refuse a conversation, and our limits
        broken = type(error) is not TemplateError and not isinstance(error, RecursionError)
        return Rendering(None, f"{type(error).__name__}: {error}"[:_REASON_CHARS], broken)
    return Rendering(text, formats=tuple(dict.fromkeys(formats)))


@lru_cache(maxsize=64)  # most miniatures share a few templates, and compiling one takes 30 ms
def _compiled(template: str) -> Template:
    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[_Generation, loopcontrols]
    )
    environment.filters["tojson"] = _tojson
    environment.globals["raise_exception"] = _raise_exception
    return environment.from_string(template)


class _Generation(Extension):
    """``{% generation %}`` marks the assistant's text for training; it renders as its content."""

    tags = {"generation"}  # noqa: RUF012 -- jinja2 declares it so

    def parse(self, parser: Parser) -> list[Node]:
        next(parser.stream)
        return list(parser.parse_statements(("name:endgeneration",), drop_needle=True))


def _tojson(
    value: Any,
    ensure_ascii: bool = False,
    indent: int | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


def _raise_exception(message: str) -> str:
    raise TemplateError(message)


if __name__ == "__main__":
    _answer()
