"""A miniature in its published form holds the values of its plain twin, laid out as the format has them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from monitor.miniatures.unmeasured import form_of
from probes import bits, forms
from probes.checkpoint import tensors
from probes.checks.whole import _compared
from probes.runtimes import UnavailableError
from probes.runtimes.traces import PlainTrace
from tests.specimens.checkpoints import read_safetensors, write_safetensors

if TYPE_CHECKING:
    from pathlib import Path

ROWS, COLUMNS = 576, 256  # the rows are no multiple of a block, as in DeepSeek's kv_a_proj_with_mqa
NAME = "model.layers.0.mlp.up_proj"
BLOCKS = {"quant_method": "fp8", "weight_block_size": [128, 128]}
PACKED = {"num_bits": 4, "group_size": 32, "symmetric": True}


def compressed(kind: str, **weights: Any) -> dict[str, Any]:
    return {"quant_method": "compressed-tensors", "format": kind, "config_groups": {"group_0": {"weights": weights}}}


def folder(at: Path, **shapes: tuple[int, ...]) -> Path:
    """Write a checkpoint with normal weights in bfloat16."""
    at.mkdir()
    (at / "config.json").write_text(json.dumps({"model_type": "llama", "text_config": {"hidden_size": 4}}))
    source = np.random.default_rng(0)
    entries = {
        name: ("BF16", list(shape), bits.to_bytes("BF16", source.normal(0, 0.02, shape)))
        for name, shape in {f"{NAME}.weight": (ROWS, COLUMNS), **shapes}.items()
    }
    write_safetensors(at / "model.safetensors", entries)
    at.chmod(0o555)  # as a subject's folder is
    return at


def written(tmp_path: Path, quantization: dict[str, Any], **shapes: tuple[int, ...]) -> tuple[Any, dict[str, Any]]:
    """Return the values of the plain twin, and the tensors of the published form."""
    form = {"config": {"quantization_config": quantization}}
    made = forms.write(folder(tmp_path / "good", **shapes), form, tmp_path)
    twin = read_safetensors(made.plain / "model.safetensors")
    values = {name: bits.numbers(dtype, content).reshape(shape) for name, (dtype, shape, content) in twin.items()}
    parts = read_safetensors(made.published / "model.safetensors")
    kinds = {"F8_E4M3": "u1", "U8": "u1", "I32": "<u4", "I64": "<i8", "F32": "<f4", "F16": "<f2", "BF16": "<u2"}
    decoded = {
        name: np.frombuffer(content, kinds[dtype]).reshape(shape) for name, (dtype, shape, content) in parts.items()
    }
    for name, (dtype, _, _) in parts.items():
        if dtype == "BF16":
            decoded[name] = (decoded[name].astype("u4") << 16).view("<f4")
    return values, decoded


def e4m3(codes: Any) -> Any:
    """Decode FP8 by its definition."""
    exponent, mantissa = (codes >> 3 & 15).astype(int), (codes & 7) / 8
    size = np.where(exponent == 0, mantissa * 2.0**-6, (1 + mantissa) * 2.0 ** (exponent - 7))
    return np.where(codes & 128, -size, size)


def e2m1(packed: Any) -> Any:
    """Decode pairs of FP4, the lower half first."""
    table = np.array([0, 0.5, 1, 1.5, 2, 3, 4, 6])
    codes = np.stack([packed & 15, packed >> 4], axis=-1).reshape(*packed.shape[:-1], -1)
    return np.where(codes & 8, -table[codes & 7], table[codes & 7])


def nibbles(words: Any, order: tuple[int, ...] = tuple(range(8))) -> Any:
    """Unpack eight columns out of each word."""
    columns = np.stack([words >> 4 * order.index(column) & 15 for column in range(8)], axis=-1)
    return columns.reshape(words.shape[0], -1).astype(int)


def test_fp8_in_blocks_has_a_scale_for_each_also_for_one_that_is_cut_off(tmp_path: Path) -> None:
    values, parts = written(tmp_path, BLOCKS)
    scale = parts[f"{NAME}.weight_scale_inv"]
    assert scale.shape == (5, 2)
    assert len(set(scale.flatten().tolist())) > 1  # or scales in another order would not show
    each = scale.repeat(128, 0).repeat(128, 1)[:ROWS]
    assert (e4m3(parts[f"{NAME}.weight"]) * each == values[f"{NAME}.weight"]).all()


def test_fp8_of_a_tensor_has_one_scale_and_one_of_its_activations(tmp_path: Path) -> None:
    scheme = {"quant_method": "fp8", "weight_block_size": None, "activation_scheme": "static"}
    values, parts = written(tmp_path, scheme)
    assert parts[f"{NAME}.weight_scale_inv"].shape == parts[f"{NAME}.activation_scale"].shape == ()
    assert (e4m3(parts[f"{NAME}.weight"]) * parts[f"{NAME}.weight_scale_inv"] == values[f"{NAME}.weight"]).all()


@pytest.mark.parametrize(("strategy", "shape"), [("channel", (ROWS, 1)), ("tensor", (1,))])
def test_float_quantized(tmp_path: Path, strategy: str, shape: tuple[int, ...]) -> None:
    values, parts = written(tmp_path, compressed("float-quantized", strategy=strategy))
    scale = parts[f"{NAME}.weight_scale"]
    assert scale.shape == shape
    assert (e4m3(parts[f"{NAME}.weight"]) * scale == values[f"{NAME}.weight"]).all()


def test_pack_quantized(tmp_path: Path) -> None:
    values, parts = written(tmp_path, compressed("pack-quantized", **PACKED))
    assert parts[f"{NAME}.weight_shape"].tolist() == [ROWS, COLUMNS]
    codes = nibbles(parts[f"{NAME}.weight_packed"]) - 8
    assert (codes * parts[f"{NAME}.weight_scale"].repeat(32, 1) == values[f"{NAME}.weight"]).all()


def test_mxfp4_packed(tmp_path: Path) -> None:
    values, parts = written(tmp_path, compressed("mxfp4-pack-quantized"))
    scale = 2.0 ** (parts[f"{NAME}.weight_scale"].astype(int) - 127)
    assert (e2m1(parts[f"{NAME}.weight_packed"]) * scale.repeat(32, 1) == values[f"{NAME}.weight"]).all()


def test_mxfp4_of_stacked_experts_is_stored_the_other_way_round(tmp_path: Path) -> None:
    name = "model.layers.0.mlp.experts.down_proj"
    values, parts = written(tmp_path, {"quant_method": "mxfp4"}, **{name: (4, 64, 96)})
    blocks, scale = parts[f"{name}_blocks"], 2.0 ** (parts[f"{name}_scales"].astype(int) - 127)
    assert (blocks.shape, scale.shape) == ((4, 96, 2, 16), (4, 96, 2))
    meant = (e2m1(blocks) * scale[..., None]).reshape(4, 96, 64).transpose(0, 2, 1)
    assert (meant == values[name]).all()
    assert f"{NAME}.weight" in parts  # no other matrix is in this form


def test_nvfp4(tmp_path: Path) -> None:
    values, parts = written(tmp_path, {"quant_method": "modelopt", "quant_algo": "NVFP4"})
    scale = e4m3(parts[f"{NAME}.weight_scale"]) * parts[f"{NAME}.weight_scale_2"]
    assert (e2m1(parts[f"{NAME}.weight"]) * scale.repeat(16, 1) == values[f"{NAME}.weight"]).all()


def test_gptq(tmp_path: Path) -> None:
    values, parts = written(tmp_path, {"quant_method": "gptq", "bits": 4, "group_size": 64})
    index = parts[f"{NAME}.g_idx"]
    zeros = nibbles(parts[f"{NAME}.qzeros"]) + 1  # stored one less
    codes = nibbles(parts[f"{NAME}.qweight"].T).T
    meant = (codes - zeros[index]) * parts[f"{NAME}.scales"].astype(float)[index]
    assert (values[f"{NAME}.weight"] == meant.T).all()


def test_awq(tmp_path: Path) -> None:
    values, parts = written(tmp_path, {"quant_method": "awq", "bits": 4, "group_size": 64})
    order = (0, 2, 4, 6, 1, 3, 5, 7)
    codes, zeros = nibbles(parts[f"{NAME}.qweight"], order), nibbles(parts[f"{NAME}.qzeros"], order)
    meant = (codes - zeros.repeat(64, 0)) * parts[f"{NAME}.scales"].astype(float).repeat(64, 0)
    assert (values[f"{NAME}.weight"] == meant.T).all()


def test_bitnet(tmp_path: Path) -> None:
    values, parts = written(tmp_path, {"quant_method": "bitnet"})
    packed = parts[f"{NAME}.weight"]
    codes = np.concatenate([packed >> 2 * place & 3 for place in range(4)]).astype(int) - 1
    assert set(np.unique(codes)) == {-1, 0, 1}
    assert (codes / parts[f"{NAME}.weight_scale"] == values[f"{NAME}.weight"]).all()


PLAIN = ("model.embed_tokens.weight", "lm_head.weight", "model.layers.0.mlp.gate.weight")


@pytest.mark.parametrize(
    ("quantization", "left_out"),
    [
        (BLOCKS, ""),
        ({**BLOCKS, "modules_to_not_convert": ["model.vision_tower"]}, "vision_tower.layers.0.fc1.weight"),
        (
            {**compressed("pack-quantized", **PACKED), "ignore": ["re:.*self_attn.*"]},
            "model.layers.0.self_attn.q_proj.weight",
        ),
        ({**BLOCKS, "modules_to_not_convert": ["model.layers.*.self_attn*"]}, "model.layers.0.self_attn.q_proj.weight"),
    ],
)
def test_what_publishers_keep_plain_stays_plain(tmp_path: Path, quantization: dict[str, Any], left_out: str) -> None:
    others = ("vision_tower.layers.0.fc1.weight", "model.layers.0.self_attn.q_proj.weight")
    form = {"config": {"quantization_config": quantization}}
    shapes: dict[str, tuple[int, ...]] = dict.fromkeys((*PLAIN, *others), (64, 64))
    made = forms.write(folder(tmp_path / "good", norm=(64,), **shapes), form, tmp_path)
    assert set(made.encoded) == {f"{NAME}.weight", *others} - {left_out}
    before, after = tensors(tmp_path / "good"), tensors(made.published)
    for name in PLAIN:
        assert (after[name].dtype, after[name].shape) == (before[name].dtype, before[name].shape)


def test_the_configuration_says_it_in_the_section_that_the_publisher_uses(tmp_path: Path) -> None:
    form = {"config": {"text_config": {"quantization_config": BLOCKS}}}
    made = forms.write(folder(tmp_path / "good"), form, tmp_path)
    config = json.loads((made.published / "config.json").read_text())
    assert config == {"model_type": "llama", "text_config": {"hidden_size": 4, "quantization_config": BLOCKS}}
    assert "quantization" not in (made.plain / "config.json").read_text()
    assert form_of(config) == form
    assert form_of({"text_config": {"hidden_size": 4}}) is None


@pytest.mark.parametrize(
    "quantization",
    [
        {"quant_method": "quip"},
        {"quant_method": "gptq", "bits": 3},
        compressed("float-quantized", strategy="group"),
        compressed("pack-quantized", num_bits=8, group_size=32),
        {"quant_method": "compressed-tensors", "format": "pack-quantized", "config_groups": {}},
        {**BLOCKS, "modules_to_not_convert": ["mlp"]},
        {},
    ],
)
def test_a_form_that_is_not_written_is_no_fault_of_a_runtime(tmp_path: Path, quantization: dict[str, Any]) -> None:
    with pytest.raises(UnavailableError):
        forms.write(folder(tmp_path / "good"), {"config": {"quantization_config": quantization}}, tmp_path)


@pytest.mark.parametrize(
    ("moved", "rounding", "outcome"),
    [
        (0.0, 0.0, "passed"),
        (0.1, 1.0, "passed"),
        (0.1, 0.005, "skipped"),
        (0.1, 1e-4, "failed"),
        (float("nan"), 1.0, "failed"),
    ],
)
def test_an_answer_is_compared_with_the_rounding_that_the_format_makes(
    moved: float, rounding: float, outcome: str
) -> None:
    plain = PlainTrace([{0: 0.0, 1: 1.0}])
    answer = PlainTrace([{0: 0.0, 1: 1.0 + moved}])
    assert _compared("fp8", answer, plain, rounding, exact=1e-4, encoded=1).outcome == outcome
