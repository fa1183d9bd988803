"""Renders chat templates as published ones expect; an untrusted one in a process with limits of time and memory."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from jinja2.exceptions import TemplateError
from jinja2.ext import Extension, loopcontrols
from jinja2.sandbox import ImmutableSandboxedEnvironment

if TYPE_CHECKING:
    from collections.abc import Mapping

    from jinja2 import Template
    from jinja2.nodes import Node
    from jinja2.parser import Parser

LONGEST_CHARS = 1 << 20  # a conversation of three turns
SECONDS = 10.0
MEMORY_BYTES = 512 << 20
_REASON_CHARS = 300
_ENVIRONMENT = {"LANG": "C.UTF-8"}  # nothing of the daemon's: its variables hold tokens


def render(template: str, messages: list[dict[str, str]], specials: Mapping[str, Any]) -> str:
    """Return the rendering, at most ``LONGEST_CHARS`` of it; what is more raises TemplateError.

    The same environment as ``apply_chat_template`` documents: sandboxed, trimmed blocks, loop controls, JSON that keeps
    non-ASCII characters. There is no clock: a template that asks for today's date raises TemplateError.
    """
    pieces: list[str] = []
    length = 0
    for piece in _compiled(template).generate(
        messages=messages, tools=None, documents=None, add_generation_prompt=True, **specials
    ):
        pieces.append(piece)
        length += len(piece)
        if length > LONGEST_CHARS:
            raise TemplateError(f"it renders more than {LONGEST_CHARS} characters")
    return "".join(pieces)


def render_apart(
    template: str, messages: list[dict[str, str]], specials: Mapping[str, Any], *, seconds: float = SECONDS
) -> tuple[str | None, str]:
    """Render in a separate process; return the rendering, or None and the reason. Always ends, and never raises."""
    request = json.dumps({"template": template, "messages": messages, "specials": dict(specials)})
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
        return None, f"rendering takes longer than {seconds:g} s"
    try:
        answer = json.loads(process.stdout)
        return answer["rendered"], answer["reason"]
    except (KeyError, RecursionError, TypeError, ValueError):
        return None, f"the process ended with {process.returncode}"


def _answer() -> None:
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    request = json.loads(sys.stdin.buffer.read())
    rendered, reason = None, ""
    try:
        rendered = render(request["template"], request["messages"], request["specials"])
    except MemoryError:
        reason = f"it needs more than {MEMORY_BYTES >> 20} MiB"
    except Exception as error:  # noqa: BLE001 -- an untrusted program may raise anything
        reason = f"{type(error).__name__}: {error}"[:_REASON_CHARS]
    sys.stdout.write(json.dumps({"rendered": rendered, "reason": reason}))


@lru_cache(maxsize=64)  # most miniatures share a few templates, and compiling one takes 30 ms
def _compiled(template: str) -> Template:
    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[_Generation, loopcontrols]
    )
    environment.filters["tojson"] = _tojson
    environment.globals["raise_exception"] = _raise_exception
    environment.globals["strftime_now"] = _no_clock
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


def _no_clock(_format: str) -> str:
    raise TemplateError("the rendering would depend on the day")


if __name__ == "__main__":
    _answer()
