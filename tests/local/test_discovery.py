"""What becomes of models on a hub is found, dated and recorded once, whatever the hub does meanwhile."""

from __future__ import annotations

import contextlib
import io
import json
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from monitor.config.settings import Hub as Settings
from monitor.discovery.model_facts import kind_of
from monitor.discovery.models import DiscoveredModels, find_models
from monitor.domain import ModelKind
from monitor.miniatures.manifest import load_miniature
from monitor.progress import ConsoleProgress
from monitor.sources.changes import (
    ModelPart,
    ModelState,
    Presence,
    has_weights,
    new_states,
    part_of,
    what_changed,
)
from monitor.sources.hub import HubClient
from monitor.sources.hub_http import HubAccess
from monitor.store import open_store
from monitor.subjects.catalogue import load_catalogue
from tests.standins import hub as standin

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    import httpx

    from monitor.store import Store

FIRST = datetime(2026, 4, 1, 9, 30, tzinfo=UTC)
DAY = timedelta(days=1)
CONFIG = json.dumps({"model_type": "qwen3", "architectures": ["Qwen3ForCausalLM"]}).encode()
TEXT = {"pipeline_tag": "text-generation"}
WHOLE: dict[str, bytes | None] = {"README.md": b"#", "config.json": CONFIG, "model.safetensors": b"weights"}


class World:
    """A hub and a store, at a moment that a test moves on."""

    def __init__(self, served: standin.Hub, store: Store, **settings: Any) -> None:
        self.served, self.store = served, store
        self.now = FIRST
        self.settings = Settings(organisations=("acme",), **settings)
        self.pauses: list[float] = []
        self.hub = HubClient(HubAccess(endpoint=served.url), now=lambda: self.now, sleep=self.pauses.append)
        self.progress = ConsoleProgress(out=io.StringIO())

    def find(self, after: timedelta = timedelta()) -> DiscoveredModels:
        self.now += after
        return find_models(self.store, self.hub, self.settings, self.now, self.progress)

    def publish(self, name: str, files: Mapping[str, bytes | None], **said: Any) -> str:
        return self.served.publish(name, files, self.now, **({**TEXT, **said}))

    def states(self, model_id: str) -> list[tuple[str, str]]:
        sql = f"SELECT state, detail FROM model_states WHERE model_id = '{model_id}' ORDER BY id"  # noqa: S608
        return [(row[0], row[1]) for row in self.store.query(sql).rows]

    def revised(self, model_id: str) -> list[tuple[str, str | None, int]]:
        sql = f"SELECT revision, changed, epoch FROM revised WHERE model = '{model_id}'"  # noqa: S608
        return [(row[0], row[1], row[2]) for row in self.store.query(sql).rows]


class Dying(ConsoleProgress):
    """Ends the process, in effect, the so-manieth time that it says something, asks the hub or has its answer."""

    def __init__(self, left: int) -> None:
        super().__init__(out=io.StringIO())
        self.left = left

    def answered(self, response: httpx.Request | httpx.Response) -> None:  # noqa: ARG002 - a hook of httpx
        self.message("")

    def message(self, sentence: str) -> None:  # noqa: ARG002 - the protocol's
        self.left -= 1
        if not self.left:
            raise KeyboardInterrupt


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with standin.Hub() as served, open_store(tmp_path / "home") as store:
        found = World(served, store)
        yield found
        found.hub.close()


def test_a_new_model_is_dated_by_the_later_of_its_first_commit_with_weights_and_its_first_listing(
    world: World,
) -> None:
    world.publish("acme/new", {"README.md": b"soon"})
    for day in range(1, 9):
        world.now = FIRST + day * DAY
        world.publish("acme/new", {"config.json": CONFIG} if day < 5 else {"model.safetensors": b"w%d" % day})
    world.now = FIRST + 20 * DAY
    assert world.find().new == ("acme/new",)
    model = world.store.published.model("acme/new")
    assert model is not None
    # nobody asked before: it was released on a day from the commit to that day
    assert (model.created, model.released) == (date(2026, 4, 6), date(2026, 4, 21))
    assert model.released_source.startswith("hub: first listed; weights committed before, ")
    assert (model.architecture, model.family, model.organisation) == ("qwen3", "Qwen 3", "acme")
    (row,) = world.store.published.rows_of_watched()
    assert (row["first_seen"][:10], row["source"], row["released"]) == ("2026-04-21", "organisation:acme", "2026-04-21")
    assert [changed for _, changed, _ in world.revised("acme/new")] == ["weights config card", "weights"]


