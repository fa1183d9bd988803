"""Rung 4: text becomes the model's own tokens and comes back, and the chat template renders as it should."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING, Any

from probes.catalogue import check
from probes.checkpoint import optional_json, tokenizer_problem
from probes.events import Answer, failed, passed, skipped

if TYPE_CHECKING:
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


@check(
    "speaks.tokenizer",
    "the tokenizer loads and its special tokens are the model's own",
    needs="tokens",
    after=("knows.architecture",),
    fault="tokenizer-error",
)
def tokenizer(subject: Subject) -> Answer:
    problem = tokenizer_problem(subject.folder)
    if problem is not None:
        return problem
    subject.tokenizer = subject.runtime.tokenizer(subject.folder)
    found = subject.tokenizer.specials()
    wrong = _wrong_specials(found, subject)
    if wrong:
        told = ", ".join(f"{name} is {pair[1]!r} instead of {pair[0]!r}" for name, pair in wrong.items())
        return failed("wrong-special-token", told, wrong=wrong, specials=found)
    return passed(f"{found['class']}", specials=found)


def _wrong_specials(found: dict[str, Any], subject: Subject) -> dict[str, list[Any]]:
    golden = subject.golden.get("specials") or {}
    wrong: dict[str, list[Any]] = {}
    for name in ("bos", "pad"):
        if golden.get(name) is not None and found[name] != golden[name]:
            wrong[name] = [golden[name], found[name]]
    if golden.get("eos") and found["eos"] not in golden["eos"]:
        wrong["eos"] = [golden["eos"], found["eos"]]
    own = optional_json(subject.folder, "tokenizer_config.json")
    for name in ("bos_token", "eos_token", "pad_token"):
        told = own.get(name)
        written = told.get("content") if isinstance(told, dict) else told
        if isinstance(written, str) and found[name] != written:
            wrong[name] = [written, found[name]]
    return wrong


@check(
    "speaks.roundtrip",
    "text survives encoding and decoding",
    needs="tokens",
    after=("speaks.tokenizer",),
    fault="tokenizer-error",
)
def roundtrip(subject: Subject) -> Answer:
    texts = subject.golden.get("texts")
    files = _own_tokenizer(subject)
    for text in texts or TEXTS:
        ids = subject.tokenizer.encode(text)
        back = subject.tokenizer.decode(ids)
        if files is not None:
            own = files.encode(text, add_special_tokens=False).ids
            if ids != own:
                told = f"{_shown(text)} becomes other tokens than tokenizer.json says"
                return failed("roundtrip-differs", told, text=text, own=own, ids=ids)
            # a tokenizer may normalise on purpose; then what it gives back is what its own file gives back
            wanted = text if texts else files.decode(own, skip_special_tokens=False)
        else:
            wanted = text
        if back != wanted:
            return failed("roundtrip-differs", f"{_shown(wanted)} comes back as {_shown(back)}", ids=ids)
    return passed(f"{len(texts or TEXTS)} texts come back")


def _own_tokenizer(subject: Subject) -> Any:
    file = subject.folder / "tokenizer.json"
    if not file.is_file():
        return None
    import tokenizers

    return tokenizers.Tokenizer.from_file(str(file))


@check(
    "speaks.template",
    "the chat template renders as the model's own template says",
    needs="template",
    after=("speaks.tokenizer", "loads.runs"),
    fault="template-differs",
)
def template(subject: Subject) -> Answer:
    golden = subject.golden.get("template")
    if not golden:
        return skipped(subject.golden.get("no_template") or "there is no golden rendering to compare with")
    if not subject.tokenizer.has_template:
        return failed("template-differs", "the tokenizer has no chat template, though the model's files bring one")
    rendered = subject.tokenizer.render(golden["messages"])
    for settings in getattr(subject.tokenizer, "settings", ()) if rendered != golden["rendered"] else ():
        # what a server decides where the model's own template leaves it open is no fault of either
        if subject.tokenizer.render(golden["messages"], **settings) == golden["rendered"]:
            return passed(
                f"{len(golden['rendered'])} characters as rendered from the model's own file, with {settings}"
            )
    if rendered != golden["rendered"]:
        place = _first_difference(golden["rendered"], rendered)
        told = f"from character {place}: {_shown(rendered[place:])} instead of {_shown(golden['rendered'][place:])}"
        return failed("template-differs", told, difference=_lines(golden["rendered"], rendered))
    return passed(f"{len(rendered)} characters as rendered from the model's own file")


def _first_difference(wanted: str, got: str) -> int:
    pairs = enumerate(zip(wanted, got))
    return next((place for place, (left, right) in pairs if left != right), min(len(wanted), len(got)))


def _lines(wanted: str, got: str) -> list[str]:
    return list(difflib.unified_diff(wanted.splitlines(), got.splitlines(), "golden", "rendered", lineterm="", n=1))[
        :40
    ]


def _shown(text: str, limit: int = 60) -> str:
    return repr(text if len(text) <= limit else text[:limit] + "…")
