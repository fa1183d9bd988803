"""Asks a hub with the Hugging Face protocol for models, their commits and their files."""

from __future__ import annotations

import re
import time
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import parse_qsl, quote, urlsplit

from monitor.errors import InfraError, NoAnswer
from monitor.sources.bounds import reading
from monitor.sources.hub_answers import NAME, Commit, HubModel, TreeEntry, parse_item, parse_list, plain
from monitor.sources.hub_http import CHECK, HubConnection

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from pydantic import BaseModel

    from monitor.sources.hub_http import HubAccess, HubAnswer, Stream

    Item = TypeVar("Item", bound=BaseModel)

# the list route refuses the number of derived models, which only the route of one model has
LIST_FIELDS = (
    *("sha", "createdAt", "gated", "private", "disabled", "pipeline_tag", "tags", "downloads", "likes"),
    *("safetensors", "config"),
)
MODEL_FIELDS = (*LIST_FIELDS, "childrenModelCount")

_OK, _UNAUTHORISED, _NO_SUCH_RANGE = 200, 401, 416
_PAGES = 50
_PAGE = 100
_LIST_BYTES = 64 << 20  # of all pages together
_LIST_S = 300.0
_NO_SUCH_TOKEN = "Invalid credentials in Authorization header"  # noqa: S105 - the message of the hub


@dataclass(frozen=True, slots=True)
class Renamed:
    """The model has another name now."""

    to: str


@dataclass(frozen=True, slots=True)
class Gone:
    """The model does not exist or is private now."""


@dataclass(frozen=True, slots=True)
class Refused:
    """A file that may not be read, with the reason."""

    reason: str


@dataclass(frozen=True, slots=True)
class OpenedFile:
    """A file's bytes from ``start`` on."""

    start: int
    chunks: Iterator[bytes]


