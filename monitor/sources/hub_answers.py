"""The answers of a hub about models, parsed strictly: everything in them is untrusted."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Annotated, Any, Literal, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, TypeAdapter, ValidationError

from monitor.domain import HubName
from monitor.sources.bounds import plausible

_NAME = r"[A-Za-z0-9_][A-Za-z0-9._-]{0,95}"
NAME = f"^({_NAME}/)?{_NAME}$"
_PATH_CHARS = 512
_COUNT_MAX = 1 << 62  # what a database's integer holds
_BASE = "base_model:"
_MOST_ENTRIES = 10_000  # of a page; a hub sends a hundred models or a thousand files
_MOST_PROBLEMS = 20


def _inner_path(path: str) -> str:
    parts = path.split("/")
    if path.startswith("/") or any(part in {"", ".", ".."} for part in parts) or not path.isprintable():
        raise ValueError("not a path inside a repository")
    return path


def plain(text: str) -> str:
    """Return untrusted text with everything unprintable replaced."""
    return "".join(char if char.isprintable() else "?" for char in text)


def _utc(when: datetime) -> datetime:
    moment = plausible(when)
    if moment is None:
        raise ValueError("no moment of this age")
    return moment


ModelId = Annotated[str, StringConstraints(pattern=NAME)]
Sha1 = Annotated[str, StringConstraints(pattern="^[0-9a-f]{40}$")]
Sha256 = Annotated[str, StringConstraints(pattern="^[0-9a-f]{64}$")]
_Path = Annotated[str, StringConstraints(max_length=_PATH_CHARS), AfterValidator(_inner_path)]
_Count = Annotated[int, Field(ge=0, le=_COUNT_MAX)]
_Moment = Annotated[datetime, AfterValidator(_utc)]
_Text = Annotated[str, StringConstraints(max_length=200), AfterValidator(plain)]


class _Answer(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore", strict=True)


class _Safetensors(_Answer):
    total: _Count | None = None


class _Config(_Answer):
    model_type: _Text | None = None


class HubModel(_Answer):
    """A model on the hub; ``created`` is the repository's day, which may be long before it became public."""

    id: ModelId
    sha: Sha1 | None = None
    created: _Moment = Field(alias="createdAt")
    gated: Literal[False, "auto", "manual"] = False
    private: bool = False
    disabled: bool = False
    pipeline_tag: _Text | None = None
    tags: tuple[_Text, ...] = Field((), max_length=1000)
    downloads: _Count = 0
    likes: _Count = 0
    children: _Count | dict[str, _Count] | None = Field(None, alias="childrenModelCount")
    safetensors: _Safetensors | None = None
    config: _Config | None = None

    @property
    def organisation(self) -> str:
        return HubName.parse(self.id).organisation

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
        """The model it was made from; of its two tags one also names how."""
        return next((tag.rpartition(":")[2] for tag in self.tags if tag.startswith(_BASE)), "")

    @property
    def derived(self) -> int | None:
        """The number of models made from it; only the route of one model has it, by kind or in total."""
        return min(sum(self.children.values()), _COUNT_MAX) if isinstance(self.children, dict) else self.children


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
    """Return the valid entries of a list, and the first problems of the others. Raises ValueError where it is no list.

    One malformed entry must not hide the ninety-nine valid ones.
    """
    entries = TypeAdapter(list[Any]).validate_json(body)
    if len(entries) > _MOST_ENTRIES:
        raise ValueError(f"a page with {len(entries)} entries")
    items, problems = [], []
    for entry in entries:
        try:
            items.append(parse_item(json.dumps(entry).encode(), kind))
        except (ValueError, RecursionError) as error:
            name = entry.get("id") if isinstance(entry, dict) else None
            problems.append(f"{(name if isinstance(name, str) else '')[:100]!r}: {error}")
    more = len(problems) - _MOST_PROBLEMS
    return items, problems[:_MOST_PROBLEMS] + ([f"{more} more entries cannot be used"] if more > 0 else [])


def parse_item(body: bytes, kind: type[Item]) -> Item:
    """Return one valid answer. Raises ValueError that names its first problem."""
    try:
        return kind.model_validate_json(body)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise ValueError(plain(f"{where}: {first['msg']}" if where else first["msg"])[:300]) from None
