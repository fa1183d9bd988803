"""Runs a web application on a socket: until a signal, or in a thread beside other work."""

from __future__ import annotations

import asyncio
import socket
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

import uvicorn

from monitor.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from starlette.types import ASGIApp

_PATIENCE_S = 5  # for answers that are unfinished at the end


def listen(host: str, port: int) -> socket.socket:
    """Return a bound socket; port 0 takes any free one. Raises UsageError where the address is not available."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        bound = socket.create_server((host, port), family=family, backlog=128)
    except (OSError, OverflowError) as error:
        raise UsageError(
            f"cannot listen on {host} port {port}: {error}", hint="choose others with --host and --port"
        ) from None
    return bound


def address_of(bound: socket.socket) -> str:
    host, port, *_ = bound.getsockname()
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"


def serve_until_stopped(app: ASGIApp, bound: socket.socket, *, ready: Callable[[], None]) -> None:
    """Answer until SIGTERM or Ctrl-C; unfinished answers are finished first."""
    asyncio.run(_Server(_settings(app, log_level="warning"), ready).serve([bound]))


@contextmanager
def serve_in_thread(app: ASGIApp, bound: socket.socket) -> Iterator[None]:
    """Answer in a thread until the block ends; nothing is logged, because the log is that of the block."""
    server = uvicorn.Server(_settings(app, log_level="critical"))
    thread = threading.Thread(target=server.run, args=([bound],), name="server", daemon=True)
    thread.start()
    try:
        yield
    finally:
        server.should_exit = True
        thread.join()
        bound.close()  # the server leaves it open when it is ended before it answers


def _settings(app: ASGIApp, *, log_level: str) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        log_level=log_level,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=_PATIENCE_S,
        lifespan="off",
    )


class _Server(uvicorn.Server):
    """Calls ``ready`` once it answers, so that no client has to poll the port."""

    def __init__(self, settings: uvicorn.Config, ready: Callable[[], None]) -> None:
        super().__init__(settings)
        self._ready = ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._ready()
