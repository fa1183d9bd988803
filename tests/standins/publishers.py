"""Stands in for the package index, the folder of vLLM's wheels and the registry's list of tags, each in its own words.

What is published can be changed while it serves, and every address can be told to fail.
"""

from __future__ import annotations

import http.server
import json
import threading
from dataclasses import dataclass, field
from email.utils import format_datetime
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import parse_qs, urlsplit

if TYPE_CHECKING:
    from datetime import datetime

SIMPLE = "application/vnd.pypi.simple.v1+json"


@dataclass
class Publishers:
    """``files`` by package, ``nightlies`` by variant, ``tags`` of the one image; ``answers`` replaces what is said."""

    files: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    nightlies: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    built_at: datetime | None = None
    tags: list[dict[str, Any]] = field(default_factory=list)
    answers: dict[str, tuple[int, bytes]] = field(default_factory=dict)  # by how the path begins
    kind: str = "application/json"  # of those answers
    asked: list[str] = field(default_factory=list)

    def __enter__(self) -> Self:
        outer = self

        class Answer(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                outer.asked.append(self.path)
                status, kind, body = outer.answer(self.path)
                self.send_response(status)
                self.send_header("Content-Type", kind)
                if outer.built_at:
                    self.send_header("Last-Modified", format_datetime(outer.built_at, usegmt=True))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the server's own name
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answer)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def answer(self, path: str) -> tuple[int, str, bytes]:
        for begins, (status, body) in self.answers.items():
            if path.startswith(begins):
                return status, self.kind, body
        first, *rest = urlsplit(path).path.strip("/").split("/")
        if first == "simple" and rest[0] in self.files:
            page = {"meta": {"api-version": "1.1"}, "name": rest[0], "files": self.files[rest[0]]}
            return 200, SIMPLE, json.dumps(page).encode()
        if first == "nightly" and rest[0] in self.nightlies:
            return 200, "application/json", json.dumps(self.nightlies[rest[0]]).encode()
        if first == "v2":
            return 200, "application/json", json.dumps(self._page(path)).encode()
        return 404, "application/json", b"{}"

    def _page(self, path: str) -> dict[str, Any]:
        asked = parse_qs(urlsplit(path).query)
        size, number = int(asked["page_size"][0]), int(asked["page"][0])
        newest = sorted(self.tags, key=lambda tag: tag["last_updated"], reverse=True)
        more = len(newest) > size * number
        return {
            "count": len(newest),
            "next": f"https://elsewhere.example/?page={number + 1}" if more else None,
            "previous": None,
            "results": newest[size * (number - 1) : size * number],
        }


def wheel(name: str, uploaded: str, **more: Any) -> dict[str, Any]:
    return {"filename": name, "url": name, "hashes": {}, "upload-time": uploaded, **more}


def nightly(version: str, commit: str, *, platform: str = "manylinux_2_28_x86_64", variant: str = "cpu") -> Any:
    """Return one wheel as the publisher's own script lists it."""
    name = f"vllm-{version}.{variant}-cp38-abi3-{platform}.whl"
    return {
        "package_name": "vllm",
        "version": version,
        "build_tag": None,
        "python_tag": "cp38",
        "abi_tag": "abi3",
        "platform_tag": platform,
        "variant": variant,
        "filename": name,
        "path": f"../../../{commit}/{name.replace('+', '%2B')}",
    }


def tag(name: str, pushed: str, digest: str) -> dict[str, Any]:
    return {"name": name, "digest": digest, "tag_last_pushed": pushed, "last_updated": pushed, "images": [], "id": 1}
