"""What a hub says of models, parsed strictly: everything it sends is a stranger's input."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Annotated, Any, Literal, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, TypeAdapter, ValidationError

_NAME = r"[A-Za-z0-9_][A-Za-z0-9._-]{0,95}"
NAME = f"^({_NAME}/)?{_NAME}$"
_PATH_CHARS = 512
_COUNT_MAX = 1 << 62  # what a database's integer holds
_BASE = "base_model:"


def _inner_path(path: str) -> str:
    parts = path.split("/")
    if path.startswith("/") or any(part in {"", ".", ".."} for part in parts) or not path.isprintable():
        raise ValueError("no path inside a repository")
    return path


def plain(text: str) -> str:
    """Return a stranger's text without what would move a terminal's cursor or colour it."""
    return "".join(char if char.isprintable() else "?" for char in text)


def _utc(when: datetime) -> datetime:
    return when.replace(tzinfo=UTC) if when.tzinfo is None else when.astimezone(UTC)


ModelId = Annotated[str, StringConstraints(pattern=NAME)]
Sha1 = Annotated[str, StringConstraints(pattern="^[0-9a-f]{40}$")]
Sha256 = Annotated[str, StringConstraints(pattern="^[0-9a-f]{64}$")]
_Path = Annotated[str, StringConstraints(max_length=_PATH_CHARS), AfterValidator(_inner_path)]
_Count = Annotated[int, Field(ge=0, le=_COUNT_MAX)]
_Moment = Annotated[datetime, AfterValidator(_utc)]
_Word = Annotated[str, StringConstraints(max_length=200), AfterValidator(plain)]


class _Answer(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore", strict=True)


class _Safetensors(_Answer):
    total: _Count | None = None


class _Config(_Answer):
    model_type: _Word | None = None


class Published(_Answer):
    """A model as the hub tells it now; ``created`` is the repository's day, which may be long before it was public."""

    id: ModelId
    sha: Sha1 | None = None
    created: _Moment = Field(alias="createdAt")
    gated: Literal[False, "auto", "manual"] = False
    private: bool = False
    disabled: bool = False
    pipeline_tag: _Word | None = None
    tags: tuple[_Word, ...] = Field((), max_length=1000)
    downloads: _Count = 0
    likes: _Count = 0
    children: _Count | dict[str, _Count] | None = Field(None, alias="childrenModelCount")
    safetensors: _Safetensors | None = None
    config: _Config | None = None

    @property
    def organisation(self) -> str:
        return self.id.rpartition("/")[0]

    @property
    def parameters(self) -> int | None:
        return self.safetensors.total if self.safetensors else None

    @property
    def model_type(self) -> str:
        return (self.config.model_type if self.config else None) or ""

    @property
    def license(self) -> str:
        return next((tag.removeprefix("license:") for tag in self.tags if tag.startswith("license:")), "")

    @property
    def parent(self) -> str:
        """The model it was made from; the tag that also says how comes beside a plain one."""
        return next((tag.rpartition(":")[2] for tag in self.tags if tag.startswith(_BASE)), "")

    @property
    def derived(self) -> int | None:
        """How many models were made from it; only a model's own page tells, by kind or in all."""
        return sum(self.children.values()) if isinstance(self.children, dict) else self.children


class Commit(_Answer):
    id: Sha1
    date: _Moment


class _Lfs(_Answer):
    oid: Sha256
    size: _Count


class TreeEntry(_Answer):
    type: Literal["file", "directory", "submodule"]
    path: _Path
    oid: Sha1
    size: _Count = 0
    lfs: _Lfs | None = None


Item = TypeVar("Item", bound=BaseModel)


def parse_list(body: bytes, kind: type[Item]) -> tuple[list[Item], list[str]]:
    """Return what can be used of a list, and what is wrong with the rest. Raises ValueError where it is no list.

    One entry that is malformed must not hide the ninety-nine beside it.
    """
    found, wrong = [], []
    for entry in TypeAdapter(list[Any]).validate_json(body):
        try:
            found.append(parse_one(json.dumps(entry).encode(), kind))
        except ValueError as error:
            name = entry.get("id") if isinstance(entry, dict) else None
            wrong.append(f"{str(name)[:100]!r}: {error}")
    return found, wrong


def parse_one(body: bytes, kind: type[Item]) -> Item:
    """Return one answer. Raises ValueError that names the first thing that is wrong with it."""
    try:
        return kind.model_validate_json(body)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise ValueError(plain(f"{where}: {first['msg']}" if where else first["msg"])[:300]) from None
