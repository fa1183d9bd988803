"""An index that answers what there is, from the real one behind it, and goes away when a wheel is asked for."""

from __future__ import annotations

import http.server
import json
import os
import threading
from typing import TYPE_CHECKING, Any
from urllib.parse import urljoin

import httpx

from containers.settings import settings_from_environment

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

JSON = "application/vnd.pypi.simple.v1+json"
SECONDS = 60


class FailingIndex:
    """Breaks the line in the middle of the first wheel, and never answers again."""

    def __init__(self) -> None:
        self.wheels_asked_for = 0
        self._upstream = settings_from_environment(os.environ).index_url or "https://pypi.org/simple/"
        self._session = httpx.Client(follow_redirects=True, timeout=SECONDS)
        self._files: dict[str, str] = {}  # path here -> address there

        outer = self

        class Answer(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                outer.answer(self)

            do_HEAD = do_GET  # noqa: N815 - the name the server calls

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the server's own name
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answer)
        self._root = f"http://127.0.0.1:{self._server.server_address[1]}"
        self.url = f"{self._root}/simple/"

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._session.close()

    def answer(self, request: http.server.BaseHTTPRequestHandler) -> None:
        if request.path.startswith("/simple/"):
            self._page(request, request.path.removeprefix("/simple/"))
        elif request.path.endswith(".metadata"):
            there = self._files[request.path.removesuffix(".metadata")]
            found = self._session.get(f"{there}.metadata")
            _reply(request, found.status_code, found.content, "application/octet-stream")
        else:
            self.wheels_asked_for += 1
            self._fail(request)

    def _page(self, request: http.server.BaseHTTPRequestHandler, name: str) -> None:
        address = f"{self._upstream.rstrip('/')}/{name}"
        found = self._session.get(address, headers={"Accept": JSON})
        if not found.is_success:
            _reply(request, found.status_code, b"", "text/plain")
            return
        page: dict[str, Any] = found.json()
        for file in page["files"]:
            here = f"/files/{file['filename']}"
            self._files[here] = urljoin(str(found.url), file["url"])
            file["url"] = self._root + here
        _reply(request, 200, json.dumps(page).encode(), JSON)

    def _fail(self, request: http.server.BaseHTTPRequestHandler) -> None:
        request.send_response(200)
        request.send_header("Content-Length", str(10 << 20))
        request.end_headers()
        request.wfile.write(bytes(1 << 16))
        self._server.socket.close()  # nobody listens any more
        request.close_connection = True


def _reply(request: http.server.BaseHTTPRequestHandler, status: int, body: bytes, kind: str) -> None:
    request.send_response(status)
    request.send_header("Content-Type", kind)
    request.send_header("Content-Length", str(len(body)))
    request.end_headers()
    if request.command == "GET":
        request.wfile.write(body)
