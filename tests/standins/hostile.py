"""Answers that no honest hub or index gives: an honest one with a few values, headers or bytes replaced by chance."""

from __future__ import annotations

import copy
import http.server
import json
import threading
import time
from collections import Counter
from typing import TYPE_CHECKING, Any, NamedTuple, Self
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Mapping
    from random import Random

SIMPLE = "application/vnd.pypi.simple.v1+json"
SHA = "0123456789abcdef0123456789abcdef01234567"
ODD_VALUES: tuple[Any, ...] = (
    *(None, True, False, 0, -1, 1 << 63, (1 << 63) - 1, 1 << 200, -(1 << 70), 1.5, 1e308, "", "x", "\x00", "\ud800"),
    *("\x1b[2J", "a" * 5000, "9" * 5000, "../../etc/passwd", "C:\\", "\u202e\u2028", [], {}, [[]], {"": None}),
    *("0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-12:00", "0001-01-01", "2026-04-01T00:00:00", "yesterday"),
    *("2026-02-30T00:00:00Z", "1e9999", "NaN", "9" * 400, ">=3.8," * 200, ">=3.*.1", "!=9" * 9, "==" + "9" * 4400),
    *("transformers-" + "9" * 4400 + "-py3-none-any.whl", "transformers-5.0.0-" + "9" * 4400 + "x-py3-none-any.whl"),
    "transformers-5.0.0-" + "-".join([".".join(["py3"] * 60)] * 3) + ".whl",
    *(
        "transformers-5.0.0.whl",
        "transformers-5.0.0-py3-none-any.whl.tar.gz",
        "-----.whl",
        ".whl",
        "transformers-.tar.gz",
    ),
    *("1!1!1", "5.0.0.dev" + "9" * 90, "5.0.0+" + "a" * 90, "5.0.0.post0.dev0+x", "v5"),
)
ODD_HEADERS: tuple[tuple[str, str], ...] = (
    *(("Date", "garbage"), ("Date", "Mon, 01 Jan 0001 00:00:00 +1400"), ("Date", "Mon, 01 Jan 99999 00:00:00 GMT")),
    *(("Date", "Mon, 01 Jan 2026 99:99:99 +99999999"), ("Last-Modified", "1 Jan 9999 23:59:59 -1200")),
    *(("Retry-After", "999999999"), ("Retry-After", "9" * 400), ("Retry-After", "\u00b2"), ("Retry-After", "-1")),
    *(("RateLimit", f'"api";r=0;t={"9" * 400}'), ("RateLimit", '"api";r=0;t=1'), ("RateLimit", ";;;t=")),
    *(
        ("Retry-After", "Fri, 31 Dec 9999 23:59:59 GMT"),
        ("Link", '<http://[bad>; rel="next"'),
        ("Link", ";;,<>;rel=next"),
    ),
    *(
        ("Link", '</api/models?cursor=x&cursor=y>; rel="next"'),
        ("Location", "http://[bad"),
        ("Location", "/api/models/"),
    ),
    *(
        ("Location", "/api/models/acme/other"),
        ("Location", "\x7f"),
        ("Content-Type", ""),
        ("Content-Type", "text/html"),
    ),
    *(("Content-Type", "a/b; charset=" + "x" * 500), ("Content-Encoding", "gzip"), ("Content-Encoding", "deflate, br")),
    *(("X-Error-Message", "\x1b[2J"), ("X-Error-Code", "RepoNotFound"), ("X-Error-Code", "GatedRepo")),
    *(("Set-Cookie", "a=b; Max-Age=99999999999999999999"), ("Content-Range", "bytes x-y/z"), ("ETag", "\xff")),
)
STATUSES = (
    200,
    200,
    200,
    200,
    200,
    200,
    206,
    204,
    301,
    304,
    307,
    400,
    401,
    403,
    404,
    416,
    429,
    429,
    500,
    503,
    599,
    999,
)
BODIES = (
    *(b"", b"null", b"0", b"[", b"[[", b"[" * 100_000, b'{"a":' * 100_000, b"\xff\xfe", b"\x00" * 1000, b"<html>"),
    *(b"[" + b"0," * 20_000 + b"0]", b'{"meta":{"api-version":"9.9"},"name":"a","files":[]}', b'"\\ud800"', b"NaN"),
    *(b"<!DOCTYPE" * 50, b"<![x[", b"<a href='http://[bad'>a-1-py3-none-any.whl</a>", b"<a>" * 5000, b"-1e-999999999"),
)
DEEP = b"[" * 5000 + b"]" * 5000


class Answer(NamedTuple):
    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes


