"""A local checkpoint folder as a subject: a model can be probed before it is public."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from monitor.domain import Model, ModelKind, Subject, SubjectForm, folder_id
from monitor.errors import NotACheckpoint
from monitor.subjects.made_folder import made_of
from monitor.subjects.shown_files import ShownFiles, shown_files

if TYPE_CHECKING:
    from pathlib import Path

_WEIGHTS = ("*.safetensors", "*.bin", "*.pt", "*.pth", "*.gguf")
_GGUF_BYTES = 1 << 16  # the architecture is the first of a file's entries
_READ_WHOLE_BYTES = 1 << 20


def folder_subject(folder: Path) -> tuple[Model, Subject]:
    """Describe a local checkpoint. Raises NotACheckpoint without weights, or anything that describes them."""
    folder = folder.resolve()
    ggufs = sorted(folder.glob("*.gguf"))
    only_gguf = bool(ggufs) and not (folder / "config.json").exists()
    config = {"model_type": gguf_architecture(ggufs[0])} if only_gguf else _config(folder)
    weights = [file for pattern in _WEIGHTS for file in folder.glob(pattern)]
    if not weights:
        raise NotACheckpoint(
            f"{folder} holds no weights ({', '.join(_WEIGHTS)})",
            hint="give a folder that from_pretrained can load; `settle miniature` makes one from a config.json",
        )
    shown = shown_files(folder)
    if shown.leading_out:
        raise NotACheckpoint(
            f"{folder / shown.leading_out[0]} is a link to something outside of the folder",
            hint="copy the file: a probe sees nothing but the folder",
        )
    digest = _digest(shown)
    name = folder_id(folder)
    model = Model(
        id=name,
        family=folder.name,
        architecture=str(config.get("model_type", "")),
        kind=ModelKind.MIXTURE if has_experts(config) else ModelKind.DENSE,
    )
    subject = Subject(id=name, model_id=name, form=SubjectForm.FOLDER, architecture=model.architecture, digest=digest)
    if made := made_of(folder):  # its tokenizer and sizes are ours, and may be what fails
        subject = replace(subject, form=SubjectForm.MINIATURE, first_known=made.first_known)
    return model, subject


def _config(folder: Path) -> dict[str, Any]:
    if not folder.is_dir():
        raise NotACheckpoint(f"there is no folder {folder}", hint="give a model's name or a checkpoint folder")
    file = folder / "config.json"
    if not file.is_file():  # reading a pipe might never end
        raise NotACheckpoint(
            f"{folder} is not a checkpoint: it has no config.json", hint="give a folder that from_pretrained can load"
        )
    try:
        config = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise NotACheckpoint(f"{file} cannot be read: {error}", hint="it must be a JSON object in UTF-8") from None
    if not isinstance(config, dict):
        raise NotACheckpoint(f"{file} is {type(config).__name__}, not a JSON object", hint="compare a published one")
    return config


def gguf_architecture(file: Path) -> str:
    """Return the architecture that a GGUF file names first, "" where it does not."""
    with file.open("rb") as stream:
        head = stream.read(_GGUF_BYTES)
    match = re.match(rb"GGUF.{20}\x14\0{7}general\.architecture\x08\0{3}(.)\0{7}", head, re.DOTALL)
    if match is None:
        return ""
    name = head[match.end() : match.end() + match[1][0]].decode("utf-8", "replace")
    return name if name.isprintable() else ""


def _digest(shown: ShownFiles) -> str:
    """Digest what a probe sees: small files by content, weights by size and time, as hashing them takes too long."""
    digest = hashlib.sha256("\0".join(shown.withheld).encode())
    for name, file in shown.files.items():
        facts = file.stat()
        digest.update(f"{name}\0{facts.st_size}\0".encode())
        digest.update(file.read_bytes() if facts.st_size <= _READ_WHOLE_BYTES else str(facts.st_mtime_ns).encode())
    return digest.hexdigest()


def has_experts(config: dict[str, Any]) -> bool:
    parts = [config, *(part for part in config.values() if isinstance(part, dict))]
    return any(
        "expert" in key and isinstance(value, int) and value > 1 for part in parts for key, value in part.items()
    )
