"""The web application: the site's files, the history as SQL, health and metrics."""

from __future__ import annotations

import html
import shlex
from typing import TYPE_CHECKING, Any

from starlette.applications import Starlette
from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse, RedirectResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from starlette.requests import Request
    from starlette.routing import BaseRoute
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

SQL = "/sql/"
_ALWAYS = {
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=()",
}
_NOTHING_ELSE = "object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
# the site's pages have inline styles and no inline scripts
_SITE = "default-src 'none'; img-src 'self' data:; style-src 'self' 'unsafe-inline'; script-src 'self';"
_SITE += f" font-src 'self'; connect-src 'self'; manifest-src 'self'; {_NOTHING_ELSE}"
# Datasette's pages have small inline scripts, and escape what they show
_DATASETTE = "default-src 'none'; img-src 'self' data:; style-src 'self' 'unsafe-inline';"
_DATASETTE += f" script-src 'self' 'unsafe-inline'; connect-src 'self'; {_NOTHING_ELSE}"


def health_routes(health: Callable[[], Mapping[str, Any]], metrics: Callable[[], bytes]) -> list[BaseRoute]:
    """Return /healthz and /metrics; ``health`` and ``metrics`` (Prometheus's text form) are called at each request."""

    def healthz(_: Request) -> Response:
        now = health()
        return JSONResponse(now, 200 if now["well"] else 503, {"cache-control": "no-store"})

    def figures(_: Request) -> Response:
        return PlainTextResponse(metrics(), media_type="text/plain; version=0.0.4")

    return [Route("/healthz", healthz), Route("/metrics", figures)]


def health_app(health: Callable[[], Mapping[str, Any]], metrics: Callable[[], bytes]) -> ASGIApp:
    """Return the application of the daemon, which serves health alone."""
    return Starlette(routes=health_routes(health, metrics))


def web_app(
    site: Path, history: ASGIApp, *, health: Callable[[], Mapping[str, Any]], metrics: Callable[[], bytes]
) -> ASGIApp:
    async def slash(_: Request) -> Response:
        return RedirectResponse(SQL)

    routes = [*health_routes(health, metrics), Route(SQL.rstrip("/"), slash), Mount("/", _Site(site))]
    return _Guarded(Starlette(routes=routes), history)


class _Site:
    """Serves the folder as it is at each request; it may not exist yet."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if (self._folder / "index.html").is_file():
            await StaticFiles(directory=self._folder.resolve(), html=True)(scope, receive, send)
            return
        await HTMLResponse(_not_yet(self._folder), 503, {"retry-after": "60"})(scope, receive, send)


class _Guarded:
    """Sends requests under /sql/ to Datasette, and adds security headers to every answer."""

    def __init__(self, app: ASGIApp, history: ASGIApp) -> None:
        self._app, self._history = app, history

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        of_history = scope["path"].startswith(SQL)
        headers = {**_ALWAYS, "content-security-policy": _DATASETTE if of_history else _SITE}

        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                kept = [
                    (name, value) for name, value in message.get("headers", []) if name.decode().lower() not in headers
                ]
                message["headers"] = [*kept, *((name.encode(), value.encode()) for name, value in headers.items())]
            await send(message)

        if scope["method"] not in {"GET", "HEAD"}:
            await PlainTextResponse("only reading is allowed here\n", 405, {"allow": "GET, HEAD"})(
                scope, receive, guarded
            )
        elif of_history and _about_datasette(scope["path"]):
            await PlainTextResponse("there is no such page\n", 404)(scope, receive, guarded)
        elif of_history:
            await self._history(scope, receive, guarded)
        else:
            await self._app(scope, receive, guarded)


def _about_datasette(path: str) -> bool:
    """Return whether a page is about Datasette itself: paths of files, installed packages."""
    return path.startswith(f"{SQL}-/") and not path.startswith(f"{SQL}-/static/")


def _not_yet(folder: Path) -> str:
    return (
        '<!doctype html><html lang="en"><meta charset="utf-8"><title>Settle</title>'
        "<h1>There is no site yet</h1>"
        f"<p><code>settle site {html.escape(shlex.quote(str(folder)))}</code> makes it, and this page needs no restart."
        f'<p>Meanwhile: <a href="{SQL}">the history as SQL</a>, <a href="/healthz">health</a>.</html>'
    )