def honest(path: str) -> tuple[Any, str]:  # noqa: PLR0911 - a case a kind of address
    """Return what an honest server answers at a path, as a value or bytes, and its type."""
    names = urlsplit(path).path.strip("/").split("/")
    day = "2026-04-01T00:00:00.000Z"
    model = {
        "id": "acme/" + (names[3] if names[:2] == ["api", "models"] and len(names) > 3 else "one"),
        "sha": SHA,
        "createdAt": day,
        "gated": False,
        "private": False,
        "disabled": False,
        "likes": 1,
        "downloads": 1,
        "pipeline_tag": "text-generation",
        "tags": ["license:mit", "base_model:acme/zero"],
        "safetensors": {"total": 1_000_000_000},
        "config": {"model_type": "llama"},
        "childrenModelCount": {"adapter": 2},
    }
    entry = {"type": "file", "oid": SHA, "size": 10, "path": "config.json"}
    weights = {
        "type": "file",
        "oid": SHA,
        "size": 10,
        "lfs": {"oid": "0" * 64, "size": 10},
        "path": "model.safetensors",
    }
    if names[:2] == ["api", "models"]:
        if names[-2:-1] == ["commits"]:
            return [{"id": SHA, "date": day, "title": "Upload", "authors": []}], "application/json"
        if "tree" in names:
            return [entry, weights], "application/json"
        return (model if len(names) > 2 else [model, {**model, "id": "acme/two"}]), "application/json"
    if "resolve" in names:
        config = {"model_type": "llama", "num_experts": 2, "text_config": {"layer_types": ["linear_attention"]}}
        return config, "application/octet-stream"
    if names[0] == "v2":
        return {
            "next": None,
            "results": [{"name": "0.9.0", "digest": "sha256:0", "last_updated": day}],
        }, "application/json"
    if names[0] == "nightly":
        wheel = {"version": "1.0.dev1", "filename": "vllm-1.0.dev1-cp38-abi3-any.whl", "path": "../a/b.whl"}
        return [wheel], "application/json"
    name = names[1] if len(names) > 1 else "transformers"
    files = [
        {
            "filename": f"{name.replace('-', '_')}-{version}-py3-none-any.whl",
            "url": "x",
            "hashes": {"sha256": "0" * 64},
            "upload-time": day,
            "requires-python": ">=3.9",
            "yanked": False,
            "size": 1,
        }
        for version in ("5.0.0", "5.1.0")
    ]
    files.append({**files[0], "filename": f"{name.replace('-', '_')}-5.0.0.tar.gz"})
    return {"meta": {"api-version": "1.1"}, "name": name, "files": files, "versions": ["5.0.0"]}, SIMPLE


def hostile(random: Random, path: str) -> Answer:
    """Return an honest answer with some of its parts replaced; about one in ten stays honest."""
    value, kind = honest(path)
    status, headers = 200, {"Content-Type": kind, "Date": "Wed, 01 Apr 2026 00:00:00 GMT"}
    for _ in range(random.choice((0, 1, 1, 1, 2, 3))):
        match random.choice(("value", "value", "value", "header", "header", "status", "body")):
            case "value":
                value = _replaced(random, value)
            case "header":
                name, text = random.choice(ODD_HEADERS)
                headers[name] = text
            case "status":
                status = random.choice(STATUSES)
            case _:
                value = random.choice((*BODIES, DEEP))
    body = value if isinstance(value, bytes) else json.dumps(value).encode()
    if random.random() < 0.05:
        body = body[: random.randrange(len(body) + 1)]
    return Answer(status, tuple(headers.items()), body)


def _replaced(random: Random, value: Any) -> Any:
    """Return a value with one of its nodes replaced, doubled or removed."""
    if not isinstance(value, dict | list):
        return value if isinstance(value, bytes) else random.choice(ODD_VALUES)
    changed = copy.deepcopy(value)
    places: list[tuple[Any, Any]] = []
    level = [changed]
    while level:
        part = level.pop()
        for key in list(part) if isinstance(part, dict) else range(len(part)):
            places.append((part, key))
            if isinstance(part[key], dict | list):
                level.append(part[key])
    if not places:
        return random.choice(ODD_VALUES)
    part, key = random.choice(places)
    odd = random.choice(ODD_VALUES)
    match random.choice(("replace", "replace", "replace", "remove", "repeat", "deep")):
        case "replace":
            part[key] = odd
        case "remove":
            del part[key]
        case "repeat" if isinstance(part, list):
            part.extend([part[key]] * random.choice((1, 200)))
        case _:
            for _ in range(random.choice((3, 70, 150))):
                part[key] = [part[key]] if random.random() < 0.5 else {"a": part[key]}
    return changed


class _Server(http.server.ThreadingHTTPServer):
    def handle_error(self, *_: Any) -> None:
        """Say nothing: a client that has had enough breaks off."""


class HostileServer:
    """Serves hostile answers of hub, index, nightlies and registry from one address; some break off or drip."""

    def __init__(self, random: Random, *, drip_s: float = 0.0) -> None:
        self.random, self.drip_s = random, drip_s
        self.answers: Counter[str] = Counter()
        self._lock = threading.Lock()
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                self.close_connection = outer.send(self)

            do_HEAD = do_GET  # noqa: N815 - the name the server calls

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the server's own name
                pass

        self._server = _Server(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def send(self, request: http.server.BaseHTTPRequestHandler) -> bool:
        """Send one answer, and return whether the connection is to be closed."""
        with self._lock:
            answer = hostile(self.random, request.path)
            whole = self.random.random() > 0.03
            drips = bool(self.drip_s) and self.random.random() < 0.01
            self.answers["index" if request.path.startswith("/simple/") else "hub"] += 1
        try:
            _write(request, answer.status, dict(answer.headers), answer.body, whole=whole)
            if drips:
                until = time.monotonic() + self.drip_s
                while time.monotonic() < until:
                    request.wfile.write(b"x")
                    time.sleep(0.2)
        except OSError:
            return True  # the client has had enough
        return not whole or drips


def _write(
    request: http.server.BaseHTTPRequestHandler, status: int, headers: Mapping[str, str], body: bytes, *, whole: bool
) -> None:
    lines = [f"HTTP/1.1 {status} Odd", *(f"{name}: {text}" for name, text in headers.items())]
    lines.append(f"Content-Length: {len(body) + (0 if whole else 10)}")
    head = "\r\n".join([*lines, "", ""]).encode("latin-1", errors="replace")
    request.wfile.write(head if request.command == "HEAD" else head + body)
