"""The answers that a probe expects, from the model's files: texts, rendered template, parts, special tokens."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from monitor.miniatures.manifest import Miniature, whole_origins
from monitor.miniatures.template import render, render_apart
from monitor.miniatures.tokenizer import TEXTS, tokenizer_config

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

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
        **_rendering(miniature.template, _specials(tokenizer_config(tokens)), untrusted=miniature.untrusted),
        "parts": dict(miniature.parts) or None,
        **({"alone": True} if miniature.alone else {}),
        "published": miniature.untrusted
        or any(miniature.origin in (file, f"{file} (text_config)") for file in whole_origins()),
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
    rendering = _rendering(template if isinstance(template, str) else None, specials, untrusted=True)
    return {"texts": [], **rendering, "parts": None, "specials": None}


def _rendering(template: str | None, specials: Mapping[str, Any], *, untrusted: bool) -> dict[str, Any]:
    """Return the expected rendering of a conversation, or why there is none."""
    messages = [dict(message) for message in MESSAGES]
    rendered, reason = None, ""
    if template is not None and untrusted:
        # an untrusted program, which may need what a plain conversation does not have
        rendered, reason = render_apart(template, messages, specials)
    elif template is not None:
        rendered = render(template, messages, specials)
    return {
        "template": None if rendered is None else {"messages": messages, "rendered": rendered},
        "no_template": f"the model's template gives no golden rendering: {reason}" if reason else None,
    }


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
