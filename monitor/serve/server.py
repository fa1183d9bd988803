"""Runs a web application on a socket until somebody ends it."""

from __future__ import annotations

import asyncio
import socket
from typing import TYPE_CHECKING

import uvicorn

from monitor.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.types import ASGIApp

_PATIENCE_S = 5  # for answers that are on their way when somebody ends it


def listen(host: str, port: int) -> socket.socket:
    """Return a bound socket; port 0 is any that is free. Raises UsageError where it cannot be had."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        bound = socket.create_server((host, port), family=family, backlog=128)
    except (OSError, OverflowError) as error:
        raise UsageError(
            f"{host} port {port} cannot be listened on: {error}", hint="name others with --host and --port"
        ) from None
    return bound


def serve_until_stopped(app: ASGIApp, bound: socket.socket, *, ready: Callable[[], None]) -> None:
    """Answer until SIGTERM or Ctrl-C; what is on its way then is finished first."""
    settings = uvicorn.Config(
        app,
        log_level="warning",
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=_PATIENCE_S,
        lifespan="off",
    )
    asyncio.run(_Server(settings, ready).serve([bound]))


class _Server(uvicorn.Server):
    """Tells when it answers: who waits for the port would have to ask again and again."""

    def __init__(self, settings: uvicorn.Config, ready: Callable[[], None]) -> None:
        super().__init__(settings)
        self._ready = ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._ready()
