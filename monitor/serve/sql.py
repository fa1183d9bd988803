"""Datasette on the history: read-only, with the questions people ask most, and the schema's own words beside them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from datasette import hookimpl
from datasette.app import Datasette
from datasette.plugins import pm

from monitor.store.queries import bound_stranger
from monitor.store.questions import QUESTIONS
from monitor.store.schema import described

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from starlette.types import ASGIApp, Receive, Scope, Send

PATIENCE_MS = 5_000
MOST_ROWS = 2_000
_SETTINGS = {
    "sql_time_limit_ms": PATIENCE_MS,
    "max_returned_rows": MOST_ROWS,
    "allow_download": False,  # a file that is being written is no copy; `settle backup` makes one
    "suggest_facets": False,  # each would be a question over millions of rows that nobody has asked
    "default_cache_ttl": 0,
}


_Hook = TypeVar("_Hook", bound="Callable[..., object]")


def _hook(found: _Hook) -> _Hook:
    """Return what Datasette's mark returns, which comes without types."""
    marked: _Hook = hookimpl(found)
    return marked


class _Bounded:
    """Bounds what a stranger's SQL may have in memory; its time is bounded by Datasette itself."""

    @staticmethod
    @_hook
    def prepare_connection(conn: Any, database: str) -> None:
        if database == "_internal":  # Datasette's own notes, in memory
            return
        bound_stranger(conn)


def history_app(database: Path, *, base: str) -> ASGIApp:
    """Return the pages of ``database`` under ``base`` ("/sql/"), which cannot write to it."""
    if not pm.has_plugin("settle"):
        pm.register(_Bounded, "settle")
    from datasette import handle_exception  # not before its own plugins are there, of which it is one

    handle_exception.rich = None  # it would print a page of locals for everybody's slip in SQL
    own = Datasette([str(database)], settings={**_SETTINGS, "base_url": base}, metadata=_words(database.stem))
    return _without(base.rstrip("/"), own.app())


def _without(base: str, app: ASGIApp) -> ASGIApp:
    """Return the application as it wants to be asked: it adds the base to its links, and would add it twice."""

    async def asked(scope: Scope, receive: Receive, send: Send) -> None:
        path, raw = scope["path"].removeprefix(base), scope["raw_path"].removeprefix(base.encode())
        await app({**scope, "path": path, "raw_path": raw}, receive, send)

    return asked


def _words(name: str) -> dict[str, Any]:
    tables = {
        one.name: {
            "description": one.meaning,
            "columns": {column.name: column.meaning for column in one.columns if column.meaning},
            "hidden": one.is_inner,
        }
        for one in described()
    }
    queries = {one.name: {"title": one.title, "sql": one.sql, "hide_sql": False} for one in QUESTIONS}
    return {
        "title": "Settle: the history as SQL",
        "description": "Read-only, and as it is now. The views current, history, matrix and by_release answer most.",
        "databases": {name: {"tables": tables, "queries": queries}},
    }
