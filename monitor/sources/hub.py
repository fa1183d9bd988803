"""Asks a model hub that speaks the Hugging Face protocol: what is published, its commits, its files."""

from __future__ import annotations

import re
import time
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import parse_qsl, quote, urlsplit

from monitor.errors import InfraError
from monitor.sources.hub_wire import CHECK, Wire, bounded
from monitor.sources.published import NAME, Commit, Published, TreeEntry, parse_list, parse_one

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from pydantic import BaseModel

    from monitor.sources.hub_wire import Answer, HubAccess, Stream

    Item = TypeVar("Item", bound=BaseModel)

# the list route refuses the number of derived models, which only a model's own page tells
LISTED = (
    *("sha", "createdAt", "gated", "private", "disabled", "pipeline_tag", "tags", "downloads", "likes"),
    *("safetensors", "config"),
)
OWN = (*LISTED, "childrenModelCount")

_OK, _UNAUTHORISED = 200, 401
_PAGES = 50
_PAGE = 100
_NO_SUCH_TOKEN = "Invalid credentials in Authorization header"  # noqa: S105 - the hub's own words


@dataclass(frozen=True, slots=True)
class Moved:
    """The model is called otherwise now."""

    to: str


@dataclass(frozen=True, slots=True)
class Gone:
    """There is no such model for us: deleted, or made private."""


@dataclass(frozen=True, slots=True)
class Refused:
    """A file that may not be read, and why."""

    why: str


@dataclass(frozen=True, slots=True)
class Opened:
    """A file's bytes from ``start`` on."""

    start: int
    chunks: Iterator[bytes]


class Hub:
    """One conversation with a hub. Everything raises BenchError when the hub does not answer as it should."""

    def __init__(
        self,
        access: HubAccess,
        *,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._wire = Wire(access, now=now, sleep=sleep)
        self.close = self._wire.close

    def models_of(self, organisation: str) -> tuple[list[Published], list[str]]:
        """Return an organisation's models, latest created first, and what of the answer could not be used."""
        query = [("author", organisation), ("sort", "createdAt"), ("limit", str(_PAGE))]
        return self._list("api/models", query + [("expand", word) for word in LISTED], Published)

    def model(self, name: str) -> Published | Moved | Gone:
        answer = self._wire.ask(f"api/models/{_name(name)}", [("expand", word) for word in OWN])
        if answer.status in {301, 302, 303, 307, 308}:
            return Moved(_new_name(answer.headers.get("location", "")))
        if _says_gone(answer):
            return Gone()
        found = self._parsed(answer, name)
        return found if found.id == name else Moved(found.id)

    def commits(self, name: str, revision: str) -> list[Commit]:
        """Return the commits that lead to a revision, newest first."""
        return self._list(f"api/models/{_name(name)}/commits/{quote(revision)}", [], Commit)[0]

    def tree(self, name: str, revision: str) -> list[TreeEntry]:
        path = f"api/models/{_name(name)}/tree/{quote(revision)}"
        found, wrong = self._list(path, [("recursive", "true"), ("expand", "false")], TreeEntry)
        if wrong:  # a tree with holes would read as a change
            raise InfraError(f"the hub's list of {name}'s files cannot be used: {wrong[0][:300]}")
        return [entry for entry in found if entry.type == "file"]

    def file(self, name: str, revision: str, path: str, *, limit: int) -> bytes | Refused:
        """Return a small file's bytes, or why it may not be read."""
        with self.open(name, revision, path) as opened:
            if isinstance(opened, Refused):
                return opened
            body = b"".join(bounded(opened.chunks, limit))
        return Refused(f"{path} is larger than {limit} bytes") if len(body) > limit else body

    @contextmanager
    def open(self, name: str, revision: str, path: str, *, start: int = 0) -> Iterator[Opened | Refused]:
        """Open a file, from a byte on where the server can do that."""
        with self._wire.open(f"{_name(name)}/resolve/{quote(revision)}/{quote(path)}", start=start) as stream:
            match stream.status:
                case 200:
                    yield Opened(0, stream.chunks)
                case 206 if stream.headers.get("content-range", "").startswith(f"bytes {start}-"):
                    yield Opened(start, stream.chunks)
                case 401 | 403 | 404:
                    yield Refused(_why(stream, path))
                case status:
                    raise InfraError(f"the hub answers {status} to {path} of {name}", hint=CHECK)

    def _list(self, path: str, query: Sequence[tuple[str, str]], kind: type[Item]) -> tuple[list[Item], list[str]]:
        found: list[Item] = []
        wrong: list[str] = []
        for _ in range(_PAGES):
            answer = self._wire.ask(path, query)
            self._check(answer, path)
            try:
                items, troubles = parse_list(answer.body, kind)
            except ValueError as error:
                raise InfraError(f"the hub's answer to {path} is no list: {str(error)[:200]}", hint=CHECK) from None
            found += items
            wrong += troubles
            if not answer.following:
                return found, wrong
            # only the question is taken from the link: the address stays ours, and with it whom the token is shown
            query = parse_qsl(answer.following)
        return found, [*wrong, f"only the first {_PAGES} pages of {path} were read"]

    def _parsed(self, answer: Answer, name: str) -> Published:
        self._check(answer, name)
        try:
            return parse_one(answer.body, Published)
        except ValueError as error:
            raise InfraError(f"the hub's answer about {name} cannot be used: {error}", hint=CHECK) from None

    @staticmethod
    def _check(answer: Answer, about: str) -> None:
        if answer.status == _OK:
            return
        said = answer.headers.get("x-error-message", "")[:200]
        if said == _NO_SUCH_TOKEN:
            raise InfraError("the hub does not know this token", hint="renew the token in [hub], HF_TOKEN or its file")
        raise InfraError(f"the hub answers {answer.status} to {about}{': ' if said else ''}{said}", hint=CHECK)


def _name(name: str) -> str:
    if not re.fullmatch(NAME, name):
        raise InfraError(f"{name!r} is no name of a model", hint="it is written as organisation/name")
    return name


def _new_name(location: str) -> str:
    return _name(urlsplit(location).path.partition("/api/models/")[2])


def _says_gone(answer: Answer) -> bool:
    """Tell a model that is not there from a server that only fails to find it: the hub says so in words of its own.

    To a stranger it answers 401 for what is private and for what does not exist, the same for both.
    """
    said = answer.headers.get("x-error-message", "")
    if said == _NO_SUCH_TOKEN:
        return False
    return answer.headers.get("x-error-code", "") == "RepoNotFound" or (answer.status == _UNAUTHORISED and bool(said))


def _why(stream: Stream, path: str) -> str:
    code = stream.headers.get("x-error-code", "")
    if code == "GatedRepo" or stream.status in {401, 403}:
        return "gated: its files cannot be read with this token" if code == "GatedRepo" else "its files cannot be read"
    return f"there is no {path}"
