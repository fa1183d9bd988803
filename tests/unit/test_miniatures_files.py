"""What a miniature writes: the same bytes everywhere, once, and texts that come back."""

from __future__ import annotations

import hashlib
import json
import math
import statistics
import struct
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.miniatures.derive import scaled
from monitor.miniatures.golden import MESSAGES, golden, golden_of_folder
from monitor.miniatures.manifest import (
    Tensor,
    expand,
    format_tensors,
    load_miniature,
    miniature_slugs,
    parse_tensors,
)
from monitor.miniatures.template import CLOCK, render
from monitor.miniatures.tokenizer import TEXTS, Style, Tokens, merges, tokenizer_json, vocabulary
from monitor.miniatures.writer import digest_of, tensor_bytes, write_miniature
from probes.checkpoint import makes_text

if TYPE_CHECKING:
    from pathlib import Path

TOKENS = Tokens(bos="<s>", eos=("</s>",), pad="<pad>")


def floats_of(data: bytes) -> list[float]:
    """Read bfloat16."""
    return [struct.unpack("<f", b"\0\0" + data[place : place + 2])[0] for place in range(0, len(data), 2)]


def test_tensor_bytes_are_pinned() -> None:
    # raise WRITER in the writer when this has to change: digests of miniatures name these bytes
    data = b"".join(
        tensor_bytes(Tensor("model.norm.weight", (64,), dtype, 1.0, 0.1)) for dtype in ("BF16", "F32", "F16")
    )
    assert hashlib.sha256(data).hexdigest() == "714ce36b00954b41679279cfe4f30539d3248aff14d25cc7bc326d2010536441"


def test_values_have_the_mean_and_spread_asked_for() -> None:
    values = floats_of(tensor_bytes(Tensor("x", (100, 200), "BF16", 1.0, 0.5)))
    assert statistics.fmean(values) == pytest.approx(1.0, abs=0.02)
    assert statistics.stdev(values) == pytest.approx(0.5, abs=0.02)


def test_two_tensors_differ_and_one_repeats() -> None:
    first, second = (Tensor(name, (64,), "BF16", 0.0, 1.0) for name in ("a", "b"))
    assert tensor_bytes(first) == tensor_bytes(first) != tensor_bytes(second)


def test_integers_count_up_to_their_spread() -> None:
    data = tensor_bytes(Tensor("t", (2, 3), "I64", 0.0, 3.0))
    assert list(struct.unpack("<6q", data)) == [0, 1, 2, 3, 0, 1]


@pytest.mark.parametrize("slug", ["llama", "gemma3", "gpt-oss", "nemotron-h", "deepseek-v4", "qwen3-5-moe"])
def test_written_checkpoints_are_whole(slug: str, tmp_path: Path) -> None:
    miniature = load_miniature(slug)
    written = write_miniature(miniature, tmp_path)
    with (written / "model.safetensors").open("rb") as file:
        header = json.loads(file.read(struct.unpack("<Q", file.read(8))[0]))
        start = file.tell()
        size = file.seek(0, 2) - start
    header.pop("__metadata__")
    assert {name: tuple(entry["shape"]) for name, entry in header.items()} == {
        tensor.name: tensor.shape for tensor in miniature.tensors
    }
    assert max(entry["data_offsets"][1] for entry in header.values()) == size
    assert start % 8 == 0
    assert json.loads((written / "config.json").read_text(encoding="utf-8")) == miniature.config


def test_what_is_written_is_written_once(tmp_path: Path) -> None:
    miniature = load_miniature("llama")
    first = write_miniature(miniature, tmp_path)
    before = (first / "model.safetensors").stat().st_mtime_ns
    assert write_miniature(miniature, tmp_path) == first
    assert (first / "model.safetensors").stat().st_mtime_ns == before
    assert [entry.name for entry in tmp_path.iterdir()] == [first.name]


def test_another_configuration_is_another_digest() -> None:
    miniature = load_miniature("llama")
    assert digest_of(miniature) != digest_of(replace(miniature, config={**miniature.config, "rope_theta": 1.0}))


@pytest.mark.parametrize("slug", miniature_slugs())
def test_every_miniature_is_small_and_every_scale_finite(slug: str) -> None:
    tensors = load_miniature(slug).tensors
    assert all(math.isfinite(tensor.mean) and math.isfinite(tensor.std) for tensor in tensors)
    assert sum(math.prod(tensor.shape) for tensor in tensors) < 12_000_000


