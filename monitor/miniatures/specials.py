"""The special tokens that a model's files name, as its chat template gets them and as generation ends at them; pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

# what every tokenizer can have; a model's own (image, audio, ...) come by its files
_SPECIALS = ("bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token")


def specials_of(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return the special tokens that a template gets in addition to the messages: those that are set."""
    named = {name: spelling(settings.get(name)) for name in _SPECIALS}
    additional = settings.get("additional_special_tokens")
    spelt = [spelling(token) for token in additional] if isinstance(additional, list) else []
    extra = settings.get("extra_special_tokens")
    if isinstance(extra, dict):
        named |= {name: spelling(token) for name, token in extra.items()}
    tokens: dict[str, Any] = {name: token for name, token in named.items() if token}
    return {**tokens, "additional_special_tokens": spelt} if spelt else tokens


def spelling(token: Any) -> str:
    return str(token.get("content", "")) if isinstance(token, dict) else str(token or "")


def added_tokens(settings: Mapping[str, Any], tokenizer: Mapping[str, Any]) -> dict[int, str]:
    """Return the special tokens by id, of tokenizer_config.json and of tokenizer.json."""
    decoder, added = settings.get("added_tokens_decoder"), tokenizer.get("added_tokens")
    rows: list[tuple[Any, Any]] = (
        [(token.get("id"), token) for token in added if isinstance(token, dict)] if isinstance(added, list) else []
    )
    rows += list(decoder.items()) if isinstance(decoder, dict) else []
    return {
        int(index): spelling(token)
        for index, token in rows
        if str(index).isdecimal() and isinstance(token, dict) and token.get("special") and spelling(token)
    }


def ends_of(
    config: Mapping[str, Any], generation: Mapping[str, Any], names: Mapping[int, str]
) -> tuple[str, ...] | None:
    """Return the tokens that end generation; None where the files name none, or one that has no name here."""
    text = config.get("text_config")
    sources = (generation, config, text if isinstance(text, dict) else {})
    ids = next((source["eos_token_id"] for source in sources if source.get("eos_token_id") is not None), None)
    if ids is None:
        return None
    ends = [names.get(index, "") for index in (ids if isinstance(ids, list) else [ids]) if isinstance(index, int)]
    return tuple(ends) if ends and all(ends) else None
