"""The site's file names, text and place: what is hostile stays harmless, and a swap is whole or not at all."""

from __future__ import annotations

import re
import shutil
import subprocess
from importlib.resources import files
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.errors import InfraError, UsageError
from monitor.site import names
from monitor.site.names import MARKER
from monitor.site.publish import publish
from monitor.site.push import push, redacted
from monitor.site.render import MARK, html_of, shown, tail
from tests.bench.year import HOSTILE

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

ONE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._~-]*")
ANY = st.text(st.characters(codec=None), max_size=60)


def made(**content: str) -> list[tuple[str, bytes]]:
    named = {name.replace("__", "/").replace("_", "."): text for name, text in content.items()}
    return [(MARKER, b""), *((path, text.encode()) for path, text in named.items())]


@given(ANY, ANY)
def test_two_texts_never_share_a_file_and_no_file_leaves_its_folder(one: str, other: str) -> None:
    for text in (one, other):
        name = names.slug(text)
        assert ONE_NAME.fullmatch(name)
        assert len(name) <= 100
    assert (names.slug(one) == names.slug(other)) == (one == other)


@pytest.mark.parametrize("hub_id", HOSTILE)
def test_a_hostile_id_is_a_safe_path(hub_id: str) -> None:
    for path in (names.model_page(hub_id), names.model_json(hub_id), names.cell_page(hub_id, "vllm")):
        assert all(ONE_NAME.fullmatch(part) for part in path.split("/"))
    assert names.model_json(hub_id) != "status.json"
    assert not names.path_of(hub_id).lower().startswith("index.html/")


def test_a_plain_id_is_its_own_path() -> None:
    assert names.model_json("google/gemma-4-31B-it") == "google/gemma-4-31B-it.json"


@given(ANY)
def test_what_is_shown_neither_turns_nor_hides_anything(text: str) -> None:
    assert not re.search(
        "[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]", shown(text)
    )


def test_what_cannot_be_shown_leaves_a_mark() -> None:
    assert shown("a\x1b[31mb\u202ec\nd") == f"a{MARK}[31mb{MARK}c\nd"
    assert tail("1\n2\n" + "x" * 50, lines=2, chars=5) == ("2\nxxxx…", 1)


def test_our_own_pages_become_html() -> None:
    text = "# A <b>\n\nOne *two* **three**\n`*x*`, [checks](checks.md).\n\n- a\n  b\n- c"
    page = html_of(text + "\n\n| x | y |\n|---|---|\n| 1 | a\\|b |\n")
    joined = " ".join(page.split())
    assert '<h1 id="a-b">A &lt;b&gt;</h1>' in page  # as GitHub names it
    assert (
        '<p>One <em>two</em> <strong>three</strong> <code>*x*</code>, <a href="checks.html">checks</a>.</p>' in joined
    )
    assert "<ul> <li>a b</li> <li>c</li> </ul>" in joined
    assert "<td>1</td> <td>a|b</td>" in joined
    assert '<th scope="col">x</th>' in page


def contrast(one: str, other: str) -> float:
    """Return the ratio that WCAG 2 defines."""

    def luminance(colour: str) -> float:
        parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
        linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    bright, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (bright + 0.05) / (dark + 0.05)


def test_every_colour_of_text_can_be_read_in_light_and_dark() -> None:
    sheet = (files("monitor.site") / "templates" / "style.css").read_text(encoding="utf-8")
    halves = sheet.split("prefers-color-scheme")
    light, dark = (dict(re.findall(r"--([\w-]+): (#\w{6})", half.split("* {")[0])) for half in halves[:2])
    assert light.keys() == dark.keys()
    for scheme in (light, dark):
        for ink in ("ink", "soft", "accent", "line-works", "line-stable", "broken-ink", "flaky-ink"):
            assert contrast(scheme[ink], scheme["paper"]) >= 4.5, ink
        for verdict in ("works", "wrong", "broken", "flaky", "unknown"):
            assert contrast(scheme[f"{verdict}-ink"], scheme[verdict]) >= 4.5, verdict
        assert contrast(scheme["soft"], scheme["shade"]) >= 4.5


def test_a_site_takes_the_place_of_the_old_one_and_what_is_unchanged_is_not_written(tmp_path: Path) -> None:
    place = tmp_path / "www"
    first = publish(made(index_html="one", same_html="same", gone_html="x"), place)
    assert (first.files, first.changed, first.removed) == (4, 4, 0)
    before = (place / "same.html").stat()
    generation = place.resolve()
    again = publish(made(index_html="one", same_html="same", gone_html="x"), place)
    assert (again.changed, again.removed, place.resolve()) == (0, 0, generation)
    second = publish(made(index_html="two", same_html="same", cells__x_html="new"), place)
    assert (second.changed, second.removed) == (2, 1)
    after = (place / "same.html").stat()
    assert (before.st_ino, before.st_mtime_ns) == (after.st_ino, after.st_mtime_ns)
    assert (place / "index.html").read_text() == "two"
    assert not (place / "gone.html").exists()
    assert sorted(one.name for one in tmp_path.iterdir()) == sorted([".www.lock", place.resolve().name, "www"])


