"""Numbers with few bits as files hold them: FP8, FP4 and four-bit integers, with scales that are powers of two."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

E2M1 = (0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0)
E4M3 = tuple(
    (mantissa / 8 if not exponent else 1 + mantissa / 8) * 2.0 ** (max(exponent, 1) - 7)
    for exponent in range(16)
    for mantissa in range(8)
)[:-1]  # the last is no number
MX_BLOCK = 32
_INT4_MAX, _EXPONENT_BIAS, _HALF_BITS = 7, 127, 16
_TYPES = {"F32": "<f4", "F16": "<f2", "I64": "<i8", "I32": "<i4", "U8": "|u1"}


class Part(NamedTuple):
    """A tensor as a file holds it; ``dtype`` is the format's own word."""

    dtype: str
    shape: tuple[int, ...]
    content: bytes


def part(dtype: str, values: Any) -> Part:
    return Part(dtype, tuple(values.shape), to_bytes(dtype, values))


def numbers(dtype: str, content: bytes) -> Any:
    """Return the values of a plain tensor as float32."""
    import numpy as np

    if dtype == "BF16":
        halves = np.frombuffer(content, dtype="<u2").astype("<u4")
        return (halves << _HALF_BITS).view("<f4")
    return np.frombuffer(content, dtype=_TYPES[dtype]).astype("<f4")


def to_bytes(dtype: str, values: Any) -> bytes:
    """Return values as a file holds them; what becomes BF16 is exact there."""
    import numpy as np

    if dtype == "BF16":
        bits = np.ascontiguousarray(values, dtype="<f4").view("<u4")
        return bytes((bits >> _HALF_BITS).astype("<u2").tobytes())
    return bytes(np.ascontiguousarray(values).astype(_TYPES[dtype]).tobytes())


def scales(weight: Any, rows: int, columns: int, largest: float) -> Any:
    """Return for each block a power of two with which its values are at most ``largest``; the last may be cut off.

    Weights of one distribution have alike scales; so some are larger than they must be, or a runtime that mixes up the
    scales of blocks would not show.
    """
    import numpy as np

    high, wide = (-(-size // block) for size, block in zip(weight.shape, (rows, columns)))
    padded = np.zeros((high * rows, wide * columns), dtype="<f4")
    padded[: weight.shape[0], : weight.shape[1]] = np.abs(weight)
    most = padded.reshape(high, rows, wide, columns).max(axis=(1, 3))
    most[most == 0] = largest
    row, column = np.indices(most.shape)
    return (2.0 ** (np.ceil(np.log2(most / largest)) + (5 * row + 3 * column + row * column) % 3)).astype("<f4")


def spread(scale: Any, rows: int, columns: int, shape: Sequence[int]) -> Any:
    """Return the scale of each value."""
    return scale.repeat(rows, axis=0).repeat(columns, axis=1)[: shape[0], : shape[1]]


def nearest(values: Any, table: Sequence[float]) -> Any:
    """Return the codes of the nearest values in a table of the positive ones; the sign is the bit above."""
    import numpy as np

    steps = np.array(table)
    codes = np.searchsorted((steps[1:] + steps[:-1]) / 2, np.abs(values)).astype("u1")
    sign = 1 << (len(table) - 1).bit_length()
    return codes | (np.signbit(values) & (codes > 0)).astype("u1") * np.uint8(sign)


def decoded(codes: Any, table: Sequence[float]) -> Any:
    """Return the values of codes."""
    import numpy as np

    sign = 1 << (len(table) - 1).bit_length()
    sizes = np.array(table, dtype="<f4")[codes & (sign - 1)]
    return np.where(codes & sign, -sizes, sizes)


def as_fp8(weight: Any, rows: int, columns: int) -> tuple[Any, Any, Any]:
    """Return codes, the scales of blocks, and the values that these mean."""
    scale = scales(weight, rows, columns, E4M3[-1])
    each = spread(scale, rows, columns, weight.shape)
    codes = nearest(weight / each, E4M3)
    return codes, scale, decoded(codes, E4M3) * each


def as_mxfp4(weight: Any) -> tuple[Any, Any, Any]:
    """Return codes, the exponents of blocks as the format stores them, and the values that these mean."""
    import numpy as np

    scale = scales(weight, 1, MX_BLOCK, E2M1[-1])
    each = spread(scale, 1, MX_BLOCK, weight.shape)
    codes = nearest(weight / each, E2M1)
    return codes, (np.log2(scale) + _EXPONENT_BIAS).astype("u1"), decoded(codes, E2M1) * each


def as_int4(weight: Any, group: int) -> tuple[Any, Any, Any]:
    """Return integers from -8 to 7, the scales of groups, and the values that these mean."""
    import numpy as np

    scale = scales(weight, 1, group, _INT4_MAX)
    each = spread(scale, 1, group, weight.shape)
    codes = np.clip(np.rint(weight / each), -_INT4_MAX - 1, _INT4_MAX).astype("<i4")
    return codes, scale, codes * each


def packed(codes: Any, order: Iterable[int]) -> Any:
    """Return eight columns of four bits in one of 32, the column that ``order`` names first in the lowest bits."""
    import numpy as np

    words = np.zeros((codes.shape[0], codes.shape[1] // 8), dtype="<u4")
    for place, column in enumerate(order):
        words |= codes[:, column::8].astype("<u4") << np.uint32(4 * place)
    return words.view("<i4")


def pairs(codes: Any) -> Any:
    """Return two columns of four bits in one byte, the first in the lower half."""
    return codes[:, 0::2] | codes[:, 1::2] << 4


def write_safetensors(path: Path, parts: dict[str, Part]) -> None:
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    place = 0
    for name, (dtype, shape, content) in parts.items():
        header[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": [place, place + len(content)]}
        place += len(content)
    head = json.dumps(header).encode()
    head += b" " * (-len(head) % 8)
    with path.open("wb") as file:
        file.write(struct.pack("<Q", len(head)) + head)
        file.writelines(each.content for each in parts.values())
