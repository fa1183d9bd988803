"""Stands in for a model hub: serves the documented protocol over HTTP from a small world that a test writes.

What a client sees is what the real one sends: pages by ``Link``, pointers for large files and a redirect to where they
are kept, codes of its own for what is missing, gated or renamed, and a refusal of what its list route does not expand.
"""

from __future__ import annotations

import base64
import hashlib
import http.server
import json
import threading
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import parse_qs, unquote, urlencode, urlsplit

if TYPE_CHECKING:
    from collections.abc import Mapping

LARGE = (".safetensors", ".bin", ".gguf", ".pt")
ONLY_OF_ONE = {"baseModels", "childrenModelCount", "usedStorage"}  # refused by the list route, for all that is asked


@dataclass(frozen=True)
class Commit:
    id: str
    at: datetime
    title: str
    files: Mapping[str, bytes]


@dataclass
class Repository:
    id: str
    created: datetime
    commits: list[Commit] = field(default_factory=list)  # oldest first
    gated: str = ""
    private: bool = False
    said: dict[str, Any] = field(default_factory=dict)  # pipeline_tag, tags, downloads, ... as the hub spells them

    def revision(self, name: str) -> Commit | None:
        if name in {"main", "HEAD"}:
            return self.commits[-1]
        return next((commit for commit in self.commits if commit.id == name), None)


@dataclass
class Fault:
    """The next ``times`` answers to a path that begins so are these instead."""

    path: str
    status: int
    headers: Mapping[str, str]
    body: bytes
    times: int


class Hub:
    """The world; what it serves changes as soon as a method returns."""

    def __init__(self, host: str = "127.0.0.1", *, page: int = 100) -> None:
        self.page = page
        self.repositories: dict[str, Repository] = {}
        self.renamed: dict[str, str] = {}
        self.tokens: set[str] = set()  # what opens gated and private repositories
        self.faults: list[Fault] = []
        self.asked: list[str] = []  # method and path with its query, in their order
        self.shown: set[str] = set()  # tokens that were shown to us
        self.ranges: list[str] = []  # of files, as they were asked for
        self.with_ranges = True  # else every file is sent whole
        handler = type("Handler", (_Protocol,), {"hub": self})
        self._server = http.server.ThreadingHTTPServer((host, 0), handler)
        self.port = self._server.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self.elsewhere = f"http://localhost:{self.port}"  # where large files are kept: another host, as there
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def publish(
        self, name: str, files: Mapping[str, bytes | None], at: datetime, *, title: str = "Upload", **said: Any
    ) -> str:
        """Add a commit, with its repository where there is none; a file that is None is deleted. Return its sha."""
        repository = self.repositories.setdefault(name, Repository(name, at))
        repository.said |= said
        before = dict(repository.commits[-1].files) if repository.commits else {}
        tree = {path: data for path, data in {**before, **files}.items() if data is not None}
        told = f"{name}\n{at.isoformat()}\n{len(repository.commits)}\n{title}"
        repository.commits.append(Commit(hashlib.sha1(told.encode()).hexdigest(), at, title, tree))  # noqa: S324 - git's
        return repository.commits[-1].id

    def rewrite(self, name: str, at: datetime) -> str:
        """Put all that is there into one new commit, as after a forced push. Return its sha."""
        repository = self.repositories[name]
        files = repository.commits[-1].files
        repository.commits.clear()
        return self.publish(name, files, at, title="Squash")

    def gate(self, name: str, how: str = "manual") -> None:
        self.repositories[name].gated = how

    def rename(self, name: str, to: str) -> None:
        self.repositories[to] = self.repositories.pop(name)
        self.repositories[to].id = to
        self.renamed[name] = to

    def delete(self, name: str) -> Repository:
        return self.repositories.pop(name)

    def restore(self, repository: Repository) -> None:
        self.repositories[repository.id] = repository

    def fail(
        self, path: str, status: int, *, headers: Mapping[str, str] | None = None, body: bytes = b"", times: int = 1
    ) -> None:
        self.faults.append(Fault(path, status, headers or {}, body, times))


