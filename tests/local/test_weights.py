"""Weights are fetched once, checked, resumed where they broke off, and never over the budget."""

from __future__ import annotations

import io
import shutil
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from containers.installed import Usage
from monitor.cli import doctor
from monitor.cli.doctor import State
from monitor.config.settings import Config
from monitor.daemon import steps
from monitor.daemon.tick import DaemonState
from monitor.discovery.full_weights import in_use, unfetched
from monitor.domain import Runtime, SubjectForm
from monitor.errors import DiskFull, InfraError, NoAnswer, NotACheckpoint
from monitor.progress import ConsoleProgress
from monitor.runner.context import prepare_subject
from monitor.runner.request import ProbeRequest
from monitor.sources.hub import HubClient
from monitor.sources.hub_http import HubAccess
from monitor.store import open_store
from monitor.subjects.catalogue import load_catalogue
from monitor.subjects.weights import WeightStore
from tests.standins import hub as standin

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

NOW = datetime(2026, 4, 1, tzinfo=UTC)
BIG = bytes(range(256)) * 8192  # 2 MiB
FILES: Mapping[str, bytes] = {
    "README.md": b"# a model",
    "config.json": b"{}",
    "modeling_acme.py": b"import os",
    "tokenizer.json": b"[]",
    "model-00001-of-00002.safetensors": BIG,
    "model-00002-of-00002.safetensors": BIG[::-1],
    "model.safetensors.index.json": b'{"weight_map": {}}',
    "pytorch_model.bin": BIG + b"pickled",
    "original/consolidated.safetensors": BIG + b"other",
}
CHOSEN = {
    "config.json",
    "tokenizer.json",
    "model-00001-of-00002.safetensors",
    "model-00002-of-00002.safetensors",
    "model.safetensors.index.json",
}


class Fetching:
    def __init__(self, served: standin.Hub, home: Path) -> None:
        self.served, self.home = served, home
        self.hub = HubClient(HubAccess(endpoint=served.url), sleep=lambda _: None)
        self.progress = ConsoleProgress(out=io.StringIO())
        self.revision = served.publish("acme/new", FILES, NOW)
        self.store = self.with_budget(1 << 40)

    def with_budget(self, budget_bytes: int) -> WeightStore:
        return WeightStore(self.home, budget_bytes=budget_bytes, floor_bytes=0)

    def fetch(self, name: str = "acme/new", revision: str = "") -> str:
        return self.store.fetch(self.hub, name, revision or self.revision, self.progress)

    def downloads(self) -> list[str]:
        return [line for line in self.served.asked if "/cdn/" in line]


@pytest.fixture
def fetching(tmp_path: Path) -> Iterator[Fetching]:
    with standin.Hub() as served:
        found = Fetching(served, tmp_path)
        yield found
        found.hub.close()


def test_what_loading_needs_is_fetched_once_and_nothing_that_runs_or_unpickles(fetching: Fetching) -> None:
    folder = fetching.store.folder(fetching.fetch())
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == {name: FILES[name] for name in CHOSEN}
    assert len(fetching.downloads()) == 2
    fetching.fetch()
    later = fetching.served.publish("acme/new", {"README.md": b"# better"}, NOW)
    assert fetching.store.folder(fetching.fetch(revision=later)) == folder
    assert len(fetching.downloads()) == 2


def test_a_new_revision_shares_what_it_has_not_changed(fetching: Fetching) -> None:
    fetching.fetch()
    used = fetching.store.used_bytes()
    later = fetching.served.publish("acme/new", {"config.json": b'{"a": 1}'}, NOW)
    fetching.fetch(revision=later)
    assert fetching.store.used_bytes() == used + 8
    assert len(fetching.downloads()) == 2
    assert [one.freeable_bytes for one in fetching.store.checkpoints()] == [2, 8]


