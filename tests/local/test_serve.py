"""`settle serve` as a browser meets it: a process of its own, on a home that somebody writes to."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from http.client import HTTPConnection
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from monitor.domain import Model, ModelKind, Subject, SubjectForm
from monitor.serve.health import Heartbeat, Pulse
from monitor.store import Store, open_store
from monitor.store.example_queries import EXAMPLE_QUERIES
from tests.standins.days import FIRST, World, events

if TYPE_CHECKING:
    from collections.abc import Iterator
    from http.client import HTTPResponse

    from starlette.types import ASGIApp

HOSTILE = "acme/<script>alert(1)</script>"
PAGES = (
    "/",
    "/healthz",
    "/metrics",
    "/nothing",
    "/sql/",
    "/sql/settle",
    "/sql/settle/current",
    "/sql/settle?sql=nonsense",
)


@dataclass
class Served:
    process: subprocess.Popen[str]
    port: int
    home: Path
    store: Store

    def get(self, path: str, method: str = "GET", **headers: str) -> tuple[HTTPResponse, bytes]:
        """Ask for the path as it stands here: no client has tidied it up."""
        with closing(HTTPConnection("127.0.0.1", self.port, timeout=30)) as connection:
            named = {name.replace("_", "-"): value for name, value in headers.items()}
            connection.request(method, path, headers=named)
            answer = connection.getresponse()
            return answer, answer.read()

    @property
    def site(self) -> Path:
        return self.home / "site"


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    home = tmp_path_factory.mktemp("served")
    with open_store(home) as store:
        world = World(store)
        world.run("W", FIRST)
        model = Model(HOSTILE, "Acme", "newarch", ModelKind.DENSE, "acme", FIRST, "hub")
        subject = Subject(HOSTILE, HOSTILE, SubjectForm.MINIATURE, "newarch", "files", True, "5.5.0", False)
        store.record_catalogue([model], [subject])
        world.run("W", FIRST, replace(world.cell, subject_id=HOSTILE), events=events(HOSTILE, "W"))
        process = subprocess.Popen(
            [Path(sys.executable).with_name("settle"), "serve", "--port", "0"],
            env={**os.environ, "SETTLE_HOME": str(home), "SETTLE_CONFIG": str(_nothing(home))},
            stderr=subprocess.PIPE,
            text=True,
        )
        assert process.stderr is not None
        said = process.stderr.readline()
        found = re.search(r"http://127\.0\.0\.1:(\d+)/", said)
        assert found, said
        try:
            yield Served(process, int(found[1]), home, store)
        finally:
            process.send_signal(signal.SIGTERM)
            rest = process.communicate(timeout=30)[1]
        assert process.returncode == 0
        assert "Traceback" not in rest  # a stranger's slip in SQL is no page in our log


def _nothing(folder: Path) -> Path:
    file = folder / "settle.toml"
    file.write_text("")
    return file


def test_a_site_that_is_not_made_yet_is_said_to_be_and_needs_no_restart(served: Served) -> None:
    answer, page = served.get("/")
    assert answer.status == 503
    assert b"settle site" in page
    served.site.mkdir()
    (served.site / "index.html").write_text("the site")
    (served.site / "file.txt").write_text("0123456789")
    answer, page = served.get("/")
    assert (answer.status, page) == (200, b"the site")


def test_files_can_be_asked_for_in_part_and_only_when_they_have_changed(served: Served) -> None:
    served.site.mkdir(exist_ok=True)
    (served.site / "index.html").write_text("the site")
    (served.site / "file.txt").write_text("0123456789")
    answer, page = served.get("/file.txt", Range="bytes=2-4")
    assert (answer.status, page) == (206, b"234")
    answer, page = served.get("/file.txt", "HEAD")
    assert (answer.status, page, answer.headers["content-length"]) == (200, b"", "10")
    answer, _ = served.get("/file.txt", If_None_Match=str(answer.headers["etag"]))
    assert answer.status == 304


@pytest.mark.parametrize(
    "path",
    ["/../settle.db", "/%2e%2e/settle.db", "/..%2fsettle.db", "//settle.db", "/out", "/sql/../settle.db", "/./../x"],
)
def test_nothing_outside_of_the_site_is_served(served: Served, path: str) -> None:
    served.site.mkdir(exist_ok=True)
    (served.site / "index.html").write_text("the site")
    (served.site / "out").unlink(missing_ok=True)
    (served.site / "out").symlink_to(served.home / "settle.db")
    answer, page = served.get(path)
    assert answer.status == 404
    assert b"SQLite format" not in page


@pytest.mark.parametrize("path", PAGES)
def test_every_answer_is_guarded(served: Served, path: str) -> None:
    answer, _ = served.get(path)
    assert answer.headers.get_all("x-content-type-options") == ["nosniff"]
    assert answer.headers["referrer-policy"] == "no-referrer"
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "server" not in answer.headers


@pytest.mark.parametrize("question", EXAMPLE_QUERIES, ids=lambda one: one.name)
def test_every_named_question_has_a_page(served: Served, question: object) -> None:
    name = getattr(question, "name")  # noqa: B009 - parametrize hides its type
    answer, page = served.get(f"/sql/settle/{name}.json?_shape=objects")
    assert answer.status == 200
    assert isinstance(json.loads(page)["rows"], list)


def test_links_of_the_history_stay_in_it(served: Served) -> None:
    _, page = served.get("/sql/settle/runs?_size=1")
    links = re.findall(rb'(?:href|src|action)="(?:http://[^/]*)?(/[^"]*)"', page)
    assert links
    assert all(link.startswith(b"/sql/") and not link.startswith(b"/sql/sql/") for link in links)


def test_the_schema_explains_itself_there(served: Served) -> None:
    _, page = served.get("/sql/settle/runs")
    assert b"attempts to probe a cell" in page
    assert b"digest of the lock" in page


def test_what_came_from_outside_is_shown_and_does_nothing(served: Served) -> None:
    _, page = served.get("/sql/settle/current")
    assert b"&lt;script&gt;alert(1)" in page
    assert b"<script>alert(1)" not in page


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/sql/settle?sql=delete+from+runs", 400),
        ("/sql/settle?sql=attach+database+'/tmp/x'+as+x", 400),
        ("/sql/settle?sql=select+hex(zeroblob(100000000))", 400),
        ("/sql/-/databases.json", 404),
        ("/sql/settle.db", 403),
    ],
)
def test_sql_reads_within_bounds(served: Served, path: str, status: int) -> None:
    assert served.get(path)[0].status == status


@pytest.mark.parametrize("path", ["/", "/sql/settle", "/healthz"])
def test_nothing_can_be_sent_there(served: Served, path: str) -> None:
    answer, _ = served.get(path, "POST")
    assert (answer.status, answer.headers["allow"]) == (405, "GET, HEAD")


def test_it_answers_while_the_daemon_writes(served: Served) -> None:
    world = World(served.store)
    world.count = 1000
    detail = world.run("W", FIRST + timedelta(days=3))
    answer, told = served.get("/healthz")
    assert (answer.status, json.loads(told)["status"]) == (503, "not running")
    pulse = Pulse(60, home=served.home)
    pulse.beat(Heartbeat(datetime(2026, 4, 4, tzinfo=UTC), 1))
    answer, told = served.get("/healthz")
    pulse.remove()
    assert answer.status == 200
    health = json.loads(told)
    assert (health["well"], health["last_run"]["run"], health["last_day"]) == (True, detail.id, "2026-04-04")
    _, page = served.get(f"/sql/settle/runs.json?_shape=array&id={detail.id}")
    assert json.loads(page)[0]["cell_id"] == world.cell.id


async def no_history(*_: object) -> None:
    raise AssertionError("nobody asked for it")


def test_health_and_metrics_are_asked_at_each_request(tmp_path: Path) -> None:
    from monitor.serve.app import web_app

    app = web_app(tmp_path, no_history, health=lambda: {"well": False, "late": True}, metrics=lambda: b"settle_up 1\n")
    assert asked(app, "/metrics") == (200, b"settle_up 1\n")
    status, told = asked(app, "/healthz")
    assert (status, json.loads(told)) == (503, {"well": False, "late": True})


def asked(app: ASGIApp, path: str) -> tuple[int, bytes]:
    """Ask an application without a server."""
    heard: list[Any] = []

    async def receive() -> Any:
        return {"type": "http.request"}

    async def send(message: Any) -> None:
        heard.append(message)

    scope = {
        "type": "http",
        "method": "GET",
        "path": path,
        "raw_path": path.encode(),
        "headers": [],
        "query_string": b"",
    }

    async def ask() -> None:
        await app(scope, receive, send)

    asyncio.run(ask())
    return heard[0]["status"], b"".join(message.get("body", b"") for message in heard[1:])
