"""What goes wrong around a daemon, to be had and mended: an index, an engine, a disk."""

from __future__ import annotations

import contextlib
import http.server
import json
import os
import subprocess
import threading
from typing import TYPE_CHECKING, Self
from urllib.parse import urljoin

import httpx

from containers.settings import settings_from_environment

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SECONDS = 60


class PassingIndex:
    """Passes every page of the real index on, until it is ``gone``; files are fetched from where they lie."""

    def __init__(self) -> None:
        self.gone = False
        self.refused = 0
        self._upstream = (settings_from_environment(os.environ).index_url or "https://pypi.org/simple/").rstrip("/")
        self._kept: dict[tuple[str, str], tuple[str, bytes]] = {}  # one world, one state of the index
        handler = type("Handler", (_Passing,), {"index": self})
        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/simple/"
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def page(self, path: str, accept: str) -> tuple[str, bytes] | None:
        """Return the kind and the content of a page whose addresses all lead to the real index."""
        if (path, accept) not in self._kept:
            address = f"{self._upstream}/{path.removeprefix('/simple/')}"
            found = httpx.get(address, headers={"Accept": accept}, timeout=SECONDS, follow_redirects=True)
            if not found.is_success:
                return None
            page = found.json()
            for file in page["files"]:
                file["url"] = urljoin(str(found.url), file["url"])
            body = json.dumps(page).encode()
            self._kept[path, accept] = (found.headers["Content-Type"], body)
        return self._kept[path, accept]


class _Passing(http.server.BaseHTTPRequestHandler):
    index: PassingIndex

    def do_GET(self) -> None:
        found = None if self.index.gone else self.index.page(self.path, "application/vnd.pypi.simple.v1+json")
        self.index.refused += self.index.gone
        kind, body = found or ("text/plain", b"")
        self.send_response(200 if found else 503 if self.index.gone else 404)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    do_HEAD = do_GET  # noqa: N815 - the name the server calls

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the server's own name
        pass


class SmallDisk:
    """A home on a volume of its own, so that it can be full; what is installed lies elsewhere, for it is large."""

    def __init__(self, home: Path, elsewhere: Path, *, mib: int) -> None:
        self._home, self._elsewhere, self._mib = home, elsewhere, mib

    @contextlib.contextmanager
    def mounted(self) -> Iterator[Self]:
        """Mount it; raises CalledProcessError where that may not be done."""
        self._home.mkdir(parents=True, exist_ok=True)
        self._elsewhere.mkdir(parents=True, exist_ok=True)
        _run("mount", "-t", "tmpfs", "-o", f"size={self._mib}m,mode=0755", "tmpfs", str(self._home))
        try:
            (self._home / "install").mkdir()
            _run("mount", "--bind", str(self._elsewhere), str(self._home / "install"))
            try:
                yield self
            finally:
                _run("umount", str(self._home / "install"))
        finally:
            _run("umount", str(self._home))

    def fill(self) -> None:
        with (self._home / "ballast").open("wb") as ballast, contextlib.suppress(OSError):
            while True:
                ballast.write(bytes(1 << 16))
                ballast.flush()

    def empty(self) -> None:
        (self._home / "ballast").unlink(missing_ok=True)


def _run(*argv: str) -> None:
    subprocess.run(argv, check=True, capture_output=True, text=True)
