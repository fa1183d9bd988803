"""What Ollama says when something fails becomes the fault that it is, in all its releases' words."""

from __future__ import annotations

import tarfile
from contextlib import contextmanager
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from probes.catalogue import sequence
from probes.checkpoint import BadFileError, chat_template_of
from probes.checks import serves
from probes.faults import classify
from probes.runtimes.ollama import Ollama
from probes.runtimes.ollama_server import LoadRefusedError, Server, ServerEndedError, ServerError
from probes.wire import FAULTS
from tests.standins.ollama import make_release, write_gguf

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SERVER = "llama-server process has terminated: "
RUNNER = "llama runner process has terminated: "
QUANTIZE = (
    "failed to validate GGUF with llama-quantize without compatibility patches: llama-quantize failed: exit status 1"
)
NEWER = "pull model manifest: 412: The model you are attempting to pull requires a newer version of Ollama."
CASES = [
    (NEWER, "needs-newer"),
    ('unsupported architecture "Qwen3ForCausalLM"', "unknown-architecture"),
    (f"{SERVER}exit status 1: error loading model: unknown model architecture: 'mllama'", "unknown-architecture"),
    (f"{QUANTIZE}; its log: error loading model: unknown model architecture: 'x'", "unknown-architecture"),
    ("unable to load model: sha256-1; its log: unknown model architecture: 'qwen35'", "unknown-architecture"),
    ("model not supported", "unknown-architecture"),
    (QUANTIZE, "load-error"),
    (f"{SERVER}exit status 1: error loading model: missing tensor 'blk.0.attn_q.weight'", "load-error"),
    (f"{RUNNER}error loading model: done_getting_tensors: wrong number of tensors; expected 1, got 2", "load-error"),
    # the machine's lack goes before the wrapping in which it comes
    (f"{SERVER}error loading model: unable to allocate CPU buffer", "infra-memory"),
    ("llama-server reported out-of-memory during startup: exit status 1", "infra-memory"),
    ("model requires more system memory (9.1 GiB) than is available (1.0 GiB)", "infra-memory"),
    (f"{RUNNER}signal: killed", "infra-memory"),
    ("write /models/blobs/sha256-1: no space left on device", "infra-disk"),
    ("timed out waiting for llama-server to start - ", "infra-time"),
    ("llama-server binary not found (checked: /x, /y)", "infra-recipe"),
    (f"{SERVER}error while loading shared libraries: libx.so.1: cannot open shared object file", "infra-recipe"),
    ('digest mismatch, expected "sha256:1", got "sha256:2"', "infra-recipe"),
    (f"{RUNNER}signal: illegal instruction (core dumped)", "unsupported-on-platform"),
    ("this model requires MLX support, but the MLX runtime is not available", "unsupported-on-platform"),
    (f"{SERVER}signal: aborted (core dumped)", "runner-crashed"),
    ("something that nobody has seen", "load-error"),
]


@pytest.mark.parametrize(("said", "fault"), CASES, ids=[said[:40] for said, _ in CASES])
def test_a_failure_to_create_or_load_is_told_by_its_cause(said: str, fault: str) -> None:
    assert classify(LoadRefusedError(said), "loads.runs", "ollama", Ollama.phrases) == fault


def test_what_is_not_known_of_an_answer_is_nobodys_and_an_end_is_a_crash() -> None:
    def said(error: Exception) -> str:
        return classify(error, "generates.text", "ollama", Ollama.phrases)

    assert said(ServerError("unexpected EOF")) == "unclassified"
    assert said(ServerEndedError("the server ended with exit status 2")) == "runner-crashed"
    assert said(ServerEndedError("the server ended with signal: SIGKILL")) == "infra-memory"


def test_every_saying_is_lower_case_and_names_a_fault_that_a_probe_may_claim() -> None:
    for fault, phrases in Ollama.phrases:
        assert fault in FAULTS
        assert [phrase for phrase in phrases if phrase != phrase.lower()] == []


