"""A model published on a hub becomes a subject that is probed, and the real client downloads it from the stand-in."""

from __future__ import annotations

import base64
import io
import json
import os
import shutil
import zipfile
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from containers.engine import Command, CommandLimits, Mount, Role
from containers.failures import InstallFailure
from containers.recipes import RECIPES
from containers.settings import settings_from_environment
from monitor import verdicts
from monitor.config.settings import Config
from monitor.config.settings import Hub as Settings
from monitor.discovery.full_weights import fetch_full, weights_of
from monitor.discovery.miniatures import derive_discovered, underived
from monitor.discovery.models import find_models
from monitor.domain import CellVerdict, Runtime, Subject, SubjectForm
from monitor.errors import InfraError
from monitor.judge.confirm import Settled
from monitor.miniatures.derive import NotDerived
from monitor.miniatures.manifest import load_miniature
from monitor.miniatures.writer import write_miniature
from monitor.progress import ConsoleProgress
from monitor.report.reproduce import script
from monitor.runner.context import open_context
from monitor.runner.cycle import run_cycle
from monitor.runner.derive import DATA
from monitor.runner.request import ProbeRequest
from monitor.sources.hub import HubClient
from monitor.sources.hub_http import HubAccess
from monitor.subjects.catalogue import load_catalogue
from tests.standins import hub as standin

if TYPE_CHECKING:
    from collections.abc import Iterator

    from monitor.discovery.models import DiscoveredModels
    from monitor.runner.context import RunContext

pytestmark = [pytest.mark.engine, pytest.mark.index, pytest.mark.slow]

HOME = Path(__file__).parents[2] / ".settle-test" / "hub"
NAME = "acme/Brand-New-8B"
FIRST = datetime(2026, 4, 1, 9, tzinfo=UTC)
GIB = 1 << 30
CONFIG = json.loads((DATA / "published" / "Qwen__Qwen3-8B.json").read_text(encoding="utf-8"))
TOKENIZER = {
    "bos_token": None,
    "eos_token": "<|im_end|>",
    "pad_token": "<|endoftext|>",
    "chat_template": (
        "{% for message in messages %}<|im_start|>{{ message.role }}\n{{ message.content }}<|im_end|>\n{% endfor %}"
        "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
    ),
    "added_tokens_decoder": {
        "151643": {"content": "<|endoftext|>", "special": True},
        "151644": {"content": "<|im_start|>", "special": True},
        "151645": {"content": "<|im_end|>", "special": True},
    },
}
READS = """
import json
from huggingface_hub import HfApi, __version__, snapshot_download
from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError
from transformers import AutoModelForCausalLM, AutoTokenizer

api = HfApi()
names = [one.id for one in api.list_models(author="acme", sort="created_at")]
dates = [str(one.created_at) for one in api.list_repo_commits("acme/tiny")]
refused = []
for name in ("acme/nothing", "acme/gated"):
    try:
        snapshot_download(name)
    except (GatedRepoError, RepositoryNotFoundError) as error:
        refused.append(type(error).__name__)
folder = snapshot_download("acme/renamed-since")
tokenizer = AutoTokenizer.from_pretrained("acme/tiny")
model = AutoModelForCausalLM.from_pretrained("acme/tiny")
ids = tokenizer("hello world", return_tensors="pt")
out = model.generate(**ids, max_new_tokens=4, do_sample=False)
text = {"names": names, "commits": len(dates), "refused": refused, "new": out.shape[1] - ids["input_ids"].shape[1]}
print("TOLD " + json.dumps(text))
"""


class World:
    """A hub that publishes, and a bench that finds, derives and probes."""

    def __init__(self, served: standin.Hub, context: RunContext) -> None:
        self.served, self.context = served, context
        self.now = FIRST
        self.hub = HubClient(HubAccess(endpoint=served.url))
        self.progress = ConsoleProgress(out=io.StringIO())

    def publish(self, **files: object) -> DiscoveredModels:
        """Publish files, by name with a dot spelt as two underscores, and look what is new."""
        self.now += timedelta(days=1)
        data: dict[str, bytes | None] = {
            name.replace("__", "."): json.dumps(value).encode() for name, value in files.items()
        }
        self.served.publish(NAME, {**data, "model.safetensors": b"16 GB"}, self.now, pipeline_tag="text-generation")
        settings = Settings(organisations=("acme",))
        return find_models(self.context.store, self.hub, settings, self.now, self.progress)

    def derive(self) -> Subject | NotDerived:
        assert underived(self.context.store) == [NAME]
        made = derive_discovered(self.context.store, self.context.deriver, NAME)
        assert underived(self.context.store) == []
        return made

    def probe(self, subject: Subject) -> Settled:
        now = datetime.now(UTC)
        request = ProbeRequest(
            runtime=Runtime.TRANSFORMERS,
            day=now.date(),
            cutoff=now,
            subjects=[subject],
        )
        (settled,) = run_cycle(self.context.runner, request).settled.values()
        assert isinstance(settled, Settled)
        return settled


def config_of(home: Path, engine: str) -> Config:
    found = settings_from_environment(os.environ)
    return Config.model_validate(
        {"home": str(home), "engine": engine, "disk": {"floor_gib": 0.1}, "install": {"find_links": found.find_links}}
    )


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    engine = os.environ.get("SETTLE_TEST_ENGINE", "docker")
    for file in HOME.glob("settle.*"):
        file.unlink()  # a new history; what was installed stays
    for name in ("events", "logs", "published-here", "miniatures", "weights"):
        shutil.rmtree(HOME / name, ignore_errors=True)
    try:
        with standin.Hub() as served, open_context(config_of(HOME, engine), ConsoleProgress()) as context:
            context.store.record_catalogue(load_catalogue().models, load_catalogue().subjects())
            world = World(served, context)
            yield world
            world.hub.close()
    except InfraError as error:
        if os.environ.get("CI") == "true":
            raise
        pytest.skip(f"{error}; {error.hint}")