def test_a_prepared_launch_is_dated_by_the_day_it_is_public(world: World) -> None:
    world.publish("acme/new", WHOLE)
    world.served.repositories["acme/new"].private = True
    for day in range(20):
        world.now = FIRST + day * DAY
        assert world.find().new == ()
    world.now = FIRST + 20 * DAY
    world.served.repositories["acme/new"].private = False
    assert world.find().new == ("acme/new",)
    model = world.store.published.model("acme/new")
    assert model is not None
    assert (model.created, model.released) == ((FIRST + 19 * DAY).date(), (FIRST + 20 * DAY).date())


def test_nothing_is_found_twice_and_nothing_is_asked_before_it_is_due(world: World) -> None:
    world.publish("acme/new", WHOLE)
    world.find()
    asked = len(world.served.asked)
    assert world.find(timedelta(minutes=59)) == DiscoveredModels()
    assert len(world.served.asked) == asked
    assert world.find(timedelta(minutes=1)) == DiscoveredModels()
    assert len(world.served.asked) == asked + 1


@pytest.mark.parametrize("at", range(1, 8))
def test_a_kill_anywhere_costs_only_what_was_under_way(world: World, at: int) -> None:
    world.publish("acme/new", WHOLE)
    dying = Dying(at)
    hub = HubClient(HubAccess(endpoint=world.served.url))
    for hooks in hub._client._client.event_hooks.values():  # before a request, and after its answer
        hooks.append(dying.answered)
    with contextlib.suppress(KeyboardInterrupt):
        find_models(world.store, hub, world.settings, world.now, dying)
    hub.close()
    assert dying.left <= 0
    assert world.find(timedelta(hours=1)).troubles == ()
    assert world.states("acme/new") == [("listed", "acme/new")]
    assert [changed for _, changed, _ in world.revised("acme/new")] == ["weights config card"]
    model = world.store.published.model("acme/new")
    assert model is not None
    assert (model.released, model.architecture) == (FIRST.date(), "qwen3")


def test_every_revision_tells_what_changed_and_what_is_probed_begins_an_epoch(world: World) -> None:
    world.publish("acme/new", WHOLE)
    world.find()
    steps: list[dict[str, bytes | None]] = [
        {"README.md": b"# better", "LICENSE": b"MIT"},
        {"chat_template.jinja": b"{{ messages }}"},
        {"model.safetensors": b"others", "tokenizer.json": b"{}"},
    ]
    for step in steps:
        world.now += timedelta(hours=1)
        world.publish("acme/new", step)
    assert world.find(DAY).revised == ("acme/new",)
    told = [(changed, epoch) for _, changed, epoch in world.revised("acme/new")]
    assert told == [("weights config card", 1), ("license card", 1), ("template", 2), ("weights tokenizer", 3)]
    kept = world.store.published.files("acme/new")
    assert kept.revision == world.revised("acme/new")[-1][0]
    assert set(kept.files) == {"config.json", "chat_template.jinja"}


def test_a_history_that_was_rewritten_counts_as_its_end(world: World) -> None:
    world.publish("acme/new", WHOLE)
    world.find()
    world.now += DAY
    squashed = world.served.rewrite("acme/new", world.now)
    world.find()
    assert world.revised("acme/new")[-1] == (squashed, None, 1)
    assert world.store.published.model("acme/new").released == FIRST.date()  # type: ignore[union-attr]


def test_gated_opened_renamed_vanished_and_back_are_states_of_one_model(world: World) -> None:
    world.publish("acme/new", WHOLE)
    world.served.gate("acme/new")
    assert world.find().new == ("acme/new",)
    assert world.store.published.files("acme/new").problems == {
        "config.json": "gated: its files cannot be read with this token"
    }
    assert world.store.published.to_derive("5.0.0") == ["acme/new"]
    world.store.published.record_derivation(
        "acme/new", world.store.published.files("acme/new"), world.now, release="5.0.0", reason="gated"
    )
    assert world.store.published.to_derive("5.0.0") == []
    world.served.gate("acme/new", "")
    world.find(DAY)
    assert set(world.store.published.files("acme/new").files) == {"config.json"}
    assert world.store.published.to_derive("5.0.0") == ["acme/new"]
    world.served.rename("acme/new", "acme/newer")
    assert world.find(DAY).new == ()
    kept = world.served.delete("acme/newer")
    world.find(DAY)
    world.find(DAY)
    world.served.restore(kept)
    assert world.find(DAY).new == ()
    assert world.states("acme/new") == [
        ("listed", "acme/new"),
        ("gated", ""),
        ("opened", ""),
        ("renamed", "acme/newer"),
        ("vanished", ""),
        ("back", "acme/newer"),
    ]


