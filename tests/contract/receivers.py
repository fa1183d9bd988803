"""A real SMTP server and a real webhook receiver that keep what they get, and call a hook at each point on the way."""

from __future__ import annotations

import email
import email.policy
import http.server
import json
import threading
from collections import defaultdict
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from email.message import EmailMessage


@dataclass
class Received:
    """What came in. ``hook`` is called with the point that is reached, and may answer with a status of its own."""

    port: int = 0
    posts: dict[str, list[dict[str, Any]]] = field(default_factory=lambda: defaultdict(list))  # by path
    mails: list[EmailMessage] = field(default_factory=list)
    hook: Callable[[str], int | None] = lambda _: None

    @property
    def titles(self) -> list[str]:
        return [str(one["subject"]) for one in self.mails] + [
            str(one["title"]) for posts in self.posts.values() for one in posts
        ]


@contextmanager
def webhook() -> Iterator[Received]:
    received = Received()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            received.hook("asked")
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            status = received.hook("read") or 200
            if status == 200:
                received.posts[self.path].append(body)
            received.hook("kept")
            self.send_response(status)
            self.send_header("Content-Length", "0")
            self.end_headers()
            self.wfile.flush()
            received.hook("answered")

        def log_message(self, *_: object) -> None:
            pass

    class Server(http.server.ThreadingHTTPServer):
        def handle_error(self, *_: object) -> None:
            pass  # whoever asked was killed

    with Server(("127.0.0.1", 0), Handler) as server:
        received.port = server.server_address[1]
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        yield received
        server.shutdown()
        thread.join()


@contextmanager
def mail_server() -> Iterator[Received]:
    received = Received()

    class Keeping:
        async def handle_MAIL(self, _server: Any, _session: Any, envelope: Any, address: str, _options: Any) -> str:  # noqa: N802 - aiosmtpd's
            received.hook("MAIL")
            envelope.mail_from = address
            return "250 OK"

        async def handle_RCPT(self, _server: Any, _session: Any, envelope: Any, address: str, _options: Any) -> str:  # noqa: N802
            status = received.hook("RCPT")
            if status:
                return f"{status} no such mailbox"
            envelope.rcpt_tos.append(address)
            return "250 OK"

        async def handle_DATA(self, _server: Any, _session: Any, envelope: Any) -> str:  # noqa: N802
            received.hook("read")
            message = email.message_from_bytes(envelope.content, policy=email.policy.default)
            received.mails.append(message)
            received.hook("kept")
            return "250 OK"

        async def handle_QUIT(self, _server: Any, _session: Any, _envelope: Any) -> str:  # noqa: N802
            received.hook("answered")
            return "221 Bye"

        async def handle_EHLO(self, _server: Any, session: Any, _envelope: Any, name: str, options: Any) -> Any:  # noqa: N802
            received.hook("asked")
            session.host_name = name
            return options

    class Free(Controller):
        def factory(self) -> SMTP:
            return SMTP(self.handler, hostname="localhost")

    controller = Free(Keeping(), hostname="127.0.0.1", port=_free_port())
    controller.start()
    received.port = controller.port
    try:
        yield received
    finally:
        controller.stop()


def _free_port() -> int:
    import socket

    with socket.create_server(("127.0.0.1", 0)) as found:
        return int(found.getsockname()[1])
