"""What a probe must find, from the model's own files: texts, the template's rendering, parts, special tokens."""

from __future__ import annotations

import json
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from jinja2.exceptions import TemplateError
from jinja2.ext import Extension, loopcontrols
from jinja2.sandbox import ImmutableSandboxedEnvironment

from monitor.miniatures.tokenizer import TEXTS, tokenizer_config

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from jinja2 import Template
    from jinja2.nodes import Node
    from jinja2.parser import Parser

    from monitor.miniatures.manifest import Miniature

# Turns that every published template accepts: user and assistant in turn, beginning with the user, no system, no tools.
MESSAGES = (
    {"role": "user", "content": "What is 2 + 2?"},
    {"role": "assistant", "content": "It is 4."},
    {"role": "user", "content": "And  naïvely, 你好\n  times 3?"},
)

# what every tokenizer can have; a model's own (image, audio, ...) come by its files
_SPECIALS = ("bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token")


def golden(miniature: Miniature) -> dict[str, Any]:
    """Return the ``golden`` of a probe request for a miniature of ours."""
    tokens, ids = miniature.tokens, miniature.tokens.ids()
    return {
        "texts": list(TEXTS),
        "template": _rendering(miniature.template, _specials(tokenizer_config(tokens))) if miniature.template else None,
        "parts": dict(miniature.parts) or None,
        "specials": {
            "bos": ids[tokens.bos] if tokens.bos is not None else None,
            "eos": [ids[token] for token in tokens.eos],
            "pad": ids[tokens.pad],
        },
    }


def golden_of_folder(folder: Path) -> dict[str, Any]:
    """Return the golden of a checkpoint folder: what its own files say, nothing that only a miniature of ours has."""
    settings = _read(folder / "tokenizer_config.json")
    beside = folder / "chat_template.jinja"
    template = (
        beside.read_text(encoding="utf-8", errors="replace") if beside.is_file() else settings.get("chat_template")
    )
    specials = _specials({**_read(folder / "special_tokens_map.json"), **settings})
    return {
        "texts": [],
        "template": _rendering(template, specials) if isinstance(template, str) else None,
        "parts": None,
        "specials": None,
    }


def render(template: str, messages: list[dict[str, str]], specials: Mapping[str, Any]) -> str:
    """Render with the semantics that published templates are written for.

    The same environment as ``apply_chat_template`` documents: sandboxed, trimmed blocks, loop controls, JSON that keeps
    non-ASCII characters. There is no clock: a template that asks for today's date raises TemplateError.
    """
    text: str = _compiled(template).render(
        messages=messages, tools=None, documents=None, add_generation_prompt=True, **specials
    )
    return text


@lru_cache(maxsize=64)  # most miniatures share a few templates, and compiling one takes 30 ms
def _compiled(template: str) -> Template:
    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[_Generation, loopcontrols]
    )
    environment.filters["tojson"] = _tojson
    environment.globals["raise_exception"] = _raise_exception
    environment.globals["strftime_now"] = _no_clock
    return environment.from_string(template)


def _rendering(template: str, specials: Mapping[str, Any]) -> dict[str, Any] | None:
    messages = [dict(message) for message in MESSAGES]
    try:
        return {"messages": messages, "rendered": render(template, messages, specials)}
    except Exception:  # noqa: BLE001 -- a stranger's program; it may also want what a plain conversation does not have
        return None


class _Generation(Extension):
    """``{% generation %}`` marks what an assistant says for training; it renders as its content."""

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


def _specials(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a template is given beside the messages: every special token that is set, and none that is not."""
    named = {name: _spelling(settings.get(name)) for name in _SPECIALS}
    additional = settings.get("additional_special_tokens")
    spelt = [_spelling(token) for token in additional] if isinstance(additional, list) else []
    extra = settings.get("extra_special_tokens")
    own = {name: _spelling(token) for name, token in extra.items()} if isinstance(extra, dict) else {}
    found: dict[str, Any] = {name: token for name, token in {**named, **own}.items() if token}
    return {**found, "additional_special_tokens": spelt} if spelt else found


def _spelling(token: Any) -> str:
    return str(token.get("content", "")) if isinstance(token, dict) else str(token or "")


def _read(path: Path) -> dict[str, Any]:
    """Return the object in a file, nothing where there is none: that a file is broken, the probe's checks will tell."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}
