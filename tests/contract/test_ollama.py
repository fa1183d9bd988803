"""Ollama's adapter in a real container, against a stand-in that serves the documented protocol with one fault each."""

from __future__ import annotations

import contextlib
import json
import os
import platform
import re
import uuid
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from containers.engine import Command, CommandLimits, Role
from containers.environments import Environments
from containers.failures import InstallFailure
from containers.recipes.ollama import RECIPE
from containers.settings import settings_from_environment
from monitor.config.settings import Limits
from monitor.domain import Blame, CellVerdict, Outcome, Rung, Runtime, Subject, SubjectForm, Verdict
from monitor.judge.checks import judge_subject
from monitor.judge.control import Control
from monitor.judge.verdict import Circumstances, judge_run
from monitor.miniatures.golden import golden_of_folder
from monitor.miniatures.manifest import load_miniature
from monitor.miniatures.writer import write_miniature
from monitor.runner.session import PreparedSubject, SessionRunner, SessionSpec
from monitor.sources.index import fetch_source
from monitor.wire.bundle import build_bundle
from tests.contract.conftest import base_of, make_engine
from tests.specimens.pieces import with_pieces
from tests.standins.ollama import make_release, write_gguf

if TYPE_CHECKING:
    from collections.abc import Iterator

    from containers.environment import Environment
    from monitor.domain import CheckResult, RunVerdict

pytestmark = [pytest.mark.engine, pytest.mark.slow]

OLD, NEW, ZSTD = "0.12.10", "0.13.5", "0.31.2"
REAL = os.environ.get("SETTLE_TEST_OLLAMA_ARCHIVE", "")
CHATML = (
    "{% if tools %}<|im_start|>system\n# Tools\n{% for tool in tools %}{{ tool | tojson }}\n{% endfor %}<|im_end|>\n"
    "{% endif %}{% for message in messages %}<|im_start|>{{ message.role }}\n{{ message.content }}<|im_end|>\n"
    "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n"
    "{% if enable_thinking is defined and not enable_thinking %}<think>\n\n</think>\n\n{% endif %}{% endif %}"
)


@dataclass(frozen=True)
class Probed:
    checks: dict[str, CheckResult]
    verdict: RunVerdict
    log: str

    def outcomes(self) -> dict[str, str]:
        return {name: str(check.outcome) for name, check in self.checks.items()}

    def faults(self) -> dict[str, str]:
        return {name: check.fault for name, check in self.checks.items() if check.fault}


@dataclass(frozen=True)
class Shop:
    environments: Environments
    session_runner: SessionRunner
    folder: Path  # the subject's files

    def install(self, version: str, archive: Path, *, converter: bool = False) -> Environment:
        assert RECIPE.archive is not None
        pattern = replace(RECIPE.archive, addresses=(str(archive),), sums="")
        resolution = self.environments.resolve(RECIPE.requirements(None) if converter else (), None)
        assert not isinstance(resolution, InstallFailure), resolution.message
        wanted = pattern.of("ollama", version, platform.machine())
        resolution = self.environments.with_artefact(resolution, wanted)
        assert not isinstance(resolution, InstallFailure), resolution.message
        if converter:
            settings = settings_from_environment(os.environ)
            sources = fetch_source(RECIPE.sources, resolution.lock.versions, settings, cutoff=datetime.now(UTC))
            assert sources is not None
            resolution = self.environments.with_artefact(resolution, sources)
            assert not isinstance(resolution, InstallFailure), resolution.message
        environment = self.environments.ensure(resolution.lock)
        assert not isinstance(environment, InstallFailure), environment.message
        return environment

    def probe(self, version: str, archive: Path, *, converter: bool = False, **limits: Any) -> Probed:
        subject = Subject("probed", "probed", SubjectForm.FOLDER, "qwen3", "digest", qualified=True)
        prepared = PreparedSubject(subject, self.folder, golden_of_folder(self.folder))
        session_runner = replace(self.session_runner, allowed=self.session_runner.allowed.model_copy(update=limits))
        environment = self.install(version, archive, converter=converter)
        result = session_runner.run_session(
            SessionSpec(uuid.uuid4().hex, Runtime.OLLAMA, version, environment, (prepared,)),
            subject_finished=lambda *_: None,
        )
        checks = judge_subject(result.session, subject.id, result.ending, runtime=Runtime.OLLAMA, hang_counts=False)
        verdict = judge_run(checks, Circumstances(subject, Runtime.OLLAMA, version, Control.GREEN))
        return Probed({check.name: check for check in checks}, verdict, result.log.decode(errors="replace"))


