"""Names and sentences use the project's words: the glossary's terms name one thing each, and banned words are absent.

A banned identifier is a whole word of a name in code, split at underscores and capitals. A banned word is a whole word
of a sentence: in strings, docstrings, comments, templates and pages.
"""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections import Counter
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from monitor.config.load import reference
from monitor.store.schema import described

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
ROOMS = ("monitor", "containers", "probes", "tools")

# whole words of a name; a value is named for what it holds
BANNED_NAMES = re.compile(
    r"""\b(told|tells?|said|own|one|nobody|whoever|found|heard|beside|anew|sittings?|sat|sit|seats?|workbench|shop|bench
    |lanes?|dealt|offered|fitting|outfit|outfitted|meant|crossings?|crossed|corners?|tremble|shaken|seams?|salt
    |sightings?|sayings?|numbered|standings|census|tidy|tidied|gc|talk|spoken|everything)\b""",
    re.VERBOSE,
)
BANNED_WHOLE_NAMES = re.compile(
    "^(Question|Place|Held|Talk|Spoken|Logged|Signs|Fit|Again|Why|keep_house|hold_cycle|hold_sessions|take_seat|at_work)$"
)
NOT_OURS = re.compile(r"(?i)not_?found|^gc$")  # of errors everywhere; the standard library's module
BANNED_WORDS = re.compile(
    r"\b(told|tells|is said|are said|nobody|whoever|sittings?|workbench|shop|bench|outfit(ted)?|dealt|tidy|tidied)\b"
    r"|\b(as of then|of which|is heard)\b",
    re.IGNORECASE,
)
BENCHMARKS = re.compile(r"tests[./]bench|make bench")  # benchmarks of this repository, no machinery
ALLOWED_NAMES = {
    ("probes/derive.py", "tell"): "the method of a file",
}
ALLOWED_WORDS = {
    ("CHANGELOG.md", "bench"): "names what was renamed",
    ("monitor/judge/faults.py", "bench"): "names the faults of old events",
    ("monitor/store/conversion.py", "bench"): "names the blame that it converts",
    ("monitor/store/conversion.py", "told"): "names the table that it converts",
    ("tools/compare_histories.py", "bench"): "names the blame of version 0.1.0",
}


def names_of(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        match node:
            case ast.Name(id=name) | ast.Attribute(attr=name) | ast.arg(arg=name):
                yield name
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
                yield name
            case ast.keyword(arg=str(name)) | ast.alias(asname=str(name)) | ast.alias(name=name):
                yield name
            case ast.ExceptHandler(name=str(name)) | ast.MatchAs(name=str(name)) | ast.MatchStar(name=str(name)):
                yield name


def words_of(name: str) -> set[str]:
    return {word.lower() for word in re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+", name)}


def banned_in_names(source: str) -> set[str]:
    return {
        name
        for name in names_of(ast.parse(source))
        if BANNED_NAMES.search(" ".join(words_of(NOT_OURS.sub("", name)))) or BANNED_WHOLE_NAMES.match(name)
    }


def sentences_of(source: str) -> Iterator[str]:
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type in (tokenize.STRING, tokenize.COMMENT):
            yield token.string


def banned_in_text(text: str) -> set[str]:
    return {match[0] for match in BANNED_WORDS.finditer(BENCHMARKS.sub("", text))}


@cache
def code() -> dict[str, str]:
    files = (file for room in ROOMS for file in (ROOT / room).rglob("*.py"))
    return {str(file.relative_to(ROOT)): file.read_text(encoding="utf-8") for file in files}


@cache
def pages() -> dict[str, str]:
    files = [
        *ROOT.glob("*.md"),
        *(ROOT / "docs").rglob("*.md"),
        *(ROOT / "deploy").glob("*.*"),
        *(ROOT / "monitor" / "site").rglob("*.html"),
        *(ROOT / "monitor" / "data").glob("*.toml"),
    ]
    return {str(file.relative_to(ROOT)): file.read_text(encoding="utf-8") for file in files}


@cache
def offences() -> dict[str, set[str]]:
    names = {
        file: {name for name in banned_in_names(source) if (file, name) not in ALLOWED_NAMES}
        for file, source in code().items()
    }
    sentences = {file: "\n".join(sentences_of(source)) for file, source in code().items()}
    texts = {
        file: {word for word in banned_in_text(text) if (file, word) not in ALLOWED_WORDS}
        for file, text in (sentences | pages()).items()
    }
    found = {file: names.get(file, set()) | words for file, words in texts.items()}
    return {file: words for file, words in sorted(found.items()) if words}


def test_a_name_is_split_into_its_words() -> None:
    assert words_of("as_told_by_HTTPServer2") == {"as", "told", "by", "http", "server"}
    assert banned_in_names("def f(one: int) -> None: held = [a.told_by for a in b]") == {"one", "told_by"}
    assert not banned_in_names("done = phone.toned(None)")


def test_a_banned_word_in_a_sentence_is_seen() -> None:
    assert banned_in_text("Nobody is told; see tests/bench") == {"Nobody", "told"}
    assert banned_in_text("the bench failed") == {"bench"}
    assert not banned_in_text("a workshop for benchmarks")


def test_no_banned_word_is_in_names_or_sentences() -> None:
    left = {file: sorted(words) for file, words in offences().items()}
    assert not left, "\n".join(f"{file}: {', '.join(words)}" for file, words in left.items())


def test_no_setting_has_a_banned_name() -> None:
    assert not {key for key, _, _ in reference() if BANNED_NAMES.search(" ".join(words_of(key)))}


def terms() -> list[tuple[str, str]]:
    text = (ROOT / "docs" / "glossary.md").read_text(encoding="utf-8")
    return re.findall(r"^\| ([a-z][a-z -]*) \| (?:table )?`([\w.]+)` \| .+ \|$", text, re.MULTILINE)


def test_the_glossary_has_its_terms_and_each_names_one_thing() -> None:
    text = (ROOT / "docs" / "glossary.md").read_text(encoding="utf-8")
    assert len(terms()) == len(re.findall(r"^\| .* \|$", text, re.MULTILINE)) - 1  # the heading
    assert len(terms()) >= 40
    for counted in (Counter(term for term, _ in terms()), Counter(name for _, name in terms())):
        assert [name for name, count in counted.items() if count > 1] == []


@pytest.mark.parametrize("name", [name for _, name in terms()])
def test_what_a_term_names_exists(name: str) -> None:
    if "." not in name:
        assert name in {table.name for table in described()}
        return
    module, _, attribute = name.rpartition(".")
    assert hasattr(import_module(module), attribute) or import_module(name)


def test_a_class_name_has_one_meaning() -> None:
    classes = Counter(
        node.name
        for file, source in code().items()
        if not file.startswith("probes/")  # another program, with the words of its environment
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_")
    )
    assert {name for name, count in classes.items() if count > 1} == set()
