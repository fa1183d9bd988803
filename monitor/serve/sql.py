"""Datasette on the history: read-only, with ready queries and the descriptions of the schema."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from datasette import hookimpl
from datasette.app import Datasette
from datasette.plugins import pm

from monitor.store.example_queries import EXAMPLE_QUERIES
from monitor.store.opening import is_read_only
from monitor.store.queries import bound_stranger
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
    "allow_download": False,  # the file is being written; `settle backup` makes a consistent copy
    "suggest_facets": False,  # each suggestion would query millions of rows
    "default_cache_ttl": 0,
}


_Hook = TypeVar("_Hook", bound="Callable[..., object]")


def _hook(function: _Hook) -> _Hook:
    marked: _Hook = hookimpl(function)  # it has no types
    return marked


class _Bounded:
    """Bounds the memory of a visitor's SQL; Datasette itself bounds its time."""

    @staticmethod
    @_hook
    def prepare_connection(conn: Any, database: str) -> None:
        if database == "_internal":  # Datasette's internal database, in memory
            return
        bound_stranger(conn)


def history_app(database: Path, *, base: str) -> ASGIApp:
    """Return the pages of ``database`` under ``base`` ("/sql/"), which cannot write to it."""
    if not pm.has_plugin("settle"):
        pm.register(_Bounded, "settle")
    from datasette import handle_exception  # a plugin of Datasette's, so it is there only after the others

    handle_exception.rich = None  # it would print a page of local variables for every error in SQL
    kind = "immutables" if is_read_only(database.parent) else "files"
    settings = {**_SETTINGS, "base_url": base}
    datasette = Datasette(**{kind: [str(database)]}, settings=settings, metadata=_metadata(database.stem))
    return _without(base.rstrip("/"), datasette.app())


def _without(base: str, app: ASGIApp) -> ASGIApp:
    """Return the application behind the base path, which Datasette adds to its links by itself."""

    async def asked(scope: Scope, receive: Receive, send: Send) -> None:
        path, raw = scope["path"].removeprefix(base), scope["raw_path"].removeprefix(base.encode())
        await app({**scope, "path": path, "raw_path": raw}, receive, send)

    return asked


def _metadata(name: str) -> dict[str, Any]:
    tables = {
        table.name: {
            "description": table.meaning,
            "columns": {column.name: column.meaning for column in table.columns if column.meaning},
            "hidden": table.is_inner,
        }
        for table in described()
    }
    queries = {query.name: {"title": query.title, "sql": query.sql, "hide_sql": False} for query in EXAMPLE_QUERIES}
    return {
        "title": "Settle: the history as SQL",
        "description": "Read-only and live. The views current, history, matrix and by_release answer most questions.",
        "databases": {name: {"tables": tables, "queries": queries}},
    }
