"""Servers that drip, flood or never end an answer are left in time, at the wire."""

from __future__ import annotations

import socket
import threading
import time
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from containers.settings import InstallSettings
from monitor.errors import InfraError, NoAnswer
from monitor.sources.hub import HubClient
from monitor.sources.hub_http import HubAccess, HubConnection
from monitor.sources.web import fetch

if TYPE_CHECKING:
    from collections.abc import Iterator

NOW = datetime(2026, 4, 10, 12, tzinfo=UTC)
SHORT_S = 0.6
# what is sent at once, and what is sent again and again after it
HEADERS = (b"HTTP/1.1 200 OK\r\n", b"X: y\r\n")
CONTINUE = (b"", b"HTTP/1.1 100 Continue\r\n\r\n")
BODY = (b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n", b" ")
GZIP = (b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\n\x1f\x8b\x08\x08\x00\x00\x00\x00\x00\x03", b"a")
CHUNKS = (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\n \r\n")


@contextmanager
def dripping(first: bytes, then: bytes, *, pause_s: float = 0.05) -> Iterator[str]:
    """Serve every connection with a beginning, and with a little more again and again."""
    listener = socket.create_server(("127.0.0.1", 0))
    over = threading.Event()

    def drip(client: socket.socket) -> None:
        with client:
            try:
                client.recv(1 << 16)
                client.sendall(first)
                while not over.wait(pause_s):
                    client.sendall(then)
            except OSError:
                pass

    def serve() -> None:
        while not over.is_set():
            try:
                client, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=drip, args=(client,), daemon=True).start()

    threading.Thread(target=serve, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        over.set()
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()


@pytest.mark.parametrize("answer", [HEADERS, CONTINUE, BODY, GZIP, CHUNKS])
def test_an_index_that_drips_is_left(answer: tuple[bytes, bytes]) -> None:
    with dripping(*answer) as url:
        began = time.monotonic()
        with pytest.raises(InfraError, match=f"takes longer than {SHORT_S} s"):
            fetch(f"{url}/simple/", InstallSettings(), seconds=SHORT_S)
        assert time.monotonic() - began < 5


@pytest.mark.parametrize("answer", [HEADERS, CONTINUE, BODY, GZIP, CHUNKS])
def test_a_hub_that_drips_is_left_and_can_be_asked_again(answer: tuple[bytes, bytes]) -> None:
    with dripping(*answer) as url:
        hub = HubConnection(HubAccess(endpoint=url), now=lambda: NOW, sleep=lambda _: None, answer_s=SHORT_S)
        for _ in range(2):
            with pytest.raises(NoAnswer, match=f"takes longer than {SHORT_S} s"):
                hub.ask("api/models", [])
        with pytest.raises(NoAnswer, match=f"takes longer than {SHORT_S} s"):
            hub.file("acme/one/resolve/main/config.json", 1 << 20)
        hub.close()


@pytest.mark.parametrize("answer", [HEADERS, BODY, CHUNKS])
def test_a_large_file_that_drips_is_left(answer: tuple[bytes, bytes]) -> None:
    with dripping(*answer) as url:
        hub = HubConnection(HubAccess(endpoint=url), now=lambda: NOW, sleep=lambda _: None, look_s=SHORT_S)
        with pytest.raises(NoAnswer, match="too slowly"), hub.open("acme/one/resolve/main/model.safetensors") as stream:
            b"".join(stream.chunks)
        hub.close()


def test_a_large_file_that_comes_quickly_takes_as_long_as_it_needs() -> None:
    with dripping(BODY[0], b"x" * (1 << 20), pause_s=0.02) as url:
        hub = HubConnection(HubAccess(endpoint=url), now=lambda: NOW, sleep=lambda _: None, look_s=0.3)
        began, size = time.monotonic(), 0
        with hub.open("acme/one/resolve/main/model.safetensors") as stream:
            for chunk in stream.chunks:
                size += len(chunk)
                if time.monotonic() - began > 1.2:
                    break
        assert size > 5 << 20
        hub.close()


def test_a_hub_of_endless_pages_is_read_to_a_bound() -> None:
    body = b"[" + b",".join([b"0"] * 1000) + b"]"
    lines = ("HTTP/1.1 200 OK", f"Content-Length: {len(body)}", 'Link: </x?cursor=y>; rel="next"', "Connection: close")
    with dripping("\r\n".join([*lines, "", ""]).encode() + body, b"") as url:
        hub = HubClient(HubAccess(endpoint=url), now=lambda: NOW, sleep=lambda _: None)
        models, problems = hub.models_of("acme")
        assert models == []
        assert problems[-1] == "only the first 50 pages of api/models were read"
        assert len(problems) < 1500
        hub.close()
