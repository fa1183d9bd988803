"""A socket in front of the engine's that can be cut and mended: an engine that dies without anybody being killed."""

from __future__ import annotations

import contextlib
import select
import socket
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

SOCKET = "/var/run/docker.sock"


class Proxy:
    def __init__(self, path: Path) -> None:
        self.path = path
        self._whole = True
        self._open: list[socket.socket] = []
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(path))
        self._listener.listen()
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                here, _ = self._listener.accept()
                if not self._whole:
                    here.close()
                    continue
                there = socket.socket(socket.AF_UNIX)
                there.connect(SOCKET)
                self._open += [here, there]
                threading.Thread(target=_pump, args=(here, there), daemon=True).start()

    def cut(self) -> None:
        self._whole = False
        for end in self._open:
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def mend(self) -> None:
        self._whole = True

    def close(self) -> None:
        self.cut()
        self._listener.close()


def _pump(here: socket.socket, there: socket.socket) -> None:
    other = {here: there, there: here}
    with here, there, contextlib.suppress(OSError, ValueError):
        while True:
            for ready in select.select([here, there], [], [])[0]:
                data = ready.recv(1 << 16)
                if not data:
                    return
                other[ready].sendall(data)
