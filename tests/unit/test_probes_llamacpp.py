"""What llama.cpp says is told apart by whose fault it is, is heard at all, and what its files say is compared."""

from __future__ import annotations

import math
import os
import random
import signal
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from probes.checks import loads
from probes.configuration import metadata_difference
from probes.faults import FaultError, ReportedError, classify
from probes.runtimes import UnavailableError
from probes.runtimes.converter import Converter
from probes.runtimes.llamacpp import PHRASES, LlamaCpp, Specials, StderrCapture, UnfitError, with_stderr
from probes.runtimes.traces import PlainTrace
from probes.wire import FAULTS

if TYPE_CHECKING:
    from pathlib import Path

# as they stand in the logs, with the prefixes of newer builds
SAID = {
    "E llama_model_load: error loading model: error loading model architecture: unknown model architecture: 'qwen35'":
        "unknown-architecture",
    "llama_model_load: error loading model: missing tensor 'blk.1.ffn_up.weight'": "missing-tensors",
    "E llama_model_load: error loading model: check_tensor_dims: tensor 'blk.1.ffn_up.weight' not found":
        "missing-tensors",
    "error loading model: tensor 'output.weight' data is not within the file bounds, model is corrupted or incomplete":
        "bad-checkpoint",
    "error loading model hyperparameters: key not found in model: nemotron_h_moe.attention.layer_norm_rms_epsilon":
        "load-error",
    "error loading model vocabulary: unknown pre-tokenizer type: 'glm4'": "load-error",
    "ggml_aligned_malloc: insufficient memory (attempted to allocate 4096.00 MB)": "infra-memory",
}  # fmt: skip


@pytest.mark.parametrize("said", SAID)
def test_a_saying_has_its_fault(said: str) -> None:
    fault = classify(ReportedError(f"Failed to init server | {said}"), "loads.model", "xllamacpp", PHRASES)
    assert fault == SAID[said]
    assert fault in FAULTS


def test_a_converter_without_a_class_does_not_know_the_architecture() -> None:
    error = ReportedError("the converter has no class for NeverPublishedForCausalLM")
    assert classify(error, "knows.architecture", "xllamacpp", PHRASES) == "unknown-architecture"


def test_a_package_that_the_converter_lacks_is_our_recipes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "share" / "sources" / "llama.cpp"
    folder.mkdir(parents=True)
    (folder / "convert_hf_to_gguf.py").write_text("import mistral_uncommon\n", encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)  # and what loading puts before it is taken back
    with pytest.raises(FaultError, match="asks for mistral_uncommon") as caught:
        Converter(prefix=str(tmp_path)).load()
    assert classify(caught.value, "installs.imports", "xllamacpp", PHRASES) == "infra-recipe"


def test_what_we_made_up_is_never_the_runtimes_fault() -> None:
    adapter = LlamaCpp()
    shape = "check_tensor_dims: tensor 'blk.0.attn_q.weight' has wrong shape; expected 256, 256, got 256, 512"
    assert isinstance(adapter.refused(shape), ReportedError)  # a user's own checkpoint
    adapter.shrunk = True  # our sizes are not the publisher's
    assert classify(adapter.refused(shape), "loads.model", "xllamacpp", PHRASES) == "infra-miniature"
    assert isinstance(adapter.refused("key not found in model: x.expert_count"), ReportedError)
    adapter.made_up = True  # nor is our configuration
    assert isinstance(adapter.refused("key not found in model: x.expert_count"), UnfitError)


def test_a_name_that_is_published_is_the_converters_to_know() -> None:
    adapter, unknown = LlamaCpp(), ValueError("Can not map tensor 'model.layers.0.mlp.ffn_sub_norm.weight'")
    assert not adapter.misled(unknown, published_names=False)  # a user's own checkpoint
    adapter.shrunk = adapter.made_up = True
    assert adapter.misled(unknown, published_names=False)  # it may be named so in transformers alone
    assert not adapter.misled(unknown, published_names=True)
    assert adapter.misled(KeyError("rope_theta"), published_names=True)


def test_a_tensor_that_a_users_files_may_not_hold_is_not_the_loaders_fault() -> None:
    refused = LlamaCpp().refused("error loading model: missing tensor 'blk.1.ffn_up.weight'")
    assert classify(refused, "loads.model", "xllamacpp", PHRASES) == "bad-checkpoint"


@pytest.mark.parametrize(
    ("number", "fault", "of_a_made_up_one"),
    [
        (signal.SIGKILL, "infra-memory", "infra-memory"),
        (signal.SIGILL, "unsupported-on-platform", "unsupported-on-platform"),
        (signal.SIGABRT, "load-error", "infra-miniature"),
    ],
)
def test_a_loader_that_a_signal_ends_is_blamed_on_who_can_have_sent_it(
    number: int, fault: str, of_a_made_up_one: str
) -> None:
    adapter = LlamaCpp()
    assert classify(adapter.ended(number, ""), "loads.model", "xllamacpp", PHRASES) == fault
    adapter.made_up = True
    assert classify(adapter.ended(number, ""), "loads.model", "xllamacpp", PHRASES) == of_a_made_up_one