class _Protocol(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    hub: Hub

    def do_GET(self) -> None:
        address = urlsplit(self.path)
        self.hub.asked.append(f"{self.command} {self.path}")
        if token := self.headers.get("Authorization", "").removeprefix("Bearer "):
            self.hub.shown.add(token)
        for fault in self.hub.faults:
            if fault.times and address.path.startswith(fault.path):
                fault.times -= 1
                self.answer(fault.status, fault.body, **fault.headers)
                return
        path = unquote(address.path).strip("/")
        query = parse_qs(address.query)
        if path == "api/models":
            self.list_models(query)
        elif path.startswith("api/models/"):
            self.about(path.removeprefix("api/models/"), query)
        elif path.startswith("cdn/"):
            self.kept(path.removeprefix("cdn/"))
        else:
            self.resolve(path)

    do_HEAD = do_GET  # noqa: N815 - the name the server calls

    def list_models(self, query: dict[str, list[str]]) -> None:
        wanted = query.get("expand", [])
        if refused := ONLY_OF_ONE & set(wanted):
            self.error(400, "", f'"expand" must not be {sorted(refused)}')
            return
        author = query.get("author", [""])[0]
        found = [one for one in self.hub.repositories.values() if self.sees(one)]
        found = [one for one in found if not author or one.id.startswith(f"{author}/")]
        found.sort(key=lambda one: one.created, reverse=True)
        limit = min(self.hub.page, int(query.get("limit", ["1000"])[0]))
        start = int(base64.b64decode(query.get("cursor", ["MA=="])[0]))
        headers = {}
        if len(found) > start + limit:
            cursor = base64.b64encode(str(start + limit).encode()).decode()
            following = urlencode({**query, "cursor": cursor}, doseq=True)
            headers["Link"] = f'<{self.hub.url}/api/models?{following}>; rel="next"'
        self.json([self.told(one, wanted) for one in found[start : start + limit]], **headers)

    def about(self, path: str, query: dict[str, list[str]]) -> None:
        name, rest = _split(path, ("revision", "tree", "commits", "refs"))
        if (to := self.hub.renamed.get(name)) and name not in self.hub.repositories:
            self.answer(307, b"", Location=f"/api/models/{to}" + "".join(f"/{part}" for part in rest))
            return
        repository = self.hub.repositories.get(name)
        if repository is None or not self.sees(repository):
            self.error(401, "RepoNotFound", "Repository not found")
            return
        if rest[:1] == ["refs"]:
            main = {"name": "main", "ref": "refs/heads/main", "targetCommit": repository.commits[-1].id}
            self.json({"branches": [main], "tags": [], "converts": []})
            return
        commit = repository.revision(rest[1] if len(rest) > 1 else "main")
        if commit is None:
            self.error(404, "RevisionNotFound", "Invalid rev id")
        elif rest[:1] == ["tree"]:
            self.tree(commit, "/".join(rest[2:]))
        elif rest[:1] == ["commits"]:
            upto = repository.commits[: repository.commits.index(commit) + 1]
            told = [
                {"id": one.id, "title": one.title, "message": "", "date": _stamp(one.at), "authors": []}
                for one in upto[::-1]
            ]
            self.json(told)
        else:
            self.json(self.told(repository, query.get("expand", []), commit))

    def tree(self, commit: Commit, under: str) -> None:
        found = {path: data for path, data in commit.files.items() if path.startswith(f"{under}/" if under else "")}
        if under and not found:
            self.error(404, "EntryNotFound", f"{under} does not exist on {commit.id}")
            return
        self.json([_entry(path, data) for path, data in sorted(found.items())])

    def resolve(self, path: str) -> None:
        name, rest = _split(path, ("resolve",))
        if (to := self.hub.renamed.get(name)) and name not in self.hub.repositories:
            self.answer(307, b"", Location=f"/{to}/{'/'.join(rest)}")
            return
        repository = self.hub.repositories.get(name)
        if repository is None or len(rest) < 3 or not self.sees(repository):
            self.error(401, "RepoNotFound", "Repository not found")
            return
        commit = repository.revision(rest[1])
        if commit is None:
            self.error(404, "RevisionNotFound", "Invalid rev id")
            return
        told = {"X-Repo-Commit": commit.id}
        if repository.gated and not self.trusted():
            self.error(403, "GatedRepo", "Access to this model is restricted", **told)
            return
        file = "/".join(rest[2:])
        data = commit.files.get(file)
        if data is None:
            self.error(404, "EntryNotFound", "Entry not found", **told)
        elif file.endswith(LARGE):
            digest = hashlib.sha256(data).hexdigest()
            told |= {"X-Linked-Etag": f'"{digest}"', "X-Linked-Size": str(len(data))}
            self.answer(302, b"", Location=f"{self.hub.elsewhere}/cdn/{digest}", **told)
        else:
            self.piece(data, ETag=f'"{_blob_id(data)}"', **told)

    def kept(self, digest: str) -> None:
        for repository in self.hub.repositories.values():
            for commit in repository.commits:
                for data in commit.files.values():
                    if hashlib.sha256(data).hexdigest() == digest:
                        self.piece(data, ETag=f'"{digest}"')
                        return
        self.error(404, "", "no such object")

    def told(self, repository: Repository, wanted: list[str], commit: Commit | None = None) -> dict[str, Any]:
        """Return what the hub says of a model: everything, or its id and what was asked for."""
        commit = commit or repository.commits[-1]
        known: dict[str, Any] = {
            "sha": commit.id,
            "createdAt": _stamp(repository.created),
            "lastModified": _stamp(repository.commits[-1].at),
            "gated": repository.gated or False,
            "private": repository.private,
            "disabled": False,
            "author": repository.id.rpartition("/")[0],
            "tags": [],
            "downloads": 0,
            "likes": 0,
            "siblings": [{"rfilename": path} for path in sorted(commit.files)],
            **repository.said,
        }
        if not wanted:
            known.pop("childrenModelCount", None)
        own = known if not wanted else {key: known[key] for key in wanted if key in known}
        number = hashlib.sha256(str(repository.created).encode()).hexdigest()[:24]
        return {"_id": number, "id": repository.id, "modelId": repository.id} | own

    def sees(self, repository: Repository) -> bool:
        return not repository.private or self.trusted()

    def trusted(self) -> bool:
        return self.headers.get("Authorization", "").removeprefix("Bearer ") in self.hub.tokens

    def piece(self, data: bytes, **headers: str) -> None:
        """Answer with a file, or with what of it was asked for."""
        headers |= {"Accept-Ranges": "bytes"}
        asked = self.headers.get("Range", "").removeprefix("bytes=")
        if not asked or not self.hub.with_ranges:
            self.answer(200, data, **headers)
            return
        self.hub.ranges.append(f"bytes={asked}")
        first, _, last = asked.partition("-")
        start, end = int(first), int(last) if last else len(data) - 1
        if start >= len(data):
            self.answer(416, b"", **headers, Content_Range=f"bytes */{len(data)}")
            return
        piece = data[start : end + 1]
        span = f"bytes {start}-{start + len(piece) - 1}/{len(data)}"
        self.answer(206, piece, **headers, Content_Range=span)

    def json(self, value: Any, **headers: str) -> None:
        self.answer(200, json.dumps(value).encode(), Content_Type="application/json; charset=utf-8", **headers)

    def error(self, status: int, code: str, message: str, **headers: str) -> None:
        told = {"X-Error-Message": message} | ({"X-Error-Code": code} if code else {}) | headers
        self.answer(status, json.dumps({"error": message}).encode(), Content_Type="application/json", **told)

    def answer(self, status: int, body: bytes, **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the server's own name
        pass


def _split(path: str, words: tuple[str, ...]) -> tuple[str, list[str]]:
    """Cut a path into a repository's name, of one part or two, and what follows it."""
    parts = path.split("/")
    place = next((place for place, part in enumerate(parts) if part in words and place), len(parts))
    return "/".join(parts[:place]), parts[place:]


def _entry(path: str, data: bytes) -> dict[str, Any]:
    if not path.endswith(LARGE):
        return {"type": "file", "oid": _blob_id(data), "size": len(data), "path": path}
    digest = hashlib.sha256(data).hexdigest()
    pointer = f"version https://git-lfs.github.com/spec/v1\noid sha256:{digest}\nsize {len(data)}\n".encode()
    lfs = {"oid": digest, "size": len(data), "pointerSize": len(pointer)}
    return {"type": "file", "oid": _blob_id(pointer), "size": len(data), "lfs": lfs, "path": path}


def _blob_id(data: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()  # noqa: S324 - git's


def _stamp(when: datetime) -> str:
    return when.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z")