def test_a_model_that_moves_to_another_organisation_is_followed(world: World) -> None:
    world.publish("acme/new", WHOLE)
    world.find()
    world.served.rename("acme/new", "globex/new")
    world.find(DAY)
    world.now += DAY
    world.publish("globex/new", {"config.json": b'{"model_type": "qwen3_moe"}'})
    assert world.find().revised == ("acme/new",)
    assert world.states("acme/new")[-1] == ("renamed", "globex/new")


def test_filters_hold_for_organisations_and_not_for_a_named_model(world: World) -> None:
    world.settings = Settings(
        organisations=("acme",), models=("acme/speech",), minimum_billions=1, maximum_billions=9, since=FIRST.date()
    )
    world.publish("acme/fits", WHOLE, safetensors={"total": 8_000_000_000, "parameters": {"BF16": 8_000_000_000}})
    world.publish("acme/untold", WHOLE)
    world.publish("acme/large", WHOLE, safetensors={"total": 70_000_000_000})
    world.publish("acme/speech", WHOLE, pipeline_tag="automatic-speech-recognition")
    world.publish("acme/image", WHOLE, pipeline_tag="text-to-image")
    world.served.publish("acme/old", WHOLE, FIRST - DAY, **TEXT)
    assert sorted(world.find().new) == ["acme/fits", "acme/speech", "acme/untold"]


def test_popularity_is_a_row_a_model_and_day_and_only_its_own_page_tells_who_derived_from_it(world: World) -> None:
    world.publish("acme/new", WHOLE, downloads=10, likes=2, childrenModelCount={"finetune": 3, "quantized": 4})
    world.find()
    world.find(timedelta(hours=2))
    world.publish("acme/new", {}, downloads=50, likes=3, childrenModelCount=9)
    world.find(DAY)
    rows = world.store.query("SELECT day, downloads, likes, derived FROM popularity").rows
    assert [tuple(row) for row in rows] == [("2026-04-01", 10, 2, 7), ("2026-04-02", 50, 3, 9)]


def test_a_long_rate_limit_ends_the_step_and_the_next_goes_on_where_it_ended(world: World) -> None:
    for name in ("a", "b", "c"):
        world.publish(f"acme/{name}", WHOLE)
    world.served.fail("/api/models/acme/b", 429, headers={"RateLimit": '"api";r=0;t=200'})
    found = world.find()
    assert found.again_at == FIRST + timedelta(seconds=201)
    assert len(world.store.query("SELECT * FROM revisions").rows) < 3
    assert world.find(timedelta(seconds=100)) == DiscoveredModels()
    world.find(timedelta(seconds=102))
    assert len(world.store.query("SELECT * FROM revisions").rows) == 3


@pytest.mark.parametrize("status", [500, 404, 200])
def test_a_failure_is_told_asked_again_soon_and_loses_nothing(world: World, status: int) -> None:
    world.publish("acme/new", WHOLE)
    world.served.fail("/api/models", status, body=b"<html>", times=3 if status == 500 else 1)
    world.settings = Settings(organisations=("acme",), popularity=False)
    found = world.find()
    assert (found.new, len(found.troubles)) == ((), 1)
    assert world.store.query("SELECT trouble FROM hub_polls").rows[0][0] == found.troubles[0]
    assert world.find(timedelta(minutes=5)).new == ("acme/new",)
    assert world.store.query("SELECT trouble FROM hub_polls").rows[0][0] == ""


def test_a_list_that_cannot_be_used_whole_makes_nothing_vanish(world: World) -> None:
    world.publish("acme/new", WHOLE)
    world.find()
    world.served.repositories["acme/new"].said["downloads"] = "many"
    assert world.find(DAY).states == ()
    world.served.fail("/api/models", 200, body=b"[]")
    assert world.find(DAY).states == ()


