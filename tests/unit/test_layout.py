"""A published header is parsed strictly, and two layouts are compared by what a loader would notice."""

from __future__ import annotations

import json
import struct
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.miniatures.layout import Layout, layout_of, merged, republished, unlike_miniature
from monitor.miniatures.manifest import Miniature, Tensor, load_miniature, miniature_slugs
from monitor.sources.safetensors import HEADER_BYTES, TensorHeader, header_length, parse_header, parse_index

WHOLE = {"dtype": "BF16", "shape": [2, 3], "data_offsets": [0, 12]}


def test_a_header_is_read_with_its_metadata_left_out() -> None:
    header = json.dumps({"__metadata__": {"format": "pt"}, "a.0.weight": WHOLE}).encode()
    assert parse_header(header) == [TensorHeader("a.0.weight", "BF16", (2, 3))]
    assert header_length(struct.pack("<Q", 300) + b"{") == 300


@pytest.mark.parametrize(
    "entry",
    [
        *({**WHOLE, "shape": shape} for shape in ([2, -3], [2, 3.0], [True, 6], "23", [1] * 17, [2, 4])),
        *({**WHOLE, "data_offsets": offsets} for offsets in ([12, 0], [0], [0, 12, 12], [0, True], None)),
        *({**WHOLE, "dtype": dtype} for dtype in ("bf16", 7, "B" * 30)),
        {**WHOLE, "more": 1},
        {"dtype": "BF16"},
        [],
    ],
)
def test_a_tensor_that_is_described_wrongly_is_refused(entry: Any) -> None:
    with pytest.raises(ValueError, match=r"a\.0\.weight"):
        parse_header(json.dumps({"a.0.weight": entry}).encode())


@pytest.mark.parametrize(
    "header", [b"", b"[]", b"{", b"\xff\xfe", b"[" * 10_000, b'{"a": 1, "a": 2}', b'{"": {}}', b'{"a\\u0007": {}}']
)
def test_what_is_no_header_is_refused(header: bytes) -> None:
    with pytest.raises(ValueError, match=r".+"):
        parse_header(header)


@pytest.mark.parametrize(
    "start", [b"", b"\0" * 7, struct.pack("<Q", 1), struct.pack("<Q", HEADER_BYTES + 1), b"\xff" * 8]
)
def test_an_implausible_length_is_refused(start: bytes) -> None:
    with pytest.raises(ValueError, match="header"):
        header_length(start)


@given(st.binary(max_size=200))
def test_no_bytes_break_the_parsers_otherwise(body: bytes) -> None:
    for parse in (parse_header, parse_index, header_length):
        try:
            parse(body)
        except ValueError:
            continue


@pytest.mark.parametrize("file", ["../x.safetensors", "x.bin", 7, "a\n.safetensors"])
def test_an_index_names_only_safetensors_files_beside_it(file: Any) -> None:
    with pytest.raises(ValueError, match="no file beside it"):
        parse_index(json.dumps({"weight_map": {"a": file}}).encode())


def published(**changes: tuple[str, tuple[int, ...]] | None) -> Layout:
    """Return a layout of two layers with the given tensors changed, added or (None) left out."""
    tensors: dict[str, tuple[str, tuple[int, ...]]] = {}
    for layer in range(2):
        tensors[f"model.layers.{layer}.mlp.up_proj.weight"] = ("BF16", (14336, 4096))
        tensors[f"model.layers.{layer}.norm.weight"] = ("BF16", (4096,))
    for name, change in changes.items():
        if change is None:
            tensors.pop(name)
        else:
            tensors[name] = change
    return layout_of((name, dtype, shape) for name, (dtype, shape) in tensors.items())


UP, NORM = "model.layers.1.mlp.up_proj.weight", "model.layers.1.norm.weight"


def test_equal_layouts_differ_in_nothing_however_they_are_cut_into_files() -> None:
    assert republished(published(), published()) == []
    halves = [layout_of([("a.0", "F32", (1,))]), layout_of([("a.1", "F32", (1,))])]
    assert republished(layout_of([("a.0", "F32", (1,)), ("a.1", "F32", (1,))]), merged(halves)) == []