def test_what_broke_off_goes_on_where_it_broke(fetching: Fetching) -> None:
    blob = next(name for name in FILES if name.startswith("model-00001"))
    fetching.served.fail("/cdn/", 200, body=BIG[:1_000_000], times=1)
    folder = fetching.store.folder(fetching.fetch())
    assert (folder / blob).read_bytes() == BIG
    first, second, *_ = fetching.downloads()
    assert first == second
    assert fetching.served.ranges == ["bytes=1000000-"]


def test_a_kill_in_between_costs_only_what_was_under_way(fetching: Fetching) -> None:
    fetching.served.fail("/cdn/", 503, times=1000)
    with pytest.raises(NoAnswer):
        fetching.fetch()
    assert not list(fetching.store.root.glob("checkpoints/*"))
    (part,) = list((fetching.store.root / "blobs").iterdir())[:1]
    assert part.read_bytes() in FILES.values()  # a small file came before
    fetching.served.faults.clear()
    assert {path.name for path in fetching.store.folder(fetching.fetch()).iterdir()} == CHOSEN


def test_a_file_that_is_not_what_the_hub_says_is_not_kept(fetching: Fetching) -> None:
    fetching.served.fail("/cdn/", 200, body=bytes(len(BIG)), times=1)
    with pytest.raises(InfraError, match="differs from the hash that the hub lists"):
        fetching.fetch()
    assert not list(fetching.store.root.glob("checkpoints/*"))
    assert not list(fetching.store.root.glob("blobs/*.part"))
    fetching.fetch()


def test_nothing_is_fetched_that_would_not_fit(fetching: Fetching) -> None:
    fetching.store = fetching.with_budget(len(BIG))
    with pytest.raises(DiskFull, match="too many"):
        fetching.fetch()
    fetching.store = WeightStore(fetching.home, budget_bytes=1 << 40, floor_bytes=1 << 60)
    with pytest.raises(DiskFull):
        fetching.fetch()
    assert fetching.downloads() == []


def test_what_was_longest_unused_makes_room_and_shared_files_stay(fetching: Fetching) -> None:
    fetching.store = fetching.with_budget(3 * len(BIG))
    old = fetching.fetch()
    shared = fetching.served.publish("acme/new", {"model-00002-of-00002.safetensors": b"small"}, NOW)
    fetching.fetch(revision=shared)
    assert fetching.store.folder(old).is_dir()
    other = fetching.served.publish("acme/other", {"config.json": b"{}", "a.safetensors": BIG[:-1]}, NOW)
    fetching.fetch("acme/other", other)
    fetching.fetch("acme/other", fetching.served.publish("acme/other", {"b.safetensors": BIG[1:]}, NOW))
    assert not fetching.store.folder(old).exists()
    assert fetching.store.used_bytes() <= 3 * len(BIG)


def test_a_gated_or_pickled_model_is_refused_in_a_sentence(fetching: Fetching) -> None:
    pickled = fetching.served.publish("acme/old", {"config.json": b"{}", "pytorch_model.bin": BIG}, NOW)
    with pytest.raises(NotACheckpoint, match="no weights as safetensors"):
        fetching.fetch("acme/old", pickled)
    fetching.served.gate("acme/new")
    with pytest.raises(InfraError, match="gated"):
        fetching.fetch()


def test_what_broke_off_long_ago_makes_room_first(fetching: Fetching) -> None:
    kept = fetching.fetch()
    (fetching.store.root / "blobs" / f"{'0' * 64}.part").write_bytes(BIG)
    assert fetching.store.loose_bytes() == len(BIG)
    fetching.store = fetching.with_budget(int(2.9 * len(BIG)))
    other = fetching.served.publish("acme/other", {"config.json": b"{}", "a.safetensors": b"small"}, NOW)
    fetching.fetch("acme/other", other)
    assert fetching.store.loose_bytes() == 0
    assert fetching.store.folder(kept).is_dir()


