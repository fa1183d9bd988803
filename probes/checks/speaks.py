"""Rung 4: text becomes the model's own tokens and comes back, and the chat template renders as it should."""

from __future__ import annotations

import datetime as dt
import difflib
from typing import Any

from probes.catalogue import check
from probes.checkpoint import only_gguf, optional_json, require_tokenizer
from probes.events import Answer, failed, passed, skipped
from probes.subject import Subject

TEXTS = (
    "The quick brown fox jumps over the lazy dog.",
    "Ça déçoit: naïve façade, Übergröße, año, Ελλάδα, Москва.",
    "0 1 12 123 1234 3.14159 1,000,000 2026-11-23",
    "def f(x):\n    return x ** 2  # squared\n\tif x != 0: pass\n",
    "smile 🙂 rocket 🚀 family 👩‍👩‍👧",
    "  two spaces, then   three, and a newline\n\nand one more\n",
    "日本語の文章と한국어와中文。",
)


@check("speaks.tokenizer", needs="tokens", after=("knows.architecture",), fault="tokenizer-error")
def tokenizer(subject: Subject) -> Answer:
    """The tokenizer loads and its special tokens are those of the model's files."""
    if not only_gguf(subject.folder):
        require_tokenizer(subject.folder)
    subject.tokenizer = subject.runtime.tokenizer(subject.folder)
    specials = subject.tokenizer.specials()
    wrong = _wrong_specials(specials, subject)
    if wrong:
        message = ", ".join(f"{name} is {pair[1]!r} instead of {pair[0]!r}" for name, pair in wrong.items())
        return failed("wrong-special-token", message, wrong=wrong, specials=specials)
    return passed(f"{specials['class']}", specials=specials)


def _wrong_specials(specials: dict[str, Any], subject: Subject) -> dict[str, list[Any]]:
    golden = subject.golden.get("specials") or {}
    wrong: dict[str, list[Any]] = {}
    for name in ("bos", "pad"):
        if golden.get(name) is not None and specials[name] != golden[name]:
            wrong[name] = [golden[name], specials[name]]
    if golden.get("eos") and specials["eos"] not in golden["eos"]:
        wrong["eos"] = [golden["eos"], specials["eos"]]
    expected = optional_json(subject.folder, "tokenizer_config.json")
    for name in ("bos_token", "eos_token", "pad_token"):
        message = expected.get(name)
        written = message.get("content") if isinstance(message, dict) else message
        if isinstance(written, str) and specials[name] != written:
            wrong[name] = [written, specials[name]]
    return wrong


@check("speaks.roundtrip", needs="tokens", after=("speaks.tokenizer",), fault="tokenizer-error")
def roundtrip(subject: Subject) -> Answer:
    """Text survives encoding and decoding."""
    if only_gguf(subject.folder):
        return skipped("a GGUF alone does not say which texts its tokenizer changes on purpose")
    texts = subject.golden.get("texts")
    files: Any = None
    if (subject.folder / "tokenizer.json").is_file():
        import tokenizers

        files = tokenizers.Tokenizer.from_file(str(subject.folder / "tokenizer.json"))
    for text in texts or TEXTS:
        ids = subject.tokenizer.encode(text)
        back = subject.tokenizer.decode(ids)
        wanted = text
        if files is not None:
            expected = files.encode(text, add_special_tokens=False).ids
            if ids != expected:
                message = f"{_shown(text)} becomes other tokens than by tokenizer.json"
                return failed("roundtrip-differs", message, text=text, expected=expected, ids=ids)
            # a tokenizer may normalise on purpose; then the text to get back is the one that its file gives back
            wanted = text if texts else files.decode(expected, skip_special_tokens=False)
        if back != wanted:
            return failed("roundtrip-differs", f"{_shown(wanted)} comes back as {_shown(back)}", ids=ids)
    return passed(f"{len(texts or TEXTS)} texts come back")


@check("speaks.template", needs="template", after=("speaks.tokenizer", "loads.runs"), fault="template-differs")
def template(subject: Subject) -> Answer:
    """The chat template renders as the model's files define it."""
    golden = subject.golden.get("template")
    if not golden:
        return skipped(subject.golden.get("no_template") or "no reference rendering exists for this template")
    if not subject.tokenizer.has_template:
        return failed("template-differs", "the tokenizer has no chat template, although the model's files have one")
    messages, wanted, clock = golden["messages"], golden["rendered"], golden.get("clock")
    rendered = _at(clock, subject.tokenizer.render(messages))
    if rendered == wanted:
        return passed(f"{len(rendered)} characters equal the reference rendering")
    for settings in getattr(subject.tokenizer, "settings", ()):
        # where the model's template leaves a choice to the server, either way is right
        if _at(clock, subject.tokenizer.render(messages, **settings)) == wanted:
            return passed(f"{len(wanted)} characters equal the reference rendering, with {settings}")
    same = next((index for index, pair in enumerate(zip(wanted, rendered)) if len({*pair}) > 1), len(rendered))
    message = f"from character {same}: {_shown(rendered[same:])} instead of {_shown(wanted[same:])}"
    pair = wanted.splitlines(), rendered.splitlines()
    lines = list(difflib.unified_diff(*pair, "golden", "rendered", lineterm="", n=1))
    return failed("template-differs", message, difference=lines[:40])


def _at(clock: dict[str, Any] | None, rendered: str) -> str:
    """Return the rendering as of the golden's moment: every runtime gives templates its own clock."""
    if not clock:
        return rendered
    then = dt.datetime.fromisoformat(clock["at"])
    now = dt.datetime.now()  # noqa: DTZ005 -- as runtimes do
    # the rendering may lie on the other side of midnight, or be by the world's clock
    moments = [now, now - dt.timedelta(minutes=1), dt.datetime.now(dt.timezone.utc)]
    written = {moment.strftime(form): then.strftime(form) for moment in moments for form in clock["formats"]}
    for text in sorted(written, key=len, reverse=True):
        rendered = rendered.replace(text, written[text]) if text else rendered
    return rendered


@check("speaks.templates", needs="template")
def templates(subject: Subject) -> Answer:
    """Every chat template of the model's files can be rendered."""
    return _published(subject, "speaks.templates", "no chat template of the model's files is broken")


@check("speaks.ends", needs="template")
def ends(subject: Subject) -> Answer:
    """The token that ends a turn in the model's chat template ends generation."""
    return _published(subject, "speaks.ends", "nothing speaks against the model's stop tokens")


def _published(subject: Subject, name: str, sound: str) -> Answer:
    """Return what the monitor sees in the model's own files: the answer is the same in every runtime."""
    for flaw in subject.golden.get("flaws") or ():
        if flaw["check"] == name:
            return failed(flaw["fault"], flaw["message"])
    return skipped(sound)


def _shown(text: str, limit: int = 60) -> str:
    return repr(text if len(text) <= limit else text[:limit] + "…")