@pytest.mark.parametrize(
    ("after", "sentence"),
    [
        (
            published(**{UP: None}),
            "1 name has another number of tensors: model.layers.#.mlp.up_proj.weight (2 before, 1 now)",
        ),
        (published(**{"extra.weight": ("F32", (1,))}), "1 name is new: extra.weight"),
        (
            published(**{UP: ("BF16", (4096, 14336))}),
            (
                "1 name has another shape: model.layers.#.mlp.up_proj.weight"
                " (14336x4096 before, 14336x4096 or 4096x14336 now)"
            ),
        ),
        (
            published(**{NORM: ("F32", (4096,))}),
            "1 name has another type: model.layers.#.norm.weight (BF16 before, BF16 or F32 now)",
        ),
    ],
)
def test_a_republished_layout_names_what_is_other(after: Layout, sentence: str) -> None:
    assert republished(published(), after) == [sentence]


CONFIG = {"hidden_size": 4096, "intermediate_size": 14336, "num_hidden_layers": 2}
SMALL = {"hidden_size": 256, "intermediate_size": 512, "num_hidden_layers": 1}


def miniature(tensors: dict[str, tuple[int, ...]], **changes: Any) -> Miniature:
    described = tuple(Tensor(name, shape, "F32", 0.0, 0.1) for name, shape in tensors.items())
    return replace(load_miniature("llama"), tensors=described, config=SMALL, **changes)


MINE = {"model.layers.0.mlp.up_proj.weight": (512, 256), "model.layers.0.norm.weight": (256,)}


def test_a_miniature_is_alike_whatever_its_sizes_and_layers() -> None:
    assert unlike_miniature(published(), CONFIG, miniature(MINE)) == []


@pytest.mark.parametrize(
    ("tensors", "sentence"),
    [
        ({**MINE, "model.layers.0.bias": (256,)}, "1 name of the miniature is not published: model.layers.#.bias"),
        (
            {"model.layers.0.norm.weight": (256,)},
            "1 published name is not in the miniature: model.layers.#.mlp.up_proj.weight",
        ),
        (
            {**MINE, "model.layers.0.mlp.up_proj.weight": (256, 512)},
            (
                "1 name has its sizes in another order: model.layers.#.mlp.up_proj.weight"
                " (14336x4096 published, 256x512 in the miniature)"
            ),
        ),
        (
            {**MINE, "model.layers.0.norm.weight": (1, 256)},
            "1 name has another rank: model.layers.#.norm.weight (4096 published, 1x256 in the miniature)",
        ),
    ],
)
def test_a_miniature_of_another_layout_is_noticed(tensors: dict[str, tuple[int, ...]], sentence: str) -> None:
    assert unlike_miniature(published(), CONFIG, miniature(tensors)) == [sentence]


def test_weights_with_fewer_bits_are_compared_by_the_names_of_their_plain_weights() -> None:
    quantized = layout_of(
        [
            ("model.layers.0.mlp.up_proj.weight_packed", "I32", (14336, 512)),
            ("model.layers.0.mlp.up_proj.weight_scale", "BF16", (14336, 128)),
            ("model.layers.0.mlp.up_proj.weight_shape", "I64", (2,)),
            ("model.layers.0.norm.weight", "BF16", (4096,)),
        ]
    )
    assert unlike_miniature(quantized, CONFIG, miniature(MINE)) == []
    stacked = layout_of([("experts.up_proj_blocks", "U8", (8, 2, 4, 16)), ("experts.up_proj_scales", "U8", (8, 2, 4))])
    assert unlike_miniature(stacked, CONFIG, miniature({"experts.up_proj": (4, 32, 2)})) == []


def test_heads_for_further_tokens_and_a_tied_head_may_be_published_in_addition() -> None:
    more = published(**{"model.layers.2.eh_proj.weight": ("BF16", (4096, 8192)), "lm_head.weight": ("BF16", (9, 4096))})
    assert len(unlike_miniature(more, CONFIG, miniature(MINE))) == 1
    config = {**CONFIG, "tie_word_embeddings": True}
    assert unlike_miniature(more, config, miniature(MINE, not_measured={"heads": "it has a head: not measured"})) == []


@pytest.mark.parametrize("slug", miniature_slugs())
def test_every_miniature_is_alike_itself(slug: str) -> None:
    mine = load_miniature(slug)
    layout = layout_of((tensor.name, tensor.dtype, tensor.shape) for tensor in mine.tensors)
    assert unlike_miniature(layout, mine.config, mine) == []
