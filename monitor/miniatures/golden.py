"""The answers that a probe expects, from the model's files: texts, rendered template, parts, special tokens."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from monitor.miniatures.flaws import PublishedChat, flaws_of, templates_in
from monitor.miniatures.manifest import HUB, Miniature, whole_origins
from monitor.miniatures.specials import added_tokens, ends_of, specials_of, spelling
from monitor.miniatures.template import CLOCK, Rendering, render, renderings_apart
from monitor.miniatures.tokenizer import TEXTS, is_ours, tokenizer_config
from monitor.miniatures.unmeasured import NOT_MEASURED, taken

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from monitor.miniatures.flaws import Flaw

# Turns that every published template accepts: user and assistant in turn, beginning with the user, no system, no tools.
MESSAGES = (
    {"role": "user", "content": "What is 2 + 2?"},
    {"role": "assistant", "content": "It is 4."},
    {"role": "user", "content": "And  naïvely, 你好\n  times 3?"},
)
_TOKENIZER_BYTES = 64 << 20


def golden(miniature: Miniature) -> dict[str, Any]:
    """Return the ``golden`` of a probe request for a miniature of ours."""
    tokens, ids = miniature.tokens, miniature.tokens.ids()
    return {
        "texts": list(TEXTS),
        **_rendering(miniature.template, specials_of(tokenizer_config(tokens)), untrusted=miniature.untrusted),
        "parts": dict(miniature.parts) or None,
        **({"alone": True} if miniature.alone else {}),
        **({"form": miniature.form} if miniature.form else {}),
        "published": miniature.origin.startswith(HUB)
        or any(miniature.origin in (file, f"{file} (text_config)") for file in whole_origins()),
        **({"published_names": True} if miniature.published_names else {}),
        "specials": {
            "bos": ids[tokens.bos] if tokens.bos is not None else None,
            "eos": [ids[token] for token in tokens.eos],
            "pad": ids[tokens.pad],
        },
        **_publication(miniature.flaws, miniature.not_measured),
    }


def golden_of_folder(folder: Path) -> dict[str, Any]:
    """Return the golden of a checkpoint folder, from its files alone."""
    settings, tokenizer, config = (
        _read(folder / name) for name in ("tokenizer_config.json", "tokenizer.json", "config.json")
    )
    file = folder / "chat_template.jinja"
    template = file.read_text(encoding="utf-8", errors="replace") if file.is_file() else None
    templates = templates_in(settings, template)
    for path in sorted((folder / "additional_chat_templates").glob("*.jinja")):
        if path.is_file():
            templates.setdefault(path.stem, path.read_text(encoding="utf-8", errors="replace"))
    specials = specials_of({**_read(folder / "special_tokens_map.json"), **settings})
    rendering = _rendering(templates.get("default"), specials, untrusted=True)
    names = added_tokens(settings, tokenizer)
    ends = ends_of(config, _read(folder / "generation_config.json"), names)
    tokens = {*names.values(), *(spelling(settings.get(name)) for name in ("bos_token", "eos_token"))}
    # its weights are the published ones, and are read in their format
    left_out = {part: f"{text}: {NOT_MEASURED}" for part, text in taken(config).items() if text}
    return {
        # a tokenizer of ours is no runtime's to recognise, wherever its folder comes from
        "texts": list(TEXTS) if is_ours(tokenizer) else [],
        **rendering,
        "parts": None,
        "specials": None,
        **_publication(flaws_of(PublishedChat(templates, specials, tokens, ends)), left_out),
    }


def _publication(flaws: Sequence[Flaw], not_measured: Mapping[str, str]) -> dict[str, Any]:
    return {"flaws": [asdict(flaw) for flaw in flaws], "not_measured": dict(not_measured)}


def _rendering(template: str | None, specials: Mapping[str, Any], *, untrusted: bool) -> dict[str, Any]:
    """Return the expected rendering of a conversation, or why there is none."""
    messages = [dict(message) for message in MESSAGES]
    rendering = Rendering(None)
    if template is not None and untrusted:
        # an untrusted program, which may need what a plain conversation does not have
        (rendering,) = renderings_apart([(template, messages, None, True)], specials)
    elif template is not None:
        rendering = Rendering(render(template, messages, specials))
    expected: dict[str, Any] | None = None
    if rendering.text is not None:
        expected = {"messages": messages, "rendered": rendering.text}
    if expected and rendering.formats:
        expected["clock"] = {"at": CLOCK.isoformat(), "formats": list(rendering.formats)}
    return {
        "template": expected,
        "no_template": f"the model's template gives no golden rendering: {rendering.reason}"
        if rendering.reason
        else None,
    }


def _read(path: Path) -> dict[str, Any]:
    """Return the object in a file, nothing where there is none: the probe's checks report a broken file."""
    if not path.is_file() or path.stat().st_size > _TOKENIZER_BYTES:  # a pipe would never end
        return {}
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}