@pytest.fixture(scope="module")
def context(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    root = tmp_path_factory.mktemp("ollama")
    for folder in (root, root.parent):
        folder.chmod(folder.stat().st_mode | 0o755)  # a probe is another user
    home = root / "home"
    home.mkdir()
    with contextlib.closing(make_engine("docker", home)) as engine:
        base = base_of("docker", home)
        settings = replace(
            settings_from_environment(os.environ), seconds=300, memory_bytes=1 << 30, free_bytes=64 << 20
        )
        bundle = home / "probes.pyz"
        build_bundle(bundle)
        yield Shop(
            Environments(engine, base, home / "install", settings),
            SessionRunner(
                engine, base.image, bundle, home / "sessions", Limits(check_seconds=60, memory_gib=1), RECIPE
            ),
            write_subject(root),
        )


def write_subject(root: Path) -> Path:
    """Write a miniature with a template that the stand-in knows, and the GGUF that its publisher could have added."""
    folder = write_miniature(load_miniature("qwen3"), root)
    settings = json.loads((folder / "tokenizer_config.json").read_text(encoding="utf-8"))
    (folder / "tokenizer_config.json").write_text(json.dumps({**settings, "chat_template": CHATML}), encoding="utf-8")
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    values = {
        "general.architecture": "qwen3",
        "qwen3.embedding_length": config["hidden_size"],
        "qwen3.attention.layer_norm_rms_epsilon": float(config["rms_norm_eps"]),
        "qwen3.rope.freq_base": float(config["rope_theta"]),
        "tokenizer.chat_template": CHATML,
    }
    write_gguf(folder / "model.gguf", values)
    return folder


def test_a_release_without_fault_works_on_every_rung(context: Shop, tmp_path: Path) -> None:
    probed = context.probe(NEW, make_release(tmp_path, NEW))
    assert probed.verdict.verdict is CellVerdict.WORKS, (probed.verdict.reason, probed.log[-3000:])
    not_passed = {name: one for name, one in probed.outcomes().items() if one != "passed"}
    # its own table of convertible architectures does not hold this one, which breaks nothing; the model is published as
    # it is probed, takes neither images nor sounds, has no heads for several tokens, and its templates have no flaw
    no_use = {"loads.published", "generates.ahead", "generates.images", "generates.sounds"}
    no_flaw = {"speaks.templates", "speaks.ends"}
    assert not_passed == dict.fromkeys({"loads.safetensors", *no_use, *no_flaw}, "skipped")
    assert 'unsupported architecture "Qwen3ForCausalLM"' in probed.checks["loads.safetensors"].message
    assert {rung.rung: rung.verdict for rung in probed.verdict.rungs}[Rung.SERVES] is Verdict.PASSED


@dataclass(frozen=True)
class Story:
    """A fault of the stand-in, what settle says of it, and the check that is the first to fail."""

    told: str
    version: str
    fault: str
    check: str
    verdict: CellVerdict = CellVerdict.BROKEN
    blame: Blame = Blame.RUNTIME


STORIES = [
    Story("unknown-at-create", ZSTD, "unknown-architecture", "knows.accepts"),
    Story("unknown-at-load", NEW, "unknown-architecture", "knows.accepts"),
    Story("unknown-at-load", ZSTD, "unknown-architecture", "knows.accepts"),
    Story("needs-newer", NEW, "needs-newer", "knows.accepts"),
    Story("missing-tensor", ZSTD, "load-error", "loads.runs"),
    Story("out-of-memory", ZSTD, "infra-memory", "loads.runs", CellVerdict.UNKNOWN, Blame.INFRA),
    Story("timed-out", ZSTD, "infra-time", "loads.runs", CellVerdict.UNKNOWN, Blame.INFRA),
    Story("crash", ZSTD, "runner-crashed", "loads.runs"),
    Story("dies-generating", NEW, "runner-crashed", "generates.text"),
    Story("error-in-stream", NEW, "unclassified", "speaks.streams", CellVerdict.UNKNOWN, Blame.UNATTRIBUTED),
    Story("stream-differs", NEW, "stream-differs", "speaks.streams"),
    Story("template-differs", NEW, "template-differs", "speaks.template"),
    Story("tools-unsupported", NEW, "tools-unsupported", "speaks.tools"),
    Story("ignores-stop", NEW, "parameter-ignored", "generates.stops"),
]


@pytest.mark.parametrize("story", STORIES, ids=lambda story: f"{story.told} {story.version}")
def test_a_fault_is_told_by_its_name_and_blamed_on_whom_it_is_of(context: Shop, tmp_path: Path, story: Story) -> None:
    probed = context.probe(story.version, make_release(tmp_path, story.version, story.told))
    told = (probed.verdict.reason, probed.faults(), probed.log[-3000:])
    assert probed.verdict.verdict is story.verdict, told
    assert (probed.verdict.fault, probed.verdict.blame) == (story.fault, story.blame), told
    assert next(iter(probed.faults())) == story.check, told
    assert probed.verdict.rung is probed.checks[story.check].rung


def test_a_release_of_another_version_than_was_asked_is_the_archives_fault(context: Shop, tmp_path: Path) -> None:
    probed = context.probe(NEW, make_release(tmp_path, NEW, "wrong-version"))
    assert (probed.verdict.verdict, probed.verdict.fault) == (CellVerdict.UNKNOWN, "infra-recipe")
    assert "'0.0.0'" in probed.checks["installs.imports"].message


def test_log_probabilities_are_not_missed_where_there_were_none_yet(context: Shop, tmp_path: Path) -> None:
    old = context.probe(OLD, make_release(tmp_path, OLD))
    assert old.verdict.verdict is CellVerdict.WORKS, old.verdict.reason
    assert old.checks["generates.logprobs"].outcome is Outcome.SKIPPED
    assert "0.12.11" in old.checks["generates.logprobs"].message
    gone = context.probe(NEW, make_release(tmp_path, NEW, "no-logprobs"))
    assert gone.faults() == {"generates.logprobs": "missing-logprobs"}


def test_a_hang_is_no_verdict_by_itself(context: Shop, tmp_path: Path) -> None:
    probed = context.probe(NEW, make_release(tmp_path, NEW, "hang"), check_seconds=5.0)
    assert (probed.verdict.verdict, probed.verdict.fault) == (CellVerdict.UNKNOWN, "hung")


def test_the_checkpoint_itself_is_converted_where_the_architecture_is_in_the_table(
    context: Shop, tmp_path: Path
) -> None:
    folder = write_subject(tmp_path)
    for parent in (tmp_path, tmp_path.parent):
        parent.chmod(0o755)
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    (folder / "config.json").write_text(json.dumps({**config, "architectures": ["LlamaForCausalLM"]}), encoding="utf-8")
    probed = replace(context, folder=folder).probe(NEW, make_release(tmp_path, NEW))
    assert probed.checks["loads.safetensors"].outcome is Outcome.PASSED, probed.checks["loads.safetensors"].message


def test_without_a_gguf_and_a_converter_nobody_is_blamed(context: Shop, tmp_path: Path) -> None:
    probed = replace(context, folder=of_safetensors_alone(tmp_path)).probe(NEW, make_release(tmp_path, NEW))
    assert (probed.verdict.verdict, probed.verdict.blame) == (CellVerdict.UNKNOWN, Blame.INFRA)


def of_safetensors_alone(root: Path) -> Path:
    """Write a folder with a tokenizer that the converter recognises by itself."""
    for parent in (root, root.parent):
        parent.chmod(0o755)
    return with_pieces(root)


@pytest.mark.index
def test_without_a_gguf_llama_cpps_converter_makes_one(context: Shop, tmp_path: Path) -> None:
    probed = replace(context, folder=of_safetensors_alone(tmp_path)).probe(
        NEW, make_release(tmp_path, NEW), converter=True, memory_gib=3, subject_memory_gib=2
    )
    made = probed.checks["loads.gguf"]
    assert made.outcome is Outcome.PASSED, (made.message, probed.log[-3000:])
    assert made.evidence == {"brought": False}
    # what it says of the model is read back, and is what config.json says
    for name in ("knows.accepts", "loads.creates", "loads.runs", "knows.config", "generates.text", "serves.ready"):
        assert probed.checks[name].outcome is Outcome.PASSED, (name, probed.checks[name].message)


needs_a_real_one = pytest.mark.skipif(
    not REAL, reason="NO REAL OLLAMA: name a release archive in SETTLE_TEST_OLLAMA_ARCHIVE to run it"
)


@pytest.mark.index
@needs_a_real_one
def test_a_real_release_takes_a_miniature_that_is_converted(context: Shop, tmp_path: Path) -> None:
    version = version_of(context, context.install("0", Path(REAL)))
    probed = replace(context, folder=of_safetensors_alone(tmp_path)).probe(
        version, Path(REAL), converter=True, memory_gib=4, subject_memory_gib=3
    )
    for name in ("loads.gguf", "knows.accepts", "loads.creates", "loads.runs", "generates.text", "serves.ready"):
        assert probed.checks[name].outcome is Outcome.PASSED, (name, probed.checks[name].message, probed.log[-3000:])


@needs_a_real_one
def test_a_real_release_starts_answers_and_refuses_a_model_without_tensors(context: Shop) -> None:
    version = version_of(context, context.install("0", Path(REAL)))
    probed = context.probe(version, Path(REAL))
    assert probed.checks["installs.imports"].outcome is Outcome.PASSED, probed.log[-3000:]
    assert probed.checks["knows.accepts"].outcome is Outcome.PASSED, probed.log[-3000:]
    assert set(probed.faults().values()) == {"load-error"}, (probed.faults(), probed.log[-3000:])


def version_of(context: Shop, environment: Environment) -> str:
    asked = context.session_runner.engine.run(
        Command(
            argv=(f"{environment.path}/bin/ollama", "--version"),
            role=Role.PROBE,
            image=context.session_runner.image,
            mounts=(environment.mount,),
            limits=CommandLimits(seconds=60, memory_bytes=1 << 30),
        )
    )
    found = re.search(r"version is (\S+)", asked.log.decode(errors="replace"))
    assert found, asked.log
    return found[1]
