"""Two pictures without a meaning, drawn by the standard library alone: the same bytes everywhere."""

from __future__ import annotations

import struct
import zlib
from typing import NamedTuple

_SIDE = 112  # a multiple of the usual patches, 14 and 16


class Picture(NamedTuple):
    width: int
    height: int
    rgb: bytes

    def png(self) -> bytes:
        """Return the picture as a PNG file."""
        rows = b"".join(b"\0" + self.rgb[at : at + 3 * self.width] for at in range(0, len(self.rgb), 3 * self.width))
        header = struct.pack(">IIBBBBB", self.width, self.height, 8, 2, 0, 0, 0)
        chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b""))
        return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(kind, data) for kind, data in chunks)


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def _drawn(red: int, green: int, blue: int, tile: int) -> Picture:
    """Return a chequered picture whose colours fade from the top to the bottom and from the left to the right."""
    pixels = bytearray()
    for row in range(_SIDE):
        for column in range(_SIDE):
            light = 255 if (row // tile + column // tile) % 2 else 64
            pixels += bytes((red * light // 255, green * row // _SIDE, blue * column // _SIDE))
    return Picture(_SIDE, _SIDE, bytes(pixels))


FIRST, SECOND = _drawn(240, 60, 30, 16), _drawn(20, 200, 250, 28)
