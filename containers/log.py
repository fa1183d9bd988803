"""The head and the tail of an output of any length, in a bounded amount of memory."""

from __future__ import annotations

from collections import deque


class BoundedLog:
    """Keeps the first and the last half of ``limit`` bytes; what fell out of the middle is counted, never stored.

    The head holds what a program announced, the tail how it died: a flood between the two says nothing more.
    """

    def __init__(self, limit: int) -> None:
        self._head = bytearray()
        self._head_limit = limit // 2
        self._tail: deque[bytes] = deque()
        self._tail_bytes = 0
        self._tail_limit = limit - self._head_limit
        self._dropped = 0

    def write(self, chunk: bytes) -> None:
        room = self._head_limit - len(self._head)
        if room > 0:
            self._head += chunk[:room]
            chunk = chunk[room:]
        if not chunk:
            return
        self._tail.append(chunk)
        self._tail_bytes += len(chunk)
        while self._tail_bytes - len(self._tail[0]) >= self._tail_limit:
            gone = len(self._tail.popleft())
            self._tail_bytes -= gone
            self._dropped += gone

    def _cut_tail(self) -> tuple[bytes, int]:
        tail = b"".join(self._tail)
        cut = max(0, len(tail) - self._tail_limit)
        return tail[cut:], self._dropped + cut

    @property
    def dropped_bytes(self) -> int:
        return self._cut_tail()[1]

    def text(self) -> bytes:
        """Return head and tail, with one line between them where bytes were dropped."""
        tail, dropped = self._cut_tail()
        if not dropped:
            return bytes(self._head) + tail
        return bytes(self._head) + f"\n[settle: {dropped} bytes of output dropped here]\n".encode() + tail