@pytest.mark.parametrize(
    ("files", "template"),
    [
        ({"tokenizer_config.json": '{"chat_template": "one"}'}, "one"),
        ({"tokenizer_config.json": '{"chat_template": "one"}', "chat_template.jinja": "beside"}, "beside"),
        ({"tokenizer_config.json": '{"chat_template": [{"name": "default", "template": "named"}]}'}, "named"),
        ({"tokenizer_config.json": "{}"}, ""),
        ({}, ""),
    ],
)
def test_the_models_own_template_lies_in_one_of_two_files(tmp_path: Path, files: dict[str, str], template: str) -> None:
    for name, content in files.items():
        (tmp_path / name).write_text(content, encoding="utf-8")
    assert chat_template_of(tmp_path) == template


class Failing:
    """A converter that fails in one way, and may be unfit by our doing."""

    def __init__(self, error: Exception, unfit: str = "") -> None:
        self._error, self._unfit = error, unfit

    def convert(self, _folder: Path, _target: Path, *, synthetic: bool) -> None:
        assert synthetic
        raise self._error

    def out_of_range(self) -> str:
        return self._unfit


@pytest.mark.parametrize(
    ("converter", "fault"),
    [
        (Failing(ValueError("can not map tensor 'model.x'")), "gguf-not-made"),
        (Failing(NotImplementedError("unsupported architecture: 'X' out of memory")), "gguf-not-made"),
        (Failing(ValueError("no attribute"), "the converter asks for transformers<5"), "infra-recipe"),
        (Failing(OSError(28, "No space left on device")), "infra-disk"),
        (Failing(MemoryError()), "infra-memory"),
        (None, "infra-recipe"),
    ],
)
def test_what_the_converter_cannot_do_is_not_ollamas_fault(tmp_path: Path, converter: Any, fault: str) -> None:
    runtime = Ollama()
    runtime._converter = converter
    with pytest.raises(Exception) as failed:  # noqa: PT011 - each way has its own
        runtime.gguf(tmp_path, synthetic=True)
    assert classify(failed.value, "loads.gguf", "ollama", Ollama.phrases) == fault


def test_a_gguf_that_is_brought_goes_before_one_of_ours(tmp_path: Path) -> None:
    brought = tmp_path / "model-f16.gguf"
    brought.write_bytes(b"GGUF")
    assert Ollama().gguf(tmp_path, synthetic=False) == brought
    (tmp_path / "other.gguf").write_bytes(b"GGUF")
    with pytest.raises(BadFileError, match="2 GGUF files"):
        Ollama().gguf(tmp_path, synthetic=False)


@contextmanager
def loaded(folder: Path, fault: str = "") -> Iterator[Any]:
    """Lend a subject whose model the stand-in has created and loaded."""
    with tarfile.open(make_release(folder, "0.13.5", fault)) as release:
        release.extractall(folder / "release", filter="data")
    runtime = Ollama()
    runtime._running = Server(folder / "release" / "bin" / "ollama", folder)
    runtime._gguf = write_gguf(folder / "model.gguf", {"general.architecture": "llama"})
    assert runtime.attempt.error is None
    try:
        yield SimpleNamespace(runtime=runtime, folder=folder, golden={"texts": ["a"]}, config_json={})
    finally:
        runtime.server.stop()


@pytest.mark.parametrize(
    ("fault", "wrong"),
    [
        ("", {}),
        ("v1-stream-differs", {"serves.streams": "stream-differs"}),
        ("v1-ignores-seed", {"serves.seed": "parameter-ignored"}),
    ],
)
def test_what_any_server_is_asked_is_asked_of_ollama_by_its_other_interface(
    tmp_path: Path, fault: str, wrong: dict[str, str]
) -> None:
    shared = [check.name for check in sequence("ollama") if check.needs == "server"]
    with loaded(tmp_path, fault) as subject:
        answers = {name: getattr(serves, name.partition(".")[2])(subject) for name in shared}
    assert {name: answer.fault for name, answer in answers.items() if answer.outcome != "passed"} == wrong
    assert {"serves.ready", "serves.completes", "serves.stop", "serves.schema", "serves.alike"} < set(answers)
