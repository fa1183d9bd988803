"""Fits a recipe to a published configuration: its own special tokens and template, its architecture's habits; pure."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from monitor.discovery.described import as_config

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from monitor.miniatures.derive import Recipe
    from monitor.miniatures.tokenizer import Tokens

_TOKEN_CHARS = 64
_EXTRA = 24  # a miniature's tokenizer has room for 60, and its configuration may name some
_TEMPLATE_CHARS = 1 << 18


def fitted(plain: Recipe, habits: Sequence[Recipe], files: Mapping[str, bytes]) -> Recipe:
    """Return the recipe with what the model itself says; ``habits`` are the project's own recipes.

    A recipe of the same architecture knows what its first release does not save as the publisher does.
    """
    known = next((one for one in habits if one.architecture == plain.architecture and one.config is not None), plain)
    settings = as_config(files.get("tokenizer_config.json"))
    generation = as_config(files.get("generation_config.json"))
    tokens = tokens_of(settings, generation or plain.config or {}, known.tokens, template_of(files) or "")
    return replace(
        known,
        slug=plain.slug,
        config=plain.config,
        generation_config=generation or None,
        origin=plain.origin,
        release=plain.release or known.release,
        tokens=tokens,
    )


def template_of(files: Mapping[str, bytes]) -> str | None:
    """Return the model's own chat template, None where it has none."""
    beside = files.get("chat_template.jinja")
    found: Any = (
        beside.decode(errors="replace")
        if beside
        else as_config(files.get("tokenizer_config.json")).get("chat_template")
    )
    if isinstance(found, list):  # several by name
        named = {one.get("name"): one.get("template") for one in found if isinstance(one, dict)}
        found = named.get("default")
    return found if isinstance(found, str) and 0 < len(found) <= _TEMPLATE_CHARS else None


def tokens_of(settings: Mapping[str, Any], generation: Mapping[str, Any], usual: Tokens, template: str) -> Tokens:
    """Return the special tokens as published, those of ``usual`` where nothing is said.

    The tokenizer's own end comes first, then what else ends generation; of the rest, what the template says.
    """
    if not settings:
        return usual
    added = _added(settings)
    eos = _spelt(settings.get("eos_token")) or usual.eos[0]
    ids = generation.get("eos_token_id")
    ends = [added.get(str(one), "") for one in (ids if isinstance(ids, list) else [ids])][:_EXTRA]
    bos = _spelt(settings.get("bos_token"))
    pad = _spelt(settings.get("pad_token"))
    every = tuple(dict.fromkeys([eos, *filter(None, ends)]))
    pad = pad if pad and pad != bos and pad not in every else usual.pad
    taken = {bos, pad, *every}
    extra = [token for token in dict.fromkeys(added.values()) if token and token in template and token not in taken]
    return replace(usual, bos=bos or None, eos=every, pad=pad, extra=tuple(extra[:_EXTRA]))


def _added(settings: Mapping[str, Any]) -> dict[str, str]:
    found = settings.get("added_tokens_decoder")
    special = {key: one for key, one in found.items() if isinstance(one, dict)} if isinstance(found, dict) else {}
    return {key: _spelt(one) for key, one in special.items() if one.get("special")}


def _spelt(token: Any) -> str:
    text = token.get("content") if isinstance(token, dict) else token
    return text if isinstance(text, str) and 0 < len(text) <= _TOKEN_CHARS and text.isprintable() else ""