class Watching:
    """A daemon's life with the two steps that find models and fetch weights; no engine is there."""

    def __init__(self, served: standin.Hub, home: Path) -> None:
        self.served, self.home, self.at, self.said = served, home, NOW, io.StringIO()
        self.store, self.hub = open_store(home), HubClient(HubAccess(endpoint=served.url), sleep=lambda _: None)
        self.usage = Usage(total_bytes=0, cache_bytes=0, environments=())
        self.connected: list[datetime] = []

    @contextmanager
    def connect(self) -> Iterator[Any]:
        self.connected.append(self.at)
        yield SimpleNamespace(environments=SimpleNamespace(usage=lambda: self.usage))

    def state(self, *full: str, budget_gib: float = 1) -> DaemonState:
        settings = {
            "home": str(self.home),
            "hub": {"endpoint": self.served.url, "full": full},
            "disk": {"budget_gib": budget_gib, "floor_gib": 0.001},
        }
        clock: Any = SimpleNamespace(now=lambda: self.at, sleep=lambda _: None)
        config = Config.model_validate(settings)
        watched = steps.subjects_to_watch(self.store, config, (), discovered=True)
        return DaemonState(
            config,
            self.store,
            ConsoleProgress(out=self.said),
            clock,
            watched,
            lambda _: "suite",
            self.connect,
            hub=self.hub,
        )

    def look(self, state: DaemonState) -> None:
        self.at += timedelta(hours=2)
        steps.look_for_models(state)
        steps.fetch_weights(state)

    def full(self, state: DaemonState) -> Sequence[str]:
        return [one.digest for one in state.watched().subjects if one.form is SubjectForm.FULL]

    def downloads(self) -> int:
        headers = sum(not asked.endswith("-") for asked in self.served.ranges)  # a range with an end is no download
        return sum("/cdn/" in line for line in self.served.asked) - headers


@pytest.fixture
def watching(tmp_path: Path) -> Iterator[Watching]:
    with standin.Hub() as served:
        found = Watching(served, tmp_path)
        yield found
        found.hub.close()
        found.store.close()


def test_the_daemon_fetches_a_revision_of_a_named_model_once(watching: Watching) -> None:
    watching.served.publish("acme/new", FILES, NOW)
    state = watching.state("acme/new")
    watching.look(state)
    (first,) = watching.full(state)
    assert watching.downloads() == 2
    watching.served.publish("acme/new", {"README.md": b"# better"}, NOW)
    watching.look(state)
    assert (watching.full(state), watching.downloads()) == ([first], 2)
    watching.served.publish("acme/new", {"model-00001-of-00002.safetensors": BIG[1:]}, NOW)
    watching.look(state)
    assert watching.full(state) != [first]
    assert watching.downloads() == 3
    assert steps.fetch_weights(state) is None


def test_weights_that_were_lost_are_fetched_again(watching: Watching) -> None:
    watching.served.publish("acme/new", FILES, NOW)
    state = watching.state("acme/new")
    watching.look(state)
    shutil.rmtree(watching.home / "weights")
    watching.look(state)
    assert watching.downloads() == 4


def test_a_model_of_the_catalogue_may_be_probed_whole_too(watching: Watching) -> None:
    watching.served.publish("Qwen/Qwen3-8B", FILES, NOW)
    state = watching.state("Qwen/Qwen3-8B")
    watching.look(state)
    assert [one.id for one in state.watched().subjects] == ["Qwen/Qwen3-8B#full"]


def test_what_can_never_be_fetched_is_said_once_and_what_does_not_fit_holds_up_no_other(watching: Watching) -> None:
    watching.served.publish("acme/pickled", {"config.json": b"{}", "pytorch_model.bin": BIG}, NOW)
    watching.served.publish("acme/large", {"config.json": b"{}", "a.safetensors": BIG * 4}, NOW)
    watching.served.publish("acme/small", {"config.json": b"{}", "a.safetensors": b"small"}, NOW)
    state = watching.state("acme/pickled", "acme/large", "acme/small", budget_gib=len(BIG) * 2 / (1 << 30))
    for _ in range(2):
        with pytest.raises(DiskFull, match="too many"):
            watching.look(state)
    assert len(watching.full(state)) == 1
    assert watching.said.getvalue().count("no full weights") == 1