def test_what_fails_half_way_leaves_the_old_site(tmp_path: Path) -> None:
    place = tmp_path / "www"
    publish(made(index_html="old"), place)

    def failing() -> Iterator[tuple[str, bytes]]:
        yield from made(index_html="new")
        raise InfraError("the disk is full")

    with pytest.raises(InfraError):
        publish(failing(), place)
    assert (place / "index.html").read_text() == "old"
    publish(made(index_html="new"), place)
    assert (place / "index.html").read_text() == "new"


def test_while_one_writes_another_is_told_so(tmp_path: Path) -> None:
    def meanwhile() -> Iterator[tuple[str, bytes]]:
        with pytest.raises(UsageError, match="another settle"):
            publish(made(index_html="b"), tmp_path / "www")
        yield from made(index_html="a")

    publish(meanwhile(), tmp_path / "www")
    assert (tmp_path / "www" / "index.html").read_text() == "a"


def test_what_is_not_ours_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.txt").write_text("years")
    (tmp_path / "file").write_text("x")
    (tmp_path / "link").symlink_to("full")
    for name in ("full", "file", "link"):
        with pytest.raises(UsageError, match="not a site that Settle wrote"):
            publish(made(index_html="a"), tmp_path / name)
    (tmp_path / "empty").mkdir()
    publish(made(index_html="a"), tmp_path / "empty")
    assert (tmp_path / "full" / "thesis.txt").read_text() == "years"
    assert (tmp_path / "empty" / "index.html").read_text() == "a"


class Remote:
    """A bare repository, and a way to look into it and to write to it as somebody else does."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "remote.git"
        self.folder = folder
        self.git("init", "--quiet", "--bare", str(self.path))

    def git(self, *arguments: str, at: Path | None = None) -> str:
        program = shutil.which("git") or pytest.fail("there is no git")
        people = ["-c", "user.name=x", "-c", "user.email=x@y"]
        asked = subprocess.run(
            [program, *people, *arguments], cwd=at or self.folder, capture_output=True, text=True, check=True
        )
        return asked.stdout

    def files(self) -> dict[str, str]:
        listed = self.git("ls-tree", "-r", "--name-only", "pages", at=self.path).split()
        return {name: self.git("show", f"pages:{name}", at=self.path) for name in listed}

    def commits(self) -> int:
        return len(self.git("rev-list", "pages", at=self.path).split())

    def somebody_adds(self, name: str, text: str) -> None:
        clone = self.folder / f"clone-{name}"
        self.git("clone", "--quiet", str(self.path), str(clone))
        try:
            self.git("checkout", "--quiet", "pages", at=clone)
        except subprocess.CalledProcessError:
            self.git("checkout", "--quiet", "--orphan", "pages", at=clone)
        (clone / name).write_text(text)
        self.git("add", name, at=clone)
        self.git("commit", "--quiet", "-m", "by hand", at=clone)
        self.git("push", "--quiet", "origin", "pages", at=clone)


@pytest.fixture
def remote(tmp_path: Path) -> Remote:
    return Remote(tmp_path)


def pushed(remote: Remote, tmp_path: Path) -> bool:
    return push(tmp_path / "www", str(remote.path), "pages", clone=tmp_path / "work.git", message="a day")


def test_the_branch_holds_what_the_site_holds(remote: Remote, tmp_path: Path) -> None:
    publish(made(index_html="one", gone_html="x"), tmp_path / "www")
    assert pushed(remote, tmp_path)
    assert remote.files() == {MARKER: "", "index.html": "one", "gone.html": "x"}
    assert not pushed(remote, tmp_path)  # nothing new is no commit
    remote.somebody_adds("CNAME", "support.example.com")
    publish(made(index_html="two", cells__x_html="new"), tmp_path / "www")
    shutil.rmtree(tmp_path / "work.git")  # it can be removed at any time
    assert pushed(remote, tmp_path)
    assert remote.files() == {MARKER: "", "CNAME": "support.example.com", "cells/x.html": "new", "index.html": "two"}
    assert remote.commits() == 3


def test_a_branch_with_something_else_is_left_alone(remote: Remote, tmp_path: Path) -> None:
    remote.somebody_adds("thesis.txt", "years")
    publish(made(index_html="one"), tmp_path / "www")
    with pytest.raises(UsageError, match="something other than a site"):
        pushed(remote, tmp_path)
    assert remote.files() == {"thesis.txt": "years"}


def test_a_remote_that_is_not_there_is_a_sentence_without_the_password(tmp_path: Path) -> None:
    publish(made(index_html="one"), tmp_path / "www")
    with pytest.raises(InfraError, match="was not pushed") as caught:
        push(tmp_path / "www", str(tmp_path / "nowhere.git"), "pages", clone=tmp_path / "work.git", message="x")
    assert "\n" not in str(caught.value)
    assert redacted("https://me:secret@git.example.com/x.git") == "https://***@git.example.com/x.git"
