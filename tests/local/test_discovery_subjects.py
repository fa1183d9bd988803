"""A discovered model becomes a subject by its own files, which are a stranger's, or says why it is none."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from containers.recipes import RECIPES
from monitor.config.settings import Config
from monitor.config.settings import Hub as Settings
from monitor.daemon.steps import subjects_to_watch
from monitor.discovery.miniatures import (
    complete_recipe,
    derive_discovered,
    newest_stable,
    template_of,
    tokens_of,
    underived,
)
from monitor.discovery.watched_models import discovered_subjects, watched_rows
from monitor.domain import Channel, Model, ModelKind, Release, Runtime, Subject, SubjectForm
from monitor.errors import UnknownName
from monitor.miniatures.derive import NotDerived, read_recipes
from monitor.miniatures.golden import golden
from monitor.miniatures.manifest import HUB, Tensor, load_miniature, miniature_slugs
from monitor.miniatures.tokenizer import Style, vocabulary
from monitor.miniatures.writer import describe, digest_of, misfit
from monitor.progress import ConsoleProgress
from monitor.runner.derive import DATA, Deriver, recipe_for
from monitor.runner.parallel import RuntimeTools
from monitor.sources.changes import ModelPart
from monitor.store import open_reader, open_store
from monitor.store.backup import back_up, restore
from monitor.store.published import Revision
from monitor.subjects.catalogue import SHELF, catalogue_of, load_catalogue

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from monitor.store import Store

NOW = datetime(2026, 4, 1, tzinfo=UTC)
CONFIG = {"model_type": "qwen3", "architectures": ["Qwen3ForCausalLM"], "eos_token_id": 2}
SETTINGS = {
    "bos_token": None,
    "eos_token": "<|im_end|>",
    "pad_token": "<|im_end|>",
    "chat_template": "{{ messages }}<|im_start|><|im_end|>",
    "added_tokens_decoder": {
        "1": {"content": "<|im_start|>", "special": True},
        "2": {"content": "<|im_end|>", "special": True},
        "3": {"content": "<|endoftext|>", "special": True},
        "4": {"content": "<|unheard|>", "special": True},
        "5": {"content": "plain", "special": False},
    },
}


class Shop:
    """A home whose store knows two releases; no engine is asked before a configuration is one that can be tried."""

    def __init__(self, home: Path, store: Store) -> None:
        self.config = Config.model_validate({"home": str(home)})
        self.store = store
        known = [
            Release(Runtime.TRANSFORMERS, version, channel, NOW)
            for version, channel in (
                ("5.9.0", Channel.STABLE),
                ("5.10.0", Channel.STABLE),
                ("6.0rc1", Channel.PRERELEASE),
            )
        ]
        store.record_releases(known, seen_at=NOW)

    def discover(self, name: str, files: dict[str, bytes | str]) -> None:
        model = Model(name, "New", "", ModelKind.DENSE, "acme", None, "")
        self.store.published.record_discovery(model, "organisation:acme", NOW, created_at=NOW)
        first = Revision("a" * 40, NOW, (ModelPart.CONFIG,), dict.fromkeys(files, "b" * 40), files)
        self.store.published.record_revisions(name, [first], NOW)

    def derive(self, name: str) -> Any:
        installer: Any = SimpleNamespace(
            now=lambda: NOW + timedelta(hours=1), progress=ConsoleProgress(out=io.StringIO())
        )
        sessions: Any = SimpleNamespace(workshop=self.config.home / "sessions")
        tools = RuntimeTools(RECIPES[Runtime.TRANSFORMERS], installer, sessions)
        return derive_discovered(self.store, Deriver(tools, self.config.home), name)


@pytest.fixture
def context(tmp_path: Path) -> Iterator[Shop]:
    with open_store(tmp_path) as store:
        yield Shop(tmp_path, store)


@pytest.mark.parametrize(
    ("file", "says"),
    [
        ("gated: its files cannot be read with this token", "gated: its files cannot be read with this token"),
        (b"{}", "its config.json names no model_type"),
        (b"[1, 2]", "its config.json names no model_type"),
        (b"\xff\xfe", "its config.json names no model_type"),
        (b'{"model_type": "\\u001b[31m"}', "its config.json names no model_type"),
        (b"[" * 100_000, "its config.json names no model_type"),
        (
            b'{"model_type": "qwen3", "num_hidden_layers": {"a": "b"}, "layer_types": 3}',
            "this configuration cannot be shrunk",
        ),
    ],
)
def test_what_cannot_be_derived_says_why_and_waits_for_the_next_release(
    context: Shop, file: bytes | str, says: str
) -> None:
    context.discover("acme/new", {"config.json": file})
    store = context.store
    assert underived(store) == ["acme/new"]
    made = context.derive("acme/new")
    assert isinstance(made, NotDerived)
    assert says in made.reason
    assert underived(store) == []
    (row,) = [row for row in watched_rows(Settings(), store) if row["id"] == "acme/new"]
    assert row["problem"] == made.reason
    store.record_releases([Release(Runtime.TRANSFORMERS, "5.11.0", Channel.STABLE, NOW)], seen_at=NOW)
    assert underived(store) == ["acme/new"]


def test_the_newest_release_is_by_version_and_no_candidate(context: Shop) -> None:
    assert newest_stable(context.store.releases(Runtime.TRANSFORMERS)) == "5.10.0"
    assert newest_stable([]) == ""


def test_special_tokens_are_the_models_own_and_as_many_as_fit() -> None:
    usual = recipe_for(CONFIG, "x").tokens
    template = str(SETTINGS["chat_template"])
    found = tokens_of(SETTINGS, {"eos_token_id": [2, 3, 99]}, usual, template)
    assert (found.bos, found.eos, found.pad) == (None, ("<|im_end|>", "<|endoftext|>"), "<pad>")
    assert found.extra == ("<|im_start|>",)
    assert tokens_of({}, {}, usual, "") == usual
    many = {str(number): {"content": f"<{number}>", "special": True} for number in range(500)}
    crowded = tokens_of(
        {"added_tokens_decoder": many, "eos_token": "x" * 1000}, {}, usual, "".join(f"<{n}>" for n in range(500))
    )
    assert crowded.eos == usual.eos
    assert len(vocabulary(crowded)) == 512


def test_the_habits_of_an_architecture_come_with_the_configuration_of_the_model() -> None:
    files = {"tokenizer_config.json": json.dumps(SETTINGS).encode(), "generation_config.json": b'{"eos_token_id": 3}'}
    recipe = complete_recipe(recipe_for({**CONFIG, "hidden_size": 77}, "x"), read_recipes(DATA), files)
    assert recipe.config is not None
    assert recipe.config["hidden_size"] == 77
    assert recipe.tokens.style is Style.QWEN2  # which its releases build whatever tokenizer.json says
    assert recipe.tokens.eos == ("<|im_end|>", "<|endoftext|>")
    assert recipe.generation_config == {"eos_token_id": 3}


def test_a_template_is_the_file_or_what_the_tokenizer_says() -> None:
    named = [{"name": "tool_use", "template": "t"}, {"name": "default", "template": "d"}]
    told = {"tokenizer_config.json": json.dumps({"chat_template": named}).encode()}
    assert template_of(told) == "d"
    assert template_of({**told, "chat_template.jinja": b"own"}) == "own"
    assert template_of({"tokenizer_config.json": b'{"chat_template": 3}'}) is None


def test_a_derived_miniature_is_found_by_its_digest_and_comes_back_with_the_history(
    context: Shop, tmp_path: Path
) -> None:
    made = replace(load_miniature("llama"), origin=f"{HUB}abc", template="{{ messages[0].content }}!")
    description, digest = describe(made)
    context.discover("acme/new", {"config.json": b"{}"})
    subject = Subject("acme/new", "acme/new", SubjectForm.MINIATURE, "llama", digest)
    kept = context.store.published.files("acme/new")
    context.store.published.record_derivation(
        "acme/new", kept, NOW, release="5.10.0", subject=subject, description=description
    )
    assert not (tmp_path / SHELF).exists()
    catalogue = catalogue_of(tmp_path, context.store)
    assert [path.name for path in (tmp_path / SHELF).iterdir()] == [digest]
    found = catalogue.miniature_of("acme/new", digest)
    assert digest_of(found) == digest
    assert (found.template, found.tensors, found.origin) == (made.template, made.tensors, made.origin)
    with pytest.raises(UnknownName):
        catalogue.miniature_of("acme/new", "0" * 64)
    assert catalogue.miniature_of("meta-llama/Llama-3.1-8B-Instruct").slug in miniature_slugs()
    back_up(tmp_path, tmp_path / "backup")
    restore(tmp_path / "backup", tmp_path / "other")
    with open_reader(tmp_path / "other") as store:
        assert digest_of(catalogue_of(tmp_path / "other", store).miniature_of("acme/new", digest)) == digest
        assert store.published.files("acme/new") == kept


def test_a_strangers_template_is_rendered_apart_and_may_fail() -> None:
    made = replace(load_miniature("llama"), origin=f"{HUB}abc", template="{{ messages[0].content }}!")
    assert golden(made)["template"]["rendered"] == "What is 2 + 2?!"
    assert golden(made)["published"]
    refusing = golden(replace(made, template="{{ raise_exception('tools only') }}"))
    assert refusing["template"] is None
    assert "tools only" in refusing["no_template"]


def test_a_miniature_that_is_none_is_never_written() -> None:
    llama = load_miniature("llama")
    huge = replace(llama, tensors=(Tensor("w", (1 << 20, 1 << 20), "F32", 0, 1),))
    assert "MiB: shrinking failed" in misfit(huge)
    assert "F8_E4M3" in misfit(replace(llama, tensors=(Tensor("w", (2,), "F8_E4M3", 0, 1),)))
    assert [slug for slug in miniature_slugs() if misfit(load_miniature(slug))] == []


def test_a_subject_that_was_derived_waits_only_for_new_files(context: Shop, tmp_path: Path) -> None:
    context.discover("acme/new", {"config.json": json.dumps(CONFIG).encode()})
    subject = Subject("acme/new", "acme/new", SubjectForm.MINIATURE, "qwen3", "d1", first_known="4.51.0")
    context.store.published.record_derivation(
        "acme/new", context.store.published.files("acme/new"), NOW, release="5.10.0", subject=subject
    )
    assert context.store.subject("acme/new") == subject
    assert discovered_subjects(tmp_path, "Acme/New") == context.store.published.subjects() == [subject]
    assert discovered_subjects(tmp_path, "acme") == discovered_subjects(tmp_path / "nowhere", "acme/new") == []
    context.store.record_releases([Release(Runtime.TRANSFORMERS, "5.11.0", Channel.STABLE, NOW)], seen_at=NOW)
    assert underived(context.store) == []
    second = Revision("c" * 40, NOW, (ModelPart.CONFIG,), {}, {"config.json": b"{}"})
    context.store.published.record_revisions("acme/new", [second], NOW + timedelta(days=1))
    assert context.store.published.files("acme/new").files == {"config.json": b"{}"}
    assert underived(context.store) == ["acme/new"]
    context.store.published.qualify("acme/new", "d2")
    assert not context.store.subject("acme/new").qualified
    context.store.published.qualify("acme/new", "d1")
    assert context.store.subject("acme/new").qualified


def test_a_model_that_is_named_only_for_its_weights_is_listed_before_it_is_found() -> None:
    (row,) = [one for one in watched_rows(Settings(full=("acme/whole",)), None) if one["id"] == "acme/whole"]
    assert (row["source"], row["problem"]) == ("model:acme/whole", "not discovered yet")


def test_every_watched_model_is_listed_once_with_where_it_comes_from(context: Shop, tmp_path: Path) -> None:
    context.discover("acme/new", {"config.json": b"{}"})
    ours = next(iter(load_catalogue())).model
    context.store.published.record_discovery(ours, f"model:{ours.id}", NOW, created_at=NOW)
    settings = Settings(models=(ours.id, "acme/next"), folders=(tmp_path,))
    subjects = load_catalogue().subjects()
    context.store.record_catalogue(load_catalogue().models, subjects)
    assert list(subjects_to_watch(context.store, context.config, subjects, discovered=True)().subjects) == list(
        subjects
    )
    rows = {row["id"]: row for row in watched_rows(settings, context.store)}
    assert len(rows) == len(watched_rows(settings, context.store))
    assert rows[ours.id]["source"] == f"catalogue, model:{ours.id}"
    assert rows["acme/new"]["source"] == "organisation:acme"
    assert rows["acme/next"]["problem"] == rows[f"folder:{tmp_path}"]["problem"] == "not discovered yet"
    assert {row["source"] for row in watched_rows(Settings(), None)} == {"catalogue"}