def test_a_model_that_was_withdrawn_keeps_its_weights_and_is_probed_on(watching: Watching) -> None:
    watching.served.publish("acme/new", FILES, NOW)
    state = watching.state("acme/new")
    watching.look(state)
    (digest,) = watching.full(state)
    watching.served.delete("acme/new")
    watching.look(state)
    assert not watching.store.published.watched()["acme/new"].presence.there
    assert watching.full(state) == [digest]
    assert in_use(watching.store, state.config) == {digest}
    shutil.rmtree(watching.home / "weights")  # nothing can be done about it, and nobody waits for it
    assert unfetched(watching.store, state.config) == []
    assert watching.full(state) == []
    (subject,) = watching.store.published.subjects("acme/new#full")
    request = ProbeRequest(runtime=Runtime.VLLM, day=NOW.date(), cutoff=NOW, subjects=[subject])
    catalogue = load_catalogue()
    with pytest.raises(InfraError, match="the weights of acme/new are not here"):
        prepare_subject(watching.store, catalogue, watching.home, subject, request)


def test_weights_in_use_make_no_room_for_others(watching: Watching) -> None:
    watching.served.publish("acme/new", FILES, NOW)
    watching.served.publish("acme/other", {"config.json": b"{}", "a.safetensors": BIG[:-1]}, NOW)
    state = watching.state("acme/new", budget_gib=len(BIG) * 2.5 / (1 << 30))
    watching.look(state)
    state = watching.state("acme/new", "acme/other", budget_gib=len(BIG) * 2.5 / (1 << 30))
    with pytest.raises(DiskFull):
        watching.look(state)
    assert len(watching.full(state)) == 1
    state = watching.state("acme/other", budget_gib=len(BIG) * 2.5 / (1 << 30))
    watching.look(state)
    (other,) = watching.full(state)
    assert [path.name for path in (watching.home / "weights" / "checkpoints").iterdir()] == [other]


def test_the_disk_budget_is_kept_once_a_day_and_every_hour_while_the_disk_is_full(watching: Watching) -> None:
    cache = watching.home / "install" / "cache"
    cache.mkdir(parents=True)
    state = watching.state(budget_gib=1 / 1024)

    def hours(count: int) -> int:
        """Return how often the budget was applied: each time, everything in the cache is too much."""
        applied = 0
        for _ in range(count):
            (cache / "package").write_bytes(b"x" * (12 << 20))
            watching.at += timedelta(hours=1)
            assert steps.keep_disk_budget(state) is None
            applied += not (cache / "package").exists()
        return applied

    assert hours(49) == 3
    assert "removed the package cache (0.01 GiB)" in watching.said.getvalue()
    state.free_bytes = lambda _: 0
    assert hours(5) == 5
    assert watching.connected == []  # without an engine: only files are looked at and removed


def test_the_doctor_looks_at_a_hub_only_where_something_is_watched_there(watching: Watching) -> None:
    watching.served.publish("acme/new", FILES, NOW)
    access = HubAccess(endpoint=watching.served.url)

    def findings(**hub: Any) -> list[tuple[State, str]]:
        config = Config.model_validate({"home": str(watching.home), "hub": hub})
        return [(finding.state, finding.message) for finding in doctor._hub(config, access)]

    assert findings() == []
    ((state, found),) = findings(models=["acme/new"])
    assert state is State.GOOD
    assert "acme/new exists; without a token" in found
    ((state, found),) = findings(models=["acme/none"])
    assert (state, "acme/none does not exist" in found) == (State.WARNING, True)
    ((state, found),) = findings(organisations=["acme"])
    assert (state, "1 models of acme" in found) == (State.GOOD, True)
    access = HubAccess(endpoint="http://127.0.0.1:9")
    ((state, found),) = findings(organisations=["acme"])
    assert state is State.WARNING