def test_a_new_model_is_found_derived_and_probed_and_its_next_revision_is_another_subject(world: World) -> None:
    assert world.publish(config__json=CONFIG, tokenizer_config__json=TOKENIZER).new == (NAME,)
    subject = world.derive()
    assert isinstance(subject, Subject), subject
    assert (subject.id, subject.architecture, subject.first_known) == (NAME, "qwen3", "4.51.0")
    store = world.context.store
    assert not store.subject(NAME).qualified
    settled = world.probe(subject)
    assert settled.verdict.verdict is CellVerdict.WORKS, settled.verdict
    assert store.subject(NAME).qualified
    detail = verdicts.run_detail(store, _last_run(world))
    assert {check.name: str(check.outcome) for check in detail.checks}["speaks.template"] == "passed"
    assert f"'{subject.digest}'" in _writer_of(script(store, detail))

    assert world.publish(config__json={**CONFIG, "attention_bias": True}).revised == (NAME,)
    revised = world.derive()
    assert isinstance(revised, Subject), revised
    assert revised.digest != subject.digest
    assert store.subject(NAME) == revised


@pytest.mark.parametrize(
    ("extra", "reason"),
    [
        ({}, "unknown architecture"),
        ({"auto_map": {"AutoModelForCausalLM": "modeling_new.New"}}, "needs remote code"),
        ({"num_hidden_layers": "many"}, ""),
    ],
)
def test_what_no_release_knows_is_recorded_with_its_reason(world: World, extra: dict[str, object], reason: str) -> None:
    world.publish(config__json={**CONFIG, "model_type": "brand_new", "architectures": ["NewForCausalLM"], **extra})
    made = world.derive()
    assert isinstance(made, NotDerived)
    assert made.reason.startswith(reason)
    assert "\n" not in made.reason


def test_the_real_client_downloads_from_the_stand_in_and_transformers_loads_it(world: World, tmp_path: Path) -> None:
    context, own = world.context, RECIPES[Runtime.TRANSFORMERS]
    folder = write_miniature(load_miniature("llama"), tmp_path)
    files = {path.name: path.read_bytes() for path in folder.iterdir()}
    for name in ("acme/tiny", "acme/gated", "acme/before"):
        world.served.publish(name, files, FIRST - timedelta(days=9))
    world.served.publish("acme/tiny", {"README.md": b"#"}, FIRST)
    world.served.gate("acme/gated")
    world.served.rename("acme/before", "acme/after")
    world.served.renamed["acme/renamed-since"] = "acme/after"
    resolution = context.environments.resolve(own.requirements(""), context.now(), exempt=own.exempt)
    assert not isinstance(resolution, InstallFailure), resolution.message
    environment = context.environments.ensure(resolution.lock)
    assert not isinstance(environment, InstallFailure), environment.message
    home = tmp_path / "hf"
    for made in (home, tmp_path, tmp_path.parent, tmp_path.parent.parent):
        made.mkdir(exist_ok=True)
        made.chmod(0o777 if made == home else made.stat().st_mode | 0o755)

    # a probe has no network: this one has the installer's rights
    execution = context.engine.run(
        Command(
            argv=(str(environment.path / "bin" / "python"), "-c", READS),
            role=Role.INSTALLER,
            limits=CommandLimits(seconds=300, memory_bytes=4 * GIB),
            image=context.base.image,
            mounts=(Mount(environment.path, str(environment.path)), Mount(home, str(home), writable=True)),
            env={"HF_ENDPOINT": world.served.url, "HF_HOME": str(home), "HOME": str(home), "HF_HUB_DISABLE_XET": "1"},
        )
    )

    log = execution.log.decode(errors="replace")
    assert execution.ok, log
    told = json.loads(next(line for line in log.splitlines() if line.startswith("TOLD ")).removeprefix("TOLD "))
    assert told["refused"] == ["RepositoryNotFoundError", "GatedRepoError"]
    assert {"acme/tiny", "acme/after", "acme/gated"} <= set(told["names"])
    assert (told["commits"], told["new"]) == (2, 4)


def test_full_weights_are_fetched_and_probed_in_a_container_of_their_own(world: World) -> None:
    folder = write_miniature(load_miniature("llama"), HOME / "published-here")
    files = {path.name: path.read_bytes() for path in folder.iterdir()}
    context = world.context
    world.served.publish("acme/small", files, FIRST, pipeline_tag="text-generation")
    settings = Settings(models=("acme/small",))
    assert find_models(world.context.store, world.hub, settings, FIRST, world.progress).new == ("acme/small",)
    subject = fetch_full(
        context.store,
        weights_of(context.config, context.store, installed_bytes=context.environments.usage().total_bytes),
        world.hub,
        "acme/small",
        world.progress,
        now=context.now(),
    )
    assert subject is not None
    assert (subject.id, subject.form) == ("acme/small#full", SubjectForm.FULL)
    settled = world.probe(subject)
    assert settled.verdict.verdict is CellVerdict.WORKS, settled.verdict


def _writer_of(text: str) -> str:
    """Return the program that writes the subject, out of the script that repeats a run."""
    packed = text.partition("writer.pyz <<'END_OF_WRITER'\n")[2].partition("END_OF_WRITER")[0]
    with zipfile.ZipFile(io.BytesIO(base64.b64decode(packed))) as bundle:
        return bundle.read("__main__.py").decode()


def _last_run(world: World) -> str:
    return str(
        world.context.store.query("SELECT id FROM runs WHERE cell_id LIKE 'acme/%' ORDER BY rowid DESC").rows[0][0]
    )
