"""Answers over HTTP whether the daemon lives, what it waits for, and with its figures for Prometheus."""

from __future__ import annotations

import http.server
import json
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

from monitor.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from monitor.daemon.heartbeat import Pulse

_SECONDS = 10  # a client that says nothing keeps no thread for longer
_OK, _NOT_FOUND, _UNAVAILABLE = 200, 404, 503
PLAIN, JSON = "text/plain; charset=utf-8", "application/json"
_PROMETHEUS = "text/plain; version=0.0.4; charset=utf-8"


@contextmanager
def serve_health(listen: str, pulse: Pulse, metrics: Callable[[], bytes]) -> Iterator[str]:
    """Serve `/healthz` and `/metrics` in a thread; yield the address, "" where ``listen`` is and nothing is served.

    Raises ConfigError when nobody can listen there.
    """
    if not listen:
        yield ""
        return
    host, _, port = listen.rpartition(":")
    try:
        server = _Server((host.strip("[]"), int(port)), _answering(pulse, metrics))
    except OSError as error:
        raise ConfigError(
            f"nobody can listen at {listen}: {error.strerror}", hint='set daemon.listen to another, or to "" for none'
        ) from None
    thread = threading.Thread(target=server.serve_forever, args=(0.1,), name="health", daemon=True)
    thread.start()
    try:
        shown = f"[{host.strip('[]')}]" if ":" in host else host
        yield f"http://{shown}:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def health_of(pulse: Pulse) -> tuple[int, bytes]:
    """Return the status and the JSON of `/healthz`: 503 when the daemon has been silent for too long."""
    last = pulse.heartbeat
    status = "stale" if pulse.stale else "ok" if last else "starting"
    told = {
        "status": status,
        "age_seconds": round(pulse.age_s, 1),
        "tick": last.tick if last else 0,
        "last_tick": last.at.isoformat() if last else None,
        "waiting_for": last.waiting_for if last else "",
        "jobs_done": dict(last.jobs_done) if last else {},
        "last_fault": last.last_fault if last else "",
    }
    return _UNAVAILABLE if pulse.stale else _OK, json.dumps(told).encode() + b"\n"


class _Server(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, address: tuple[str, int], handler: type[http.server.BaseHTTPRequestHandler]) -> None:
        if ":" in address[0]:
            import socket

            self.address_family = socket.AF_INET6
        super().__init__(address, handler)

    def handle_error(self, *_: object) -> None:
        """Say nothing of a client that went away: the log is the daemon's."""


def _answering(pulse: Pulse, metrics: Callable[[], bytes]) -> type[http.server.BaseHTTPRequestHandler]:
    class Answering(http.server.BaseHTTPRequestHandler):
        timeout = _SECONDS

        def do_GET(self) -> None:
            path = self.path.partition("?")[0]
            if path == "/healthz":
                self._say(*health_of(pulse), JSON)
            elif path == "/metrics":
                self._say(_OK, metrics(), _PROMETHEUS)
            else:
                self._say(_NOT_FOUND, b"there are /healthz and /metrics\n", PLAIN)

        do_HEAD = do_GET  # noqa: N815 - the name the server calls

        def _say(self, status: int, body: bytes, kind: str) -> None:
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the server's own name
            pass

    return Answering