def test_stderr_is_heard_and_still_goes_where_it_went(capfd: pytest.CaptureFixture[str]) -> None:
    def refuses() -> None:
        os.write(2, b"loading\nerror: tensor 'a' not found\nbye\n")
        raise ValueError("no")

    with pytest.raises(ReportedError, match=r"^no \| error: tensor 'a' not found$"):
        with_stderr(refuses)
    os.write(2, b"later\n")
    assert capfd.readouterr().err == "loading\nerror: tensor 'a' not found\nbye\nlater\n"


def test_of_a_log_only_what_went_wrong_is_told() -> None:
    capture = StderrCapture()
    capture.text = """\
0.00.002.750 I srv          init: build_info: b0-unknown
0.00.005.440 I srv    load_model: loading model '/tmp/settle-gguf/f32.gguf'
 - kv   3: general.name str = unknown error
0.00.008.832 E llama_model_load: error loading model: check_tensor_dims: tensor 'blk.0.attn_q.weight' has wrong shape
/workspace/llama.cpp/src/llama-graph.cpp:2116: fatal error
/env/lib/xllamacpp.abi3.so(ggml_abort+0x11d)[0x7f88170dac3d]
/env/lib/xllamacpp.abi3.so(+0xeda6c8)[0x7f88170da6c8]
"""
    assert capture.tail() == (
        "llama_model_load: error loading model: check_tensor_dims: tensor 'blk.0.attn_q.weight' has wrong shape"
        " | /workspace/llama.cpp/src/llama-graph.cpp:2116: fatal error"
    )


def test_the_beginning_is_put_back_only_where_the_template_has_it() -> None:
    said: dict[str, Any] = {"tokenizer.ggml.tokens": ["<s>"], "tokenizer.ggml.bos_token_id": 0}
    assert Specials({**said, "tokenizer.chat_template": "{{ bos_token }}hi"}).with_beginning("hi") == "<s>hi"
    assert Specials({**said, "tokenizer.chat_template": "{{ bos_token }}hi"}).with_beginning("<s>hi") == "<s>hi"
    assert Specials({**said, "tokenizer.chat_template": "hi"}).with_beginning("hi") == "hi"


def test_a_date_of_the_templates_own_is_kept() -> None:
    template = '{%- if not date_string is defined %}{%- set date_string = "26 Jul 2024" %}{%- endif %}'
    assert Specials({"tokenizer.chat_template": template}).template_date() == {"date_string": "26 Jul 2024"}


OWN = {
    "max_position_embeddings": 4096,
    "rms_norm_eps": 3e-6,
    "rope_theta": 1250000,
    "num_experts_per_tok": 4,
    "sliding_window": None,
}
SAME = {
    "general.architecture": "qwen3",
    "qwen3.context_length": 4096,
    "qwen3.attention.layer_norm_rms_epsilon": 3.0000001061125658e-06,  # as float32 has it
    "qwen3.rope.freq_base": 1250000.0,
    "qwen3.expert_used_count": 4,
    "qwen3.attention.sliding_window": 128,
}


def test_a_file_that_says_the_same_agrees() -> None:
    assert metadata_difference(OWN, SAME) == ({}, [], 4)


@pytest.mark.parametrize(
    ("key", "value", "name"),
    [
        ("qwen3.rope.freq_base", 10000.0, "rope_theta"),
        ("qwen3.attention.layer_norm_rms_epsilon", 1e-05, "rms_norm_eps"),
        ("qwen3.context_length", 256, "max_position_embeddings"),
        ("qwen3.expert_used_count", 8, "num_experts_per_tok"),
    ],
)
def test_a_default_in_place_of_the_models_own_value_shows(key: str, value: float, name: str) -> None:
    assert list(metadata_difference(OWN, {**SAME, key: value}).wrong) == [name]


def test_a_model_without_positions_may_be_given_any_length() -> None:
    assert not metadata_difference(OWN, {**SAME, "qwen3.context_length": 1 << 20}).wrong


class Spread:
    """A model whose logits are those of one draw, times a factor."""

    def __init__(self, factor: float) -> None:
        source = random.Random(0)  # noqa: S311 -- a language model, not a secret
        self._rows = [[factor * source.gauss(0, 1) for _ in range(512)] for _ in range(12)]

    def forward(self, _row: object) -> PlainTrace:
        totals = [math.log(sum(map(math.exp, row))) for row in self._rows]
        return PlainTrace(
            [
                {index: one - total for index, one in enumerate(row)}
                for row, total in zip(self._rows, totals, strict=True)
            ]
        )


@pytest.mark.parametrize(
    ("factor", "outcome", "fault"),
    [
        (1.02, "passed", None),
        (3.0, "failed", "quantised-differs"),
        (math.nan, "failed", "not-finite"),
        (0, "skipped", None),
    ],
)
def test_a_scale_that_is_too_large_is_no_rounding(factor: float, outcome: str, fault: str | None) -> None:
    def quantised(_subject: object, kind: str) -> Spread:
        if kind != "q8_0" or not factor:
            raise UnavailableError(f"nothing makes {kind} here")
        return Spread(factor)

    subject: Any = SimpleNamespace(
        row=lambda length, seed: [seed] * length, model=Spread(1), runtime=SimpleNamespace(quantised=quantised)
    )
    answer = loads.quantises(subject)
    assert (answer.outcome, answer.fault) == (outcome, fault)
