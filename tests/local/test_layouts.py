"""The layout of published weights is read by ranges at every revision, and what is new about it becomes news."""

from __future__ import annotations

import io
import json
import struct
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from monitor.alerts.steps import write_alerts
from monitor.config.settings import Alerts, Target
from monitor.config.settings import Hub as Settings
from monitor.discovery.layouts import INDEX, compare_layouts
from monitor.discovery.models import DiscoveredModels, find_models
from monitor.discovery.watched_models import watched_rows
from monitor.miniatures.manifest import load_miniature
from monitor.progress import ConsoleProgress
from monitor.sources.hub import HubClient
from monitor.sources.hub_http import HubAccess
from monitor.store import open_store
from monitor.subjects.catalogue import load_catalogue
from tests.standins import hub as standin

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from monitor.store import Store

FIRST = datetime(2026, 4, 1, 9, 30, tzinfo=UTC)
HOUR = timedelta(hours=1)
NAME = "acme/new"
CONFIG = json.dumps({"model_type": "qwen3"}).encode()
PLAIN = {f"model.layers.{layer}.norm.weight": ("BF16", (64,)) for layer in range(4)}
ALERTS = Alerts(targets=(Target(name="ops", url="json://127.0.0.1:9", digest=False),))


def safetensors(tensors: Mapping[str, tuple[str, tuple[int, ...]]], *, padding: int = 0) -> bytes:
    """Return a file of zeros, its header longer by ``padding``."""
    width = {"BF16": 2, "F32": 4, "F8_E4M3": 1}
    header: dict[str, Any] = {}
    at = 0
    for name, (dtype, shape) in tensors.items():
        size = width[dtype]
        for length in shape:
            size *= length
        header[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": [at, at + size]}
        at += size
    text = json.dumps(header).encode() + b" " * padding
    return struct.pack("<Q", len(text)) + text + bytes(at)


class World:
    def __init__(self, served: standin.Hub, store: Store, home: Path, **settings: Any) -> None:
        self.served, self.store, self.home, self.now = served, store, home, FIRST
        self.settings = Settings(organisations=("acme",), **settings)
        self.hub = HubClient(HubAccess(endpoint=served.url), now=lambda: self.now, sleep=lambda _: None)
        self.out = io.StringIO()
        self.progress = ConsoleProgress(out=self.out)

    def publish(self, files: Mapping[str, bytes | None], name: str = NAME) -> str:
        return self.served.publish(name, files, self.now, pipeline_tag="text-generation")

    def find(self, after: timedelta = HOUR) -> DiscoveredModels:
        self.now += after
        found = find_models(self.store, self.hub, self.settings, self.now, self.progress)
        compare_layouts(self.store, self.home, self.now, self.progress)
        return found

    def layouts(self) -> list[tuple[str, list[str], str]]:
        rows = self.store.query("SELECT revision, changed, problem FROM layouts ORDER BY id").rows
        return [(row[0], json.loads(row[1]), row[2]) for row in rows]

    def news(self) -> list[str]:
        write_alerts(self.store, ALERTS, self.now)
        return [letter.text for letter in self.store.outbox.due(self.now) if "layout" in letter.text]


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with standin.Hub() as served, open_store(tmp_path / "home") as store:
        found = World(served, store, tmp_path / "home")
        yield found
        found.hub.close()


def test_a_header_takes_one_short_range_and_nothing_of_the_weights_is_fetched(world: World) -> None:
    big = PLAIN | {"model.embed_tokens.weight": ("F32", (1 << 10, 1 << 10))}
    revision = world.publish({"config.json": CONFIG, "model.safetensors": safetensors(big)})
    assert world.find().troubles == ()
    assert world.served.ranges == ["bytes=0-65535"]
    assert world.layouts() == [(revision, [], "")]


def test_a_long_header_takes_a_second_range(world: World) -> None:
    world.publish({"model.safetensors": safetensors(PLAIN, padding=200_000)})
    world.find()
    (length,) = struct.unpack("<Q", safetensors(PLAIN, padding=200_000)[:8])
    assert world.served.ranges == ["bytes=0-65535", f"bytes=65536-{length + 7}"]
    assert [problem for _, _, problem in world.layouts()] == [""]


def test_only_files_that_changed_are_read_again_and_a_republished_layout_is_news_in_the_hour(world: World) -> None:
    first, second = dict(list(PLAIN.items())[:2]), dict(list(PLAIN.items())[2:])
    names = {name: f"model-{1 + (name in second)}-of-2.safetensors" for name in PLAIN}
    index = json.dumps({"weight_map": names}).encode()
    files = {"model-1-of-2.safetensors": safetensors(first), "model-2-of-2.safetensors": safetensors(second)}
    world.publish({"config.json": CONFIG, INDEX: index, **files})
    world.find()
    assert world.news() == []
    assert len(world.served.ranges) == 2
    world.publish({"README.md": b"#"})
    world.find()
    assert len(world.served.ranges) == 2
    other = dict.fromkeys(second, ("F8_E4M3", (64,))) | {"model.layers.2.norm.weight_scale_inv": ("F32", (1,))}
    names["model.layers.2.norm.weight_scale_inv"] = "model-2-of-2.safetensors"
    index = json.dumps({"weight_map": names}).encode()
    revision = world.publish({INDEX: index, "model-2-of-2.safetensors": safetensors(other)})
    world.find()
    assert len(world.served.ranges) == 3
    sentences = [
        "1 name is new: model.layers.#.norm.weight_scale_inv",
        "1 name has another type: model.layers.#.norm.weight (BF16 before, BF16 or F8_E4M3 now)",
    ]
    assert world.layouts()[-1] == (revision, sentences, "")
    (text,) = world.news()
    assert "acme/new: the layout of the published weights has changed" in text
    assert all(sentence in text for sentence in sentences)
    assert len(world.news()) == 1


def test_an_index_that_says_otherwise_than_its_files_is_a_problem_of_the_files(world: World) -> None:
    names = dict.fromkeys([*PLAIN, "model.layers.4.norm.weight"], "model-1-of-1.safetensors")
    index = json.dumps({"weight_map": names}).encode()
    world.publish({INDEX: index, "model-1-of-1.safetensors": safetensors(PLAIN)})
    world.find()
    ((_, _, problem),) = world.layouts()
    assert problem == "model-1-of-1.safetensors has 4 tensors model.layers.#.norm.weight, and the index names 5"


@pytest.mark.parametrize(
    ("files", "problem"),
    [
        ({"model.safetensors": b"weights"}, "model.safetensors: it is shorter than the length of a header"),
        ({"model.safetensors": b"\xff" * 99}, "model.safetensors: its header would have"),
        ({"model.safetensors": struct.pack("<Q", 900) + b"{}"}, "model.safetensors: it ends within its header"),
        ({"model.safetensors": struct.pack("<Q", 2) + b"[]"}, "model.safetensors: it is no JSON object"),
        ({INDEX: b"{}", "a.safetensors": b""}, f"{INDEX}: it has no weight_map"),
        (
            {INDEX: b'{"weight_map": {"x": "b.safetensors"}}', "a.safetensors": b""},
            f"{INDEX} names b.safetensors, which",
        ),
        ({"model.safetensors": b""}, "model.safetensors: it is shorter than the length of a header"),
    ],
)
def test_files_that_have_no_layout_say_why_once_and_are_not_asked_again(
    world: World, files: dict[str, bytes], problem: str
) -> None:
    world.publish(files)
    assert world.find().troubles == ()
    ((_, _, recorded),) = world.layouts()
    assert recorded.startswith(problem)
    asked = len(world.served.ranges)
    world.find()
    assert len(world.served.ranges) == asked
    world.publish({INDEX: None, "model.safetensors": safetensors(PLAIN)})
    world.find()
    assert world.layouts()[-1][1:] == ([], "")


def test_a_server_without_ranges_is_read_no_further_than_the_header(world: World) -> None:
    world.served.with_ranges = False
    world.publish({"model.safetensors": safetensors(PLAIN, padding=200_000)})
    assert world.find().troubles == ()
    assert [problem for _, _, problem in world.layouts()] == [""]


def test_files_behind_a_gate_are_read_when_it_opens(world: World) -> None:
    world.publish({"config.json": CONFIG, "model.safetensors": safetensors(PLAIN)})
    world.served.gate(NAME)
    world.find()
    assert world.layouts() == []
    world.served.repositories[NAME].gated = ""
    world.find()
    assert len(world.layouts()) == 1


def test_a_hub_that_fails_in_between_is_asked_again(world: World) -> None:
    world.publish({"config.json": CONFIG, "model.safetensors": safetensors(PLAIN)})
    world.served.fail("/cdn/", 503)
    assert len(world.find().troubles) == 1
    world.find()
    assert len(world.layouts()) == 1


def test_published_weights_are_compared_with_the_miniature_and_a_difference_is_news(tmp_path: Path) -> None:
    entry = next(entry for entry in load_catalogue() if entry.miniatures == ("qwen3",))
    mine = load_miniature("qwen3")
    tensors = {tensor.name: (tensor.dtype, tensor.shape) for tensor in mine.tensors}
    organisation = entry.model.id.partition("/")[0]
    with standin.Hub() as served, open_store(tmp_path) as store:
        world = World(served, store, tmp_path)
        world.settings = Settings(organisations=(organisation,))
        config = json.dumps(mine.config).encode()
        store.record_catalogue([entry.model], entry.subjects())
        world.publish({"config.json": config, "model.safetensors": safetensors(tensors)}, entry.model.id)
        world.find()
        assert world.news() == []
        lost = {name: tensor for name, tensor in tensors.items() if "q_norm" not in name}
        world.publish({"model.safetensors": safetensors(lost)}, entry.model.id)
        world.find()
        missing = "1 name of the miniature is not published: model.layers.#.self_attn.q_norm.weight"
        (row,) = [row for row in watched_rows(world.settings, store) if row["id"] == entry.model.id]
        assert row["layout"] == missing
        (text,) = world.news()
        assert "the layout of the published weights has changed" in text
        assert missing in text
        world.hub.close()
