"""Messages that a person reads: nothing in them does harm, nothing secret is in them, and they come to an end."""

from __future__ import annotations

import html.parser
import unicodedata
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.alerts.message import Message, message, plain, repeated
from monitor.alerts.sending import _is_refusal, expanded, redacted
from monitor.alerts.values import Alert, Item, Kind
from monitor.errors import ConfigError

HOSTILE = (
    "<script>alert(1)</script>",
    "a\r\nBcc: everybody@example.org",
    "\x1b[31mred\x07",
    "evil\u202egnp.exe",
    "x" * 100_000,
    '"><img src=x onerror=alert(1)>',
    "@everyone <!channel> <@U123>",
    "../../etc/passwd",
)
ITEM = Item(
    key="flip:x",
    kind=Kind.REGRESSION,
    line="acme/new was stable and is broken in transformers 5.4.0, cpu-py3.11-container since 2026-04-03",
    model="acme/new",
    subject="acme/new",
    runtime="transformers",
    version="5.4.0",
    facts=(
        ("last good", "5.3.0 on 2026-04-02"),
        ("first bad", "5.4.0 on 2026-04-03"),
        ("packages", "transformers 5.3.0 → 5.4.0"),
        ("blame", "runtime"),
        ("reason", "missing tensors: KeyError: 'lm_head.weight'"),
        ("show", "settle show 3f9c2a1b77de"),
    ),
)


class Tags(html.parser.HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.seen: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))


def tags(text: str) -> list[tuple[str, dict[str, str | None]]]:
    parser = Tags()
    parser.feed(text)
    return parser.seen


def test_a_regression_reads_well() -> None:
    said = message(Alert(Kind.REGRESSION, (ITEM,)), base="https://settle.example/")
    assert said.title == "regression: acme/new in transformers 5.4.0"
    assert said.text == (
        "acme/new was stable and is broken in transformers 5.4.0, cpu-py3.11-container since 2026-04-03\n"
        "  last good:     5.3.0 on 2026-04-02\n"
        "  first bad:     5.4.0 on 2026-04-03\n"
        "  packages:      transformers 5.3.0 → 5.4.0\n"
        "  blame:         runtime\n"
        "  reason:        missing tensors: KeyError: 'lm_head.weight'\n"
        "  show:          settle show 3f9c2a1b77de\n"
        "  page:          https://settle.example/models/acme/new.html\n"
    )
    assert '<a href="https://settle.example/models/acme/new.html">' in said.html
    assert "page" not in message(Alert(Kind.REGRESSION, (ITEM,))).text


def test_a_repetition_says_so_in_title_text_and_html() -> None:
    said = repeated(Message("t", "x", "<p>x</p>"))
    assert all("may be a repetition" in part for part in (said.title, said.text, said.html))


@pytest.mark.parametrize("evil", HOSTILE)
def test_hostile_names_and_errors_are_harmless_in_both_forms(evil: str) -> None:
    item = Item(
        "k", Kind.REGRESSION, f"{evil} broke", model=evil, runtime=evil, facts=(("reason", evil), ("show", evil))
    )
    said = message(Alert(Kind.REGRESSION, (item,) * 3, models=3), base="https://settle.example")
    for part in (said.title, said.text, said.html):
        assert len(part) < 12_000
        assert not [one for one in part if unicodedata.category(one).startswith("C") and one != "\n"]
        assert "@everyone" not in part
        assert "<!channel" not in part
    assert "\n" not in said.title
    assert {tag for tag, _ in tags(said.html)} <= {"p", "b", "ul", "li", "a"}
    links = [attributes for tag, attributes in tags(said.html) if tag == "a"]
    assert links
    assert all(set(one) == {"href"} and str(one["href"]).startswith("https://settle.example/models/") for one in links)


@given(st.text())
def test_plain_text_is_one_bounded_visible_line(text: str) -> None:
    said = plain(text, 50)
    assert len(said) <= 50
    assert said == " ".join(said.split())
    assert all(unicodedata.category(one)[0] not in "CZ" or one == " " for one in said)


def test_of_very_many_items_some_are_shown_and_the_rest_counted() -> None:
    said = message(Alert(Kind.BREAKS_MANY, tuple(replace(ITEM, subject=f"{n}") for n in range(50)), models=50))
    assert said.text.count("was stable") == 20
    assert said.text.count("last good") == 1  # the same for all, and said once
    assert "and 30 more" in said.text
    assert "and 30 more" in said.html


def test_secrets_come_from_the_environment_quoted_inside_an_address_and_whole_as_one() -> None:
    env = {"PW": "p@ss/word", "URL": "json://host/x"}
    assert expanded("mailto://me:${PW}@host", env) == "mailto://me:p%40ss%2Fword@host"
    assert expanded("${URL}", env) == "json://host/x"
    with pytest.raises(ConfigError, match="environment variable NOT_SET"):
        expanded("json://${NOT_SET}@host", env)
    with pytest.raises(ConfigError, match="EMPTY"):
        expanded("json://${EMPTY}@host", {"EMPTY": ""})


def test_no_part_of_an_address_but_its_host_is_ever_told() -> None:
    address = "json://user:p%40ssword@host.example:8080/T0KEN123/path99?key=k3y5678"
    said = redacted("host.example said T0KEN123/path99 p@ssword p%40ssword k3y5678", address)
    assert said == "host.example said ***/*** *** *** ***"


@pytest.mark.parametrize(
    ("said", "certain"),
    [
        ("Failed to send JSON POST notification: Internal Server Error, error=500.", True),
        ("Failed to send JSON POST notification: error=403.", True),
        ("Failed to send JSON POST notification: Bad Gateway, error=502.", False),
        ("Socket Exception: HTTPConnectionPool(host='h'): Read timed out. (read timeout=4.0)", False),
        ("Socket Exception: ('Connection aborted.', RemoteDisconnected('Remote end closed connection'))", False),
        ("Socket Exception: NewConnectionError: [Errno 111] Connection refused", True),
        ("Socket Exception: (535, b'authentication failed')", True),
        ("Socket Exception: {'a@b': (550, b'no such user')}", True),
        ("SMTP recipient a@b was refused: 550 no such user", False),  # the others have it
        ("Socket Exception: Connection unexpectedly closed", False),
        ("", False),
    ],
)
def test_only_words_that_prove_it_make_a_failure_a_certain_one(said: str, certain: bool) -> None:
    assert _is_refusal(said) is certain
