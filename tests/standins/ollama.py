"""Makes release archives that hold a stand-in for Ollama, and the small GGUF files that it is given."""

from __future__ import annotations

import gzip
import io
import json
import struct
import tarfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

PROGRAM, BESIDE = (Path(__file__).with_name(name) for name in ("serve.py", "serve_v1.py"))
_RAW_BLOCK = 1 << 16


def make_release(folder: Path, version: str, fault: str = "") -> Path:
    """Write the archive as the publisher does: zstd from 0.14.0 on, gzip before."""
    tar = _tar(
        {
            "bin/ollama": PROGRAM.read_bytes(),
            "lib/ollama/serve_v1.py": BESIDE.read_bytes(),
            "lib/ollama/standin.json": json.dumps({"version": version, "fault": fault}).encode(),
            "lib/ollama/cuda_v13/libggml-cuda.so": b"gigabytes in a release",
        }
    )
    new = tuple(map(int, version.partition("-")[0].split("."))) >= (0, 14)
    archive = folder / f"ollama-{version}{'-' + fault if fault else ''}.{'tar.zst' if new else 'tgz'}"
    archive.write_bytes(zstd_frame(tar) if new else gzip.compress(tar, mtime=0))
    return archive


def _tar(files: Mapping[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, content in files.items():
            entry = tarfile.TarInfo(f"./{name}")
            entry.size, entry.mode = len(content), 0o755 if name.startswith("bin/") else 0o644
            archive.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()


def zstd_frame(content: bytes) -> bytes:
    """Wrap bytes as zstd without compressing them: a frame of raw blocks, which every reader takes (RFC 8878, 3.1)."""
    # magic; single segment with a content size of eight bytes; then blocks: last flag, type raw (0), size
    frame = struct.pack("<IBQ", 0xFD2FB528, 0b11100000, len(content))
    pieces = [content[start : start + _RAW_BLOCK] for start in range(0, len(content), _RAW_BLOCK)]
    for number, piece in enumerate(pieces, 1):
        frame += struct.pack("<I", len(piece) << 3 | (number == len(pieces)))[:3] + piece
    return frame


def write_gguf(path: Path, values: Mapping[str, Any]) -> Path:
    """Write a GGUF of version 3 with these values and no tensor."""
    with path.open("wb") as file:
        file.write(b"GGUF" + struct.pack("<IQQ", 3, 0, len(values)))
        for name, value in values.items():
            file.write(_text(name) + _value(value))
    return path


def _text(value: str) -> bytes:
    raw = value.encode()
    return struct.pack("<Q", len(raw)) + raw


def _value(value: Any) -> bytes:
    match value:
        case bool():
            return struct.pack("<I?", 7, value)
        case int():
            return struct.pack("<II", 4, value)
        case float():
            return struct.pack("<If", 6, value)
        case str():
            return struct.pack("<I", 8) + _text(value)
    raise TypeError(f"no value of a GGUF: {value!r}")