@pytest.mark.parametrize("slug", miniature_slugs())
def test_no_tensor_is_in_the_language_model_twice(slug: str) -> None:
    # 4.53.0 saves gemma3n's per_layer_model_projection as per_layer_model.language_model_projection
    assert not [tensor.name for tensor in load_miniature(slug).tensors if tensor.name.count("language_model") > 1]


def test_rows_of_tensors_come_back() -> None:
    tensors = [
        Tensor(f"layers.{layer}.experts.{expert}.up.weight", (2, 3), "BF16", 0.0, 0.5)
        for layer in (0, 1, 3)
        for expert in range(4)
        if (layer, expert) != (3, 2)
    ]
    text = format_tensors(tensors)
    assert parse_tensors(text) == sorted(tensors, key=lambda tensor: tensor.name)
    assert len(text.splitlines()) == 3


@given(st.sets(st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=1))
def test_any_set_of_indices_comes_back(indices: set[tuple[int, int]]) -> None:
    tensors = {Tensor(f"a.{left}.b.{right}.c", (1,), "F32", 0.0, 1.0) for left, right in indices}
    assert set(parse_tensors(format_tensors(tensors))) == tensors


def test_ranges_expand() -> None:
    assert expand("a.{0-1,3}.b.{2}") == ["a.0.b.2", "a.1.b.2", "a.3.b.2"]


def test_uninitialised_memory_never_gets_into_a_scale() -> None:
    tensor = scaled(Tensor("model.norm.weight", (8,), "F32", 1e30, math.nan), gain=1.0)
    assert (tensor.mean, tensor.std) == (0.0, 0.02)
    drawn, empty = (scaled(Tensor("experts.down_proj", (4, 16, 8), "F32", mean, 1.0), gain=1.0) for mean in (0.0, 1e30))
    assert drawn == empty


@pytest.mark.parametrize("style", Style)
def test_every_character_of_the_texts_is_in_the_vocabulary(style: Style) -> None:
    words = vocabulary(replace(TOKENS, style=style))
    assert sorted(words.values()) == list(range(512))
    assert all(left + right in words for left, right in merges(style))
    if style is Style.METASPACE:
        assert not [char for text in TEXTS for char in text if char != " " and char not in words]
        assert all(word.isprintable() or word in "\n\t\u200d" for word in words)


def test_the_beginning_token_goes_in_front() -> None:
    assert tokenizer_json(TOKENS)["post_processor"]["special_tokens"]["<s>"]["ids"] == [2]
    assert tokenizer_json(replace(TOKENS, bos=None))["post_processor"] is None


@pytest.mark.parametrize("slug", miniature_slugs())
def test_every_miniature_that_makes_text_has_a_golden_rendering(slug: str) -> None:
    miniature = load_miniature(slug)
    found = golden(miniature)
    assert (found["template"] is None) == (not makes_text(miniature.config))
    if found["template"] is None:
        return
    assert MESSAGES[-1]["content"].splitlines()[0] in found["template"]["rendered"]


@pytest.mark.parametrize("slug", miniature_slugs())
def test_special_tokens_are_the_configurations_own(slug: str) -> None:
    miniature = load_miniature(slug)
    specials = golden(miniature)["specials"]
    own = miniature.config.get("eos_token_id", miniature.config.get("text_config", {}).get("eos_token_id"))
    if own is not None:
        assert set(own if isinstance(own, list) else [own]) <= set(specials["eos"])


@pytest.mark.parametrize(
    ("template", "rendered"),
    [
        ("{% for m in messages %}\n  {% if loop.index > 1 %}{% break %}{% endif %}\n{{ m.role }}{% endfor %}", "user"),
        ("{{ {'ü': 1} | tojson }}", '{"ü": 1}'),
        ("{{ bos_token }}{% generation %}x{% endgeneration %}{{ eos_token }}", "<s>x</s>"),
        ("{{ tools is none }} {{ add_generation_prompt }}", "True True"),
    ],
)
def test_templates_render_as_published_ones_expect(template: str, rendered: str) -> None:
    assert (
        render(template, [dict(message) for message in MESSAGES], {"bos_token": "<s>", "eos_token": "</s>"}) == rendered
    )


def test_a_template_that_writes_the_time_has_a_golden_of_a_fixed_moment(tmp_path: Path) -> None:
    settings: dict[str, Any] = {"chat_template": "{{ strftime_now('%Y') }}", "bos_token": {"content": "<s>"}}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(settings), encoding="utf-8")
    template = golden_of_folder(tmp_path)["template"]
    assert template["rendered"] == str(CLOCK.year)
    assert template["clock"] == {"at": CLOCK.isoformat(), "formats": ["%Y"]}
