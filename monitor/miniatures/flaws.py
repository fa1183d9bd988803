"""Finds what is wrong with a model's published templates and stop tokens, whatever runtime reads them."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from monitor.miniatures.template import Rendering

DEFAULT: Final = "default"
_TEMPLATE_CHARS = 1 << 18
_CONTENT = "It is 4."
_ENDS_AFTER = " \n\r\t"
# what any tool is described by
TOOLS: Final = (
    {
        "type": "function",
        "function": {
            "name": "look_up",
            "description": "Look up a word.",
            "parameters": {
                "type": "object",
                "properties": {"word": {"type": "string", "description": "The word."}},
                "required": ["word"],
            },
        },
    },
)
_TURNS: Final = ({"role": "user", "content": "What is 2 + 2?"}, {"role": "assistant", "content": _CONTENT})
_AGAIN: Final = {"role": "user", "content": "And times 3?"}


@dataclass(frozen=True, slots=True)
class Flaw:
    """A check that the model's own files fail, with the fault and the sentence."""

    check: str
    fault: str
    message: str


@dataclass(frozen=True, slots=True)
class PublishedChat:
    """What a model's files say about chats: templates by name, special tokens, and which of those end generation.

    ``ends`` is None where the files do not say, or not in a way that can be read.
    """

    templates: Mapping[str, str]
    specials: Mapping[str, Any]
    tokens: Collection[str]
    ends: Collection[str] | None


def templates_in(settings: Mapping[str, Any], file: str | None = None) -> dict[str, str]:
    """Return a model's chat templates by name: of a file of its own, or of tokenizer_config.json."""
    named = settings.get("chat_template")
    if isinstance(named, list):
        pairs = [(entry.get("name"), entry.get("template")) for entry in named if isinstance(entry, dict)]
    else:
        pairs = [(DEFAULT, named)]
    templates = {name: text for name, text in pairs if isinstance(name, str) and isinstance(text, str) and text}
    if file:
        templates[DEFAULT] = file
    return {name: text for name, text in templates.items() if len(text) <= _TEMPLATE_CHARS}


def flaws_of(published: PublishedChat) -> tuple[Flaw, ...]:
    """Return what is wrong; templates are untrusted programs and are rendered in a separate process."""
    if not published.templates:
        return ()
    flaws = [*_broken_templates(published)]
    if DEFAULT not in published.templates:
        names = ", ".join(sorted(published.templates))
        message = f"no chat template is named {DEFAULT}, so that a plain chat has none: there are only {names}"
        flaws.append(Flaw("speaks.templates", "broken-template", message))
    if not flaws:
        flaws += _missing_ends(published)
    return tuple(flaws)


def _broken_templates(published: PublishedChat) -> list[Flaw]:
    chat = [*_TURNS, _AGAIN]
    # some templates take a message only in parts, as a model does that takes images, too
    parts = [{**turn, "content": [{"type": "text", "text": turn["content"]}]} for turn in chat]
    flaws = []
    for name, template in published.templates.items():
        given = [None, *([TOOLS] if "tools" in template else [])]
        requests = [(template, messages, tools, True) for tools in given for messages in (chat, parts)]
        renderings = _renderings(requests, published.specials)
        for tools, plain, parted in zip(given, renderings[::2], renderings[1::2], strict=True):
            if plain.broken and parted.text is None:
                asked = "with a tool" if tools else "for a plain chat"
                message = f"the chat template {name} cannot be rendered {asked}: {plain.reason}"
                flaws.append(Flaw("speaks.templates", "broken-template", message))
                break
    return flaws


def _missing_ends(published: PublishedChat) -> list[Flaw]:
    """Return the flaw of files whose turns end with a token that does not end generation."""
    if published.ends is None:
        return []
    template = published.templates[DEFAULT]
    requests = [(template, _TURNS, None, False), (template, [*_TURNS, _AGAIN], None, True)]
    written = [
        token
        for rendering in _renderings(requests, published.specials)
        if (token := _token_after(rendering.text or "", published.tokens))
    ]
    # a last turn may end otherwise than one in the middle: either will do
    if not written or set(written) & set(published.ends):
        return []
    ends = ", ".join(sorted(published.ends)) or "nothing"
    message = f"the chat template ends a turn with {written[0]}, and generation ends only at {ends}"
    return [Flaw("speaks.ends", "no-stop-token", message)]


def _token_after(text: str, tokens: Collection[str]) -> str:
    """Return the special token that follows the assistant's words, "" where other text does."""
    _, there, rest = text.partition(_CONTENT)
    rest = rest.lstrip(_ENDS_AFTER)
    starts = [token for token in tokens if token and rest.startswith(token)]
    return max(starts, key=len, default="") if there else ""


def as_text(flaws: Sequence[Flaw]) -> str:
    return json.dumps([asdict(flaw) for flaw in flaws], ensure_ascii=False)


def from_text(text: str) -> tuple[Flaw, ...]:
    return tuple(Flaw(**row) for row in json.loads(text))


def _renderings(requests: Sequence[Any], specials: Mapping[str, Any]) -> list[Rendering]:
    # a miniature is read where there is no template engine, too: by the script of `settle reproduce`
    from monitor.miniatures.template import renderings_apart

    return renderings_apart(requests, specials)