def test_a_hub_that_is_away_is_left_alone_after_a_few_questions(world: World) -> None:
    world.settings = Settings(organisations=tuple(f"lab{number}" for number in range(20)))
    world.served.fail("/", 503, times=1000)
    assert len(world.find().troubles) == 3
    assert len(world.served.asked) == 9


def test_a_model_of_the_catalogue_keeps_the_catalogues_words(world: World) -> None:
    ours = next(model for model in load_catalogue().models if not model.id.startswith("architecture/"))
    world.settings = Settings(models=(ours.id,))
    world.publish(ours.id, WHOLE)
    assert world.find().new == (ours.id,)
    assert world.store.published.model(ours.id) == ours
    assert len(world.revised(ours.id)) == 1


def test_a_folder_is_watched_from_the_day_it_is_a_checkpoint(world: World, tmp_path: Path) -> None:
    folder = tmp_path / "secret"
    folder.mkdir()
    world.settings = Settings(folders=(folder,))
    assert "is not a checkpoint" in world.find().troubles[0]
    (folder / "config.json").write_bytes(CONFIG)
    (folder / "model.safetensors").write_bytes(b"weights")
    assert world.find(timedelta(minutes=5)).new == (f"folder:{folder}",)
    before = world.store.subject(f"folder:{folder}").digest
    (folder / "config.json").write_bytes(CONFIG + b"\n")
    world.find(DAY)
    assert world.store.subject(f"folder:{folder}").digest != before
    assert world.served.asked == []


@pytest.mark.parametrize(
    ("path", "part"),
    [
        ("model-00001-of-00002.safetensors", ModelPart.WEIGHTS),
        ("model.safetensors.index.json", ModelPart.WEIGHTS),
        ("original/consolidated.00.pth", ModelPart.WEIGHTS),
        ("training_args.bin", ModelPart.OTHER),
        ("config.json", ModelPart.CONFIG),
        ("generation_config.json", ModelPart.CONFIG),
        ("modeling_acme.py", ModelPart.CONFIG),
        ("tokenizer_config.json", ModelPart.TOKENIZER),
        ("tokenizer.model", ModelPart.TOKENIZER),
        ("special_tokens_map.json", ModelPart.TOKENIZER),
        ("chat_template.jinja", ModelPart.TEMPLATE),
        ("additional_chat_templates/tools.jinja", ModelPart.TEMPLATE),
        ("LICENSE", ModelPart.LICENSE),
        ("USE_POLICY.md", ModelPart.LICENSE),
        ("README.md", ModelPart.CARD),
        ("images/plot.png", ModelPart.OTHER),
        (".gitattributes", ModelPart.OTHER),
    ],
)
def test_every_file_belongs_to_a_part(path: str, part: ModelPart) -> None:
    assert part_of(path) is part
    assert what_changed({path: "1"}, {path: "2"}) == what_changed({}, {path: "1"}) == (part,)
    assert has_weights([path]) == (part is ModelPart.WEIGHTS and not path.endswith(".json"))


def test_news_is_only_what_does_not_stand_already() -> None:
    presence = Presence("a/b", there=True, gated=True)
    assert new_states(presence, name="a/b", there=True, gated=True) == []
    assert new_states(Presence("a/b"), name="a/b", there=False, gated=False) == []
    told = new_states(Presence("a/b", gated=True), name="a/c", there=True, gated=False)
    assert told == [(ModelState.BACK, "a/c"), (ModelState.RENAMED, "a/c"), (ModelState.OPENED, "")]


def test_the_kind_of_a_model_is_read_from_its_configuration() -> None:
    wrong = {
        entry.model.id: kind_of(load_miniature(entry.miniatures[0]).config)
        for entry in load_catalogue()
        if kind_of(load_miniature(entry.miniatures[0]).config) is not entry.model.kind
    }
    assert wrong == {
        "LiquidAI/LFM2-8B-A1B": ModelKind.HYBRID,  # both: the catalogue names it by its experts
        "LiquidAI/LFM2-24B-A2B": ModelKind.HYBRID,
        "internlm/Intern-S2-Preview": ModelKind.DENSE,  # of its configuration only the type is at hand
    }
    assert kind_of({}) is ModelKind.DENSE
