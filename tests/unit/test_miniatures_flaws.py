"""A publisher's broken template or missing stop token is the model's fault, and what only refuses a chat is none."""

from __future__ import annotations

import json
import lzma
from pathlib import Path
from typing import Any

import pytest

from monitor.discovery.miniatures import published_of, releases_to_try, template_of
from monitor.judge.faults import BLAME
from monitor.miniatures.flaws import Flaw, as_text, flaws_of, from_text
from monitor.miniatures.golden import golden
from monitor.miniatures.manifest import load_miniature, miniature_slugs, read_miniature, write_folder
from monitor.miniatures.shrink import shrink
from monitor.miniatures.specials import added_tokens
from monitor.miniatures.tokenizer import Style, Tokens, is_ours, tokenizer_json
from probes.wire import FAULTS

DATA = Path(__file__).parents[1] / "data" / "configurations.json.xz"
INPUTS: dict[str, dict[str, str]] = json.loads(lzma.decompress(DATA.read_bytes()))["inputs"]


def files_of(name: str) -> dict[str, bytes]:
    return {path: text.encode() for path, text in INPUTS[name].items()}


@pytest.mark.parametrize(
    ("name", "fault", "says"),
    [
        (
            "F_eos-only-endoftext",
            "no-stop-token",
            "ends a turn with <|im_end|>, and generation ends only at <|endoftext|>",
        ),
        (
            "F_template-broken",
            "broken-template",
            "the chat template default cannot be rendered for a plain chat: Template",
        ),
        ("F_template-tools-only-broken", "broken-template", "default cannot be rendered with a tool: UndefinedError"),
        ("F_templates-tool_use-broken", "broken-template", "the chat template tool_use cannot be rendered"),
        ("F_templates-no-default", "broken-template", "there are only chat, tool_use"),
    ],
)
def test_a_publishers_mistake_is_the_models(name: str, fault: str, says: str) -> None:
    (flaw,) = flaws_of(published_of(files_of(name)))
    assert (flaw.fault, str(BLAME[flaw.fault])) == (fault, "model")
    assert says in flaw.message
    assert flaw.fault in FAULTS
    assert from_text(as_text([flaw])) == (flaw,)


@pytest.mark.parametrize("name", ["F_eos-correct", "F_template-strftime", "C_qwen2.5_vl_7b"])
def test_sound_files_have_no_flaw(name: str) -> None:
    assert flaws_of(published_of(files_of(name))) == ()


@pytest.mark.parametrize(
    "template",
    [
        "{{ raise_exception('no tools') if tools }}{{ messages[0].content }}",  # a refusal
        "{% for m in messages %}{{ m.content[0].text | trim }}{% endfor %}",  # only parts
        "{% for m in messages %}{{ m.content }}{{ '\n' }}{% endfor %}",  # no token ends a turn: nothing to say
    ],
)
def test_what_is_no_mistake(template: str) -> None:
    files = files_of("F_template-broken")
    settings = json.loads(files["tokenizer_config.json"]) | {"chat_template": template}
    files |= {
        "tokenizer_config.json": json.dumps(settings).encode(),
        "generation_config.json": b'{"eos_token_id": 151643}',
    }
    assert flaws_of(published_of(files)) == ()


def test_a_last_turn_may_end_otherwise_than_one_in_the_middle() -> None:
    # gpt-oss ends its last turn with <|return|>, which ends generation, and those before with <|end|>
    template = "{% for m in messages %}{{ m.content }}{{ '<|return|>' if loop.last else '<|end|>' }}{% endfor %}"
    decoder = {"1": {"content": "<|return|>", "special": True}, "2": {"content": "<|end|>", "special": True}}
    settings = {"chat_template": template, "added_tokens_decoder": decoder}
    files = {"tokenizer_config.json": json.dumps(settings).encode(), "config.json": b'{"eos_token_id": 1}'}
    assert flaws_of(published_of(files)) == ()
    (flaw,) = flaws_of(published_of({**files, "config.json": b'{"eos_token_id": 3}'})) or (None,)
    assert flaw is None  # an end without a name says nothing
    decoder["3"] = {"content": "<|other|>", "special": True}
    files["tokenizer_config.json"] = json.dumps(settings).encode()
    assert [flaw.fault for flaw in flaws_of(published_of({**files, "config.json": b'{"eos_token_id": 3}'}))] == [
        "no-stop-token"
    ]


def test_an_end_that_the_publisher_left_out_is_left_out_of_the_miniature() -> None:
    tokens = Tokens(bos=None, eos=("<|im_end|>", "<|endoftext|>"), pad="<pad>")
    ids = tokens.ids()
    for name, ends in (("F_eos-only-endoftext", ["<|endoftext|>"]), ("F_eos-correct", ["<|im_end|>", "<|endoftext|>"])):
        files = INPUTS[name]
        names = added_tokens(json.loads(files["tokenizer_config.json"]), {})
        generation = shrink(json.loads(files["generation_config.json"]), tokens, names=names)[0]
        assert generation["eos_token_id"] == [ids[end] for end in ends]


def test_flaws_and_what_is_not_measured_are_kept_with_the_miniature(tmp_path: Path) -> None:
    from dataclasses import replace

    flaw = Flaw("speaks.templates", "broken-template", 'it says "no"')
    made = replace(load_miniature("llama"), flaws=(flaw,), not_measured={"weights": "published weights are fp8"})
    write_folder(made, tmp_path, template="")
    read = read_miniature(tmp_path)
    assert (read.flaws, read.not_measured) == (made.flaws, made.not_measured)
    assert golden(read)["flaws"] == [{"check": flaw.check, "fault": flaw.fault, "message": flaw.message}]


def test_no_template_is_named_default() -> None:
    assert template_of(files_of("F_templates-no-default")) is None


@pytest.mark.parametrize("style", Style)
def test_a_tokenizer_of_ours_is_known_by_its_vocabulary(style: Style) -> None:
    tokenizer: dict[str, Any] = tokenizer_json(Tokens(bos=None, eos=("<end>",), pad="<pad>", style=style))
    assert is_ours(json.loads(json.dumps(tokenizer)))
    tokenizer["model"]["merges"] = [merge.split(" ") for merge in tokenizer["model"]["merges"]]
    assert is_ours(tokenizer)
    tokenizer["model"]["merges"].pop()
    assert not is_ours(tokenizer)
    assert not is_ours({"model": {"vocab": {"a": 0}, "merges": []}})


def test_a_part_that_is_newer_than_the_whole_is_waited_for() -> None:
    # Devstral: the wrapper of 4.50, with a text part of 5.0
    known = {"mistral3": "4.50.0", "ministral3": "5.0.0", "old": "<=4.49.0"}
    config = {"model_type": "mistral3", "text_config": {"model_type": "ministral3"}}
    assert releases_to_try(config, known, "5.24.0") == ["4.50.0", "5.0.0", "5.24.0"]
    assert releases_to_try({"model_type": "old"}, known, "5.24.0") == ["4.49.0", "5.24.0"]
    assert releases_to_try({"model_type": "unknown"}, known, "5.24.0") == ["5.24.0"]


def test_no_miniature_of_the_catalogue_has_a_flaw() -> None:
    assert [slug for slug in miniature_slugs() if load_miniature(slug).flaws] == []
