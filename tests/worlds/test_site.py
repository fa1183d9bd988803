"""A little world full of hostile names and words becomes a site: every page of it is read, and every link followed."""

from __future__ import annotations

import json
import posixpath
import re
from collections import Counter
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

import pytest

from monitor.domain import Runtime
from monitor.site.cells import reproducing
from monitor.site.content import read_content
from monitor.site.pages import make_site
from monitor.store import open_reader, open_store
from tests.bench.year import CONTROL, HOSTILE, REAL, Year
from tests.worlds.pages import Page

if TYPE_CHECKING:
    from pathlib import Path

MOST_BYTES = 300_000
UNSHOWN = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2066-\u2069\ufeff]")


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("year")
    with open_store(home) as store:
        Year(store, models=14, days=60, every=12, runtimes=(Runtime.TRANSFORMERS, Runtime.OLLAMA), seed=3).live()
    return home


@pytest.fixture(scope="module")
def site(home: Path) -> dict[str, bytes]:
    with open_reader(home) as store:
        made = list(make_site(store, url="https://support.example.com/settle/"))
    twice = [path for path, count in Counter(path for path, _ in made).items() if count > 1]
    assert not twice
    return dict(made)


@pytest.fixture(scope="module")
def pages(site: dict[str, bytes]) -> dict[str, Page]:
    return {path: Page.read(content.decode()) for path, content in site.items() if path.endswith(".html")}


def test_no_page_holds_anything_that_was_not_ours_to_put_there(pages: dict[str, Page]) -> None:
    assert not {path: page.wrong for path, page in pages.items() if page.wrong}


def test_every_hostile_word_is_shown_and_none_unmakes_its_surroundings(pages: dict[str, Page]) -> None:
    everything = "\n".join(page.text for page in pages.values())
    assert not UNSHOWN.search(everything)
    assert "</pre></td><script>alert('log')</script>" in everything
    assert "<script>alert('id')</script>/<img src=x onerror=alert(1)>" in everything
    assert "{{7*7}}/${7*7}" in everything
    assert "<b>Evil & Sons</b>" in everything


def test_every_file_has_a_plain_name(site: dict[str, bytes]) -> None:
    for path in site:
        assert all(re.fullmatch(r"\.?[A-Za-z0-9][A-Za-z0-9._~-]*", part) for part in path.split("/")), path
        assert all(len(part) < 200 for part in path.split("/")), path


def test_every_link_leads_to_a_file_of_the_site(site: dict[str, bytes], pages: dict[str, Page]) -> None:
    for path, page in pages.items():
        for link in page.links:
            target, _, fragment = link.partition("#")
            found = posixpath.normpath(posixpath.join(posixpath.dirname(path), target)) if target else path
            assert found in site, (path, link)
            assert not fragment or fragment in pages[found].ids, (path, link)


def test_a_page_can_be_read_by_ear_and_by_keyboard(pages: dict[str, Page]) -> None:
    for path, page in pages.items():
        assert page.landmarks.count("main") == 1, path
        assert {"header", "nav", "footer"} <= set(page.landmarks), path
        assert page.headings[0] == 1, path
        assert page.headings.count(1) == 1, path
        assert all(later <= earlier + 1 for earlier, later in zip(page.headings, page.headings[1:], strict=False)), path
        assert len(page.ids) == len(set(page.ids)), path


def test_no_page_is_heavy(site: dict[str, bytes]) -> None:
    heavy = {
        path: len(content) for path, content in site.items() if path.endswith(".html") and len(content) > MOST_BYTES
    }
    assert not heavy


def test_drawings_badges_and_the_feed_are_whole(site: dict[str, bytes]) -> None:
    for path, content in site.items():
        if path.endswith((".svg", ".xml")):
            ET.fromstring(content)  # noqa: S314 - ours, and that it parses is the question
    feed = ET.fromstring(site["feed.xml"])  # noqa: S314
    atom = "{http://www.w3.org/2005/Atom}"
    entries = feed.findall(f"{atom}entry")
    assert entries
    ids = [entry.findtext(f"{atom}id") for entry in entries]
    assert len(ids) == len(set(ids))
    links = [link.get("href") or "" for link in feed.iter(f"{atom}link")]
    assert all(link.startswith("https://support.example.com/settle/") for link in links)
    gone = {link.removeprefix("https://support.example.com/settle/").partition("#")[0] for link in links} - set(site)
    assert not gone


def test_programs_read_every_model_by_its_own_id(site: dict[str, bytes]) -> None:
    status = json.loads(site["status.json"])
    assert set(HOSTILE) | {CONTROL} <= set(status["models"])
    for hub_id, told in status["models"].items():
        model = json.loads(site[told["file"]])
        assert model["id"] == hub_id
        for cell in model["cells"]:
            assert told["cells"][cell["history"]]["verdict"] == cell["verdict"]
            assert cell["page"] in site
            letter = {"works": "W", "broken": "B", "flaky": "F", "unknown": "?"}[cell["verdict"]]
            assert cell["days"][-1].upper() == letter
            if cell["known_good"]:
                assert b"--hash=sha256:" in site[cell["known_good"]["lock"]]


def test_a_run_of_a_model_that_we_have_can_be_repeated_by_hand(home: Path) -> None:
    with open_reader(home) as store:
        cells = read_content(store).cells.values()
        scripts = [reproducing(store, cell) for cell in cells if cell.subject == REAL]
        unknown = [reproducing(store, cell) for cell in cells if cell.subject == HOSTILE[0]]
    assert len(scripts) == 2
    assert all(script and script.startswith("#!/bin/sh") and "END_OF_PROBES" in script for script in scripts)
    assert unknown == [None, None]  # nothing to write its files from


def test_the_same_history_gives_the_same_site(home: Path, site: dict[str, bytes]) -> None:
    with open_reader(home) as store:
        again = dict(make_site(store, url="https://support.example.com/settle/"))
    assert again == site


def test_what_the_store_knows_is_what_the_overview_says(home: Path, site: dict[str, bytes]) -> None:
    with open_reader(home) as store:
        rows = store.current()
    page = site["index.html"].decode()
    squares = Counter(re.findall(r'<td class="(works|broken|flaky|unknown)"><a', page))
    assert squares == Counter(row["verdict"] for row in rows)
    assert set(squares) >= {"works", "broken", "unknown"}