class HubClient:
    """A connection to a hub. Every method raises InfraError when the hub does not answer as it should."""

    def __init__(
        self,
        access: HubAccess,
        *,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._client = HubConnection(access, now=now, sleep=sleep)
        self.close = self._client.close

    def models_of(self, organisation: str) -> tuple[list[HubModel], list[str]]:
        """Return an organisation's models, latest created first, and the problems of entries that cannot be used."""
        query = [("author", organisation), ("sort", "createdAt"), ("limit", str(_PAGE))]
        return self._list("api/models", query + [("expand", word) for word in LIST_FIELDS], HubModel)

    def model(self, name: str) -> HubModel | Renamed | Gone:
        answer = self._client.ask(f"api/models/{_name(name)}", [("expand", word) for word in MODEL_FIELDS])
        if answer.status in {301, 302, 303, 307, 308}:
            with reading(f"where {name} is now", hint=CHECK):
                return Renamed(_name(urlsplit(answer.headers.get("location", "")).path.partition("/api/models/")[2]))
        if _says_gone(answer):
            return Gone()
        self._check(answer, name)
        with reading(f"the hub's answer about {name}", hint=CHECK):
            try:
                model = parse_item(answer.body, HubModel)
            except ValueError as error:
                raise InfraError(f"the hub's answer about {name} cannot be used: {error}", hint=CHECK) from None
        return model if model.id == name else Renamed(model.id)

    def commits(self, name: str, revision: str) -> list[Commit]:
        """Return the commits that lead to a revision, newest first."""
        return self._list(f"api/models/{_name(name)}/commits/{quote(revision)}", [], Commit)[0]

    def tree(self, name: str, revision: str) -> list[TreeEntry]:
        path = f"api/models/{_name(name)}/tree/{quote(revision)}"
        entries, problems = self._list(path, [("recursive", "true"), ("expand", "false")], TreeEntry)
        if problems:  # an incomplete tree would look like a change
            raise InfraError(f"the hub's list of {name}'s files cannot be used: {problems[0][:300]}")
        return [entry for entry in entries if entry.type == "file"]

    def file(self, name: str, revision: str, path: str, *, limit: int) -> bytes | Refused:
        """Return the bytes of a small file, or why it may not be read."""
        stream, body = self._client.file(_file(name, revision, path), limit)
        if isinstance(answer := _opened(stream, 0, path, name), Refused):
            return answer
        return Refused(f"{path} is larger than {limit} bytes") if len(body) > limit else body

    def piece(self, name: str, revision: str, path: str, *, start: int, size: int) -> bytes | Refused:
        """Return at most ``size`` bytes of a file from ``start`` on, or why it may not be read."""
        stream, body = self._client.piece(_file(name, revision, path), start, size)
        if stream.status == _NO_SUCH_RANGE:
            return b""
        answer = _opened(stream, start, path, name)
        return answer if isinstance(answer, Refused) else body

    @contextmanager
    def open(self, name: str, revision: str, path: str, *, start: int = 0) -> Iterator[OpenedFile | Refused]:
        """Open a file, from ``start`` on where the server supports it."""
        with self._client.open(_file(name, revision, path), start=start) as stream:
            yield _opened(stream, start, path, name)

    def _list(self, path: str, query: Sequence[tuple[str, str]], kind: type[Item]) -> tuple[list[Item], list[str]]:
        items: list[Item] = []
        problems: list[str] = []
        size, until = 0, time.monotonic() + _LIST_S
        for _ in range(_PAGES):
            answer = self._client.ask(path, query)
            self._check(answer, path)
            with reading(f"the hub's answer to {path}", hint=CHECK):
                page, page_problems = _page_of(answer, path, kind)
            items += page
            problems += page_problems
            size += len(answer.body)
            if not answer.following:
                return items, problems
            if time.monotonic() > until:
                raise NoAnswer(f"the hub takes longer than {_LIST_S:g} s for {path}")
            if size > _LIST_BYTES:
                return items, [*problems, f"only the first {_LIST_BYTES >> 20} MiB of {path} were read"]
            # only the query of the link is used: another address would get the token
            query = parse_qsl(answer.following)
        return items, [*problems, f"only the first {_PAGES} pages of {path} were read"]

    @staticmethod
    def _check(answer: HubAnswer, about: str) -> None:
        if answer.status == _OK:
            return
        message = plain(answer.headers.get("x-error-message", ""))[:200]
        if message == _NO_SUCH_TOKEN:
            raise InfraError("the hub does not know this token", hint="renew the token in [hub], HF_TOKEN or its file")
        raise InfraError(f"the hub answers {answer.status} to {about}{': ' if message else ''}{message}", hint=CHECK)


def _name(name: str) -> str:
    if not re.fullmatch(NAME, name):
        raise InfraError(f"{name!r} is no name of a model", hint="write it as organisation/name")
    return name


def _page_of(answer: HubAnswer, path: str, kind: type[Item]) -> tuple[list[Item], list[str]]:
    try:
        return parse_list(answer.body, kind)
    except ValueError as error:
        raise InfraError(f"the hub's answer to {path} is no list: {str(error)[:200]}", hint=CHECK) from None


def _file(name: str, revision: str, path: str) -> str:
    return f"{_name(name)}/resolve/{quote(revision)}/{quote(path)}"


def _opened(stream: Stream, start: int, path: str, name: str) -> OpenedFile | Refused:
    match stream.status:
        case 200:
            return OpenedFile(0, stream.chunks)
        case 206 if stream.headers.get("content-range", "").startswith(f"bytes {start}-"):
            return OpenedFile(start, stream.chunks)
        case 401 | 403 | 404:
            return Refused(_reason(stream, path))
        case status:
            raise InfraError(f"the hub answers {status} to {path} of {name}", hint=CHECK)


def _says_gone(answer: HubAnswer) -> bool:
    """Return whether the hub itself says that there is no such model: a proxy's 404 has none of its headers.

    Without a token the hub answers 401 for a private model and for one that does not exist, the same for both.
    """
    message = answer.headers.get("x-error-message", "")
    if message == _NO_SUCH_TOKEN:
        return False
    unauthorised = answer.status == _UNAUTHORISED and bool(message)
    return unauthorised or answer.headers.get("x-error-code", "") == "RepoNotFound"


def _reason(stream: Stream, path: str) -> str:
    code = stream.headers.get("x-error-code", "")
    if code == "GatedRepo" or stream.status in {401, 403}:
        return "gated: its files cannot be read with this token" if code == "GatedRepo" else "its files cannot be read"
    return f"there is no {path}"
