"""The process that waits to become a server: it becomes it when told, says why when it cannot, and outlives nobody."""

from __future__ import annotations

import os
import time
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import TYPE_CHECKING, Any

import pytest

from probes.faults import ReportedError
from probes.runtimes.vllm_server import Understudy, serve

if TYPE_CHECKING:
    from pathlib import Path

PATIENCE_S = 10.0


class Lists(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b'{"data": [{"id": "subject"}]}')


def becomes_a_server(told: dict[str, Any]) -> None:
    arguments = told["arguments"]
    address = ("127.0.0.1", int(arguments[arguments.index("--port") + 1]))
    print("serving", told["classes"], flush=True)  # noqa: T201 - into its log
    with HTTPServer(address, Lists) as server:
        server.handle_request()


def cannot(_told: dict[str, Any]) -> None:
    raise ValueError("Unexpected head dim size, 32")


def leaves_a_mark(folder: Path) -> Understudy:
    return Understudy(lambda _: (folder / "mark").touch())


def over(understudy: Understudy) -> bool:
    end = time.monotonic() + PATIENCE_S
    while understudy.alive() and time.monotonic() < end:
        time.sleep(0.01)
    return not understudy.alive()


def test_it_becomes_the_server_it_is_told_to_be(tmp_path: Path) -> None:
    understudy = Understudy(becomes_a_server)
    assert understudy.alive()
    there, seconds = serve(tmp_path, names=tmp_path, context=64, understudy=understudy, classes=["X"])
    assert there.model == "subject"
    assert 0 <= seconds < PATIENCE_S
    assert over(understudy)


def test_why_it_could_not_is_what_its_log_says(tmp_path: Path) -> None:
    understudy = Understudy(cannot)
    with pytest.raises(ReportedError, match="Unexpected head dim size, 32"):
        serve(tmp_path, names=tmp_path, context=64, understudy=understudy, classes=[], scratch=tmp_path)
    assert "Traceback" in (tmp_path / "log").read_text()


def test_it_ends_with_whoever_would_have_told_it(tmp_path: Path) -> None:
    understudy = leaves_a_mark(tmp_path)
    os.close(understudy._order)
    assert over(understudy)
    assert not (tmp_path / "mark").exists()
