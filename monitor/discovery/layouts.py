"""Reads the layout of a model's published weights from the headers of its files alone, by ranges of a few kilobytes."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

from monitor.discovery.model_facts import as_config
from monitor.errors import UnknownName
from monitor.miniatures.layout import Layout, TensorKind, layout_of, merged, republished, unlike_miniature
from monitor.sources.hub import Refused
from monitor.sources.hub_answers import plain
from monitor.sources.safetensors import (
    INDEX_BYTES,
    LENGTH_BYTES,
    header_length,
    parse_header,
    parse_index,
)
from monitor.subjects.catalogue import catalogue_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from datetime import datetime
    from pathlib import Path

    from monitor.progress import Progress
    from monitor.sources.hub import HubClient
    from monitor.store import Store

Content = TypeVar("Content")
Parsed = TypeVar("Parsed")

INDEX = "model.safetensors.index.json"
_SINGLE = "model.safetensors"
_ENDING = ".safetensors"
_MISTRAL_FORMAT = "consolidated"  # Mistral's own files, beside those that runtimes load
_FIRST_BYTES = 64 << 10  # holds the header of most files, so that a file takes one request
_MOST_FILES = 1024
_MOST_FAULTS = 10
_MOST_BYTES = 256 << 20  # of all headers of a revision


class Unreadable(Exception):
    """The files of this revision have no layout that can be read, and never will."""


@dataclass(frozen=True, slots=True)
class PublishedLayout:
    """The layout of one revision: of each file its blob and what is in it; ``faults`` speak against the index."""

    blobs: Mapping[str, str]
    files: Mapping[str, Layout]
    faults: Sequence[str] = field(default=())

    @property
    def whole(self) -> Layout:
        return merged(self.files.values())


def read_layout(
    hub: HubClient, name: str, revision: str, tree: Mapping[str, str], before: PublishedLayout | None
) -> PublishedLayout | Refused:
    """Return the layout of a revision; a file that ``before`` has with the same blob is not read again.

    Raises InfraError as the hub does, and Unreadable with the reason where the files are no safetensors files.
    """
    index: dict[str, str] = {}
    if INDEX in tree:
        body = hub.file(name, revision, INDEX, limit=INDEX_BYTES)
        if isinstance(body, Refused):
            return body
        index = _parsed(INDEX, parse_index, body)
    paths = sorted(set(index.values())) if index else _files(tree)
    missing = [path for path in paths if path not in tree]
    if missing:
        raise Unreadable(f"{INDEX} names {missing[0]}, which is not there")
    if not paths or len(paths) > _MOST_FILES:
        raise Unreadable(f"there are {len(paths)} safetensors files" if paths else "there is no safetensors file")
    files: dict[str, Layout] = {}
    size = 0
    for path in paths:
        if before is not None and before.blobs.get(path) == tree[path]:
            files[path] = before.files[path]
            continue
        header = _header(hub, name, revision, path)
        if isinstance(header, Refused):
            return header
        size += len(header)
        if size > _MOST_BYTES:
            raise Unreadable(f"the headers of its files have more than {_MOST_BYTES >> 20} MiB")
        files[path] = _layout(path, header)
    _parsed("its files", merged, files.values())
    return PublishedLayout({path: tree[path] for path in paths}, files, _against_index(index, files) if index else [])


def _files(tree: Mapping[str, str]) -> list[str]:
    """Return the files that a runtime loads where no index names them: those of the uppermost folder."""
    if _SINGLE in tree:
        return [_SINGLE]
    paths = sorted(path for path in tree if path.endswith(_ENDING) and "/" not in path)
    return [path for path in paths if not path.startswith(_MISTRAL_FORMAT)] or paths


def _header(hub: HubClient, name: str, revision: str, path: str) -> bytes | Refused:
    start = hub.piece(name, revision, path, start=0, size=_FIRST_BYTES)
    if isinstance(start, Refused):
        return start
    end = LENGTH_BYTES + _parsed(path, header_length, start)
    if end > len(start) == _FIRST_BYTES:
        more = hub.piece(name, revision, path, start=len(start), size=end - len(start))
        if isinstance(more, Refused):
            return more
        start += more
    if len(start) < end:
        raise Unreadable(f"{path}: it ends within its header")
    return start[LENGTH_BYTES:end]


def _layout(path: str, header: bytes) -> Layout:
    tensors = _parsed(path, parse_header, header)
    return _parsed(path, layout_of, ((tensor.name, tensor.dtype, tensor.shape) for tensor in tensors))


def _parsed(path: str, parse: Callable[[Content], Parsed], content: Content) -> Parsed:
    try:
        return parse(content)
    except ValueError as error:
        raise Unreadable(f"{path}: {str(error)[:200]}") from None


def _against_index(index: Mapping[str, str], files: Mapping[str, Layout]) -> list[str]:
    """Compare what an index says of each file with what is in it, by names without numbers."""
    by_file: dict[str, list[str]] = {}
    for name, path in index.items():
        by_file.setdefault(path, []).append(name)
    faults = []
    for path, layout in files.items():
        named, there = layout_of((name, "", ()) for name in by_file[path]).names(), layout.names()
        faults += [
            f"{path} has {there[name]} tensors {name}, and the index names {named[name]}"
            for name in sorted(named.keys() | there.keys())
            if named[name] != there[name]
        ]
    return faults


def to_bytes(layout: PublishedLayout) -> bytes:
    """Write a layout for the archive."""
    files = {
        path: {
            "blob": layout.blobs[path],
            "kinds": [
                [kind.name, kind.dtype, kind.shape, count, each.lowest[kind.name]]
                for kind, count in sorted(
                    each.counts.items(), key=lambda item: (item[0].name, item[0].dtype, item[0].shape)
                )
            ],
        }
        for path, each in layout.files.items()
    }
    return json.dumps({"files": files, "faults": list(layout.faults)}, separators=(",", ":")).encode()


def from_bytes(kept: bytes) -> PublishedLayout:
    content = json.loads(kept)
    layouts = {path: _from_rows(each["kinds"]) for path, each in content["files"].items()}
    blobs = {path: each["blob"] for path, each in content["files"].items()}
    return PublishedLayout(blobs, layouts, content["faults"])


def _from_rows(rows: Sequence[Sequence[Any]]) -> Layout:
    layout = Layout(Counter(), {})
    for name, dtype, shape, count, lowest in rows:
        layout.add(TensorKind(name, dtype, tuple(shape)), count, lowest)
    return layout


def follow_layout(store: Store, hub: HubClient, model_id: str, name: str, *, now: datetime, progress: Progress) -> None:
    """Record the layout of the newest revision, once; files behind a gate are asked for again. Raises InfraError."""
    published = store.published
    revision = next(iter(published.revisions(model_id)), "")
    tried, kept = published.layout(model_id)
    tree = published.tree(model_id, revision) if revision != tried else {}
    if not any(path.endswith(_ENDING) for path in tree):
        return
    before = from_bytes(kept) if kept else None
    try:
        layout = read_layout(hub, name, revision, tree, before)
    except Unreadable as error:
        published.record_layout(model_id, revision, now, problem=plain(str(error)))
        progress.message(f"{model_id}: no layout of its weights: {plain(str(error))}")
        return
    if isinstance(layout, Refused):
        return
    changed = republished(before.whole, layout.whole) if before else []
    published.record_layout(
        model_id,
        revision,
        now,
        layout=to_bytes(layout),
        changed=changed,
        problem="; ".join(layout.faults[:_MOST_FAULTS]),
    )
    if changed:
        progress.message(f"{model_id} has another layout of its weights: {'; '.join(changed)}")


def compare_layouts(store: Store, home: Path, now: datetime, progress: Progress) -> None:
    """Compare each newest layout with that of the model's miniature, once."""
    waiting = store.published.layouts_to_compare()
    if not waiting:
        return
    catalogue = catalogue_of(home, store)
    for row in waiting:
        model_id = row["model_id"]
        try:
            miniature = catalogue.miniature_of(model_id, row["digest"])
        except UnknownName:  # its files were removed, and are made again when it is probed
            continue
        if miniature.alone:
            store.published.record_comparison(model_id, row["revision"], row["digest"], now, None)
            continue
        _, kept = store.published.layout(model_id)
        config = as_config(store.published.files(model_id).files.get("config.json"))
        differences = unlike_miniature(from_bytes(kept).whole, config, miniature)
        store.published.record_comparison(model_id, row["revision"], row["digest"], now, differences)
        if differences:
            progress.message(f"{model_id}: its layout is not that of its miniature: {'; '.join(differences)}")
