"""The answers that a probe expects, from the model's files: texts, rendered template, parts, special tokens."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from monitor.miniatures.manifest import whole_origins
from monitor.miniatures.template import render, render_apart
from monitor.miniatures.tokenizer import TEXTS, tokenizer_config

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

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
    rendered, why = _rendered(miniature, _specials(tokenizer_config(tokens)))
    return {
        "texts": list(TEXTS),
        "template": None if rendered is None else _rendering(rendered),
        "no_template": _no_template(why),
        "parts": dict(miniature.parts) or None,
        "published": miniature.untrusted or miniature.origin.partition(" ")[0] in whole_origins(),
        "specials": {
            "bos": ids[tokens.bos] if tokens.bos is not None else None,
            "eos": [ids[token] for token in tokens.eos],
            "pad": ids[tokens.pad],
        },
    }


def golden_of_folder(folder: Path) -> dict[str, Any]:
    """Return the golden of a checkpoint folder, from its files alone."""
    settings = _read(folder / "tokenizer_config.json")
    template, file = settings.get("chat_template"), folder / "chat_template.jinja"
    if file.is_file():
        template = file.read_text(encoding="utf-8", errors="replace")
    specials = _specials({**_read(folder / "special_tokens_map.json"), **settings})
    rendered, why = None, ""
    if isinstance(template, str):
        # an untrusted program, which may need what a plain conversation does not have
        rendered, why = render_apart(template, _messages(), specials)
    return {
        "texts": [],
        "template": None if rendered is None else _rendering(rendered),
        "no_template": _no_template(why),
        "parts": None,
        "specials": None,
    }


def _rendered(miniature: Miniature, specials: Mapping[str, Any]) -> tuple[str | None, str]:
    if miniature.template is None:
        return None, ""
    if miniature.untrusted:
        return render_apart(miniature.template, _messages(), specials)
    return render(miniature.template, _messages(), specials), ""


def _no_template(why: str) -> str | None:
    return f"the model's template gives no golden rendering: {why}" if why else None


def _messages() -> list[dict[str, str]]:
    return [dict(message) for message in MESSAGES]


def _rendering(text: str) -> dict[str, Any]:
    return {"messages": _messages(), "rendered": text}


def _specials(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return the special tokens that a template gets in addition to the messages: those that are set."""
    named = {name: _spelling(settings.get(name)) for name in _SPECIALS}
    additional = settings.get("additional_special_tokens")
    spelt = [_spelling(token) for token in additional] if isinstance(additional, list) else []
    extra = settings.get("extra_special_tokens")
    if isinstance(extra, dict):
        named |= {name: _spelling(token) for name, token in extra.items()}
    tokens: dict[str, Any] = {name: token for name, token in named.items() if token}
    return {**tokens, "additional_special_tokens": spelt} if spelt else tokens


def _spelling(token: Any) -> str:
    return str(token.get("content", "")) if isinstance(token, dict) else str(token or "")


def _read(path: Path) -> dict[str, Any]:
    """Return the object in a file, nothing where there is none: the probe's checks report a broken file."""
    if not path.is_file():  # a pipe would never end
        return {}
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}
