"""Release days: each has a source, the catalogue has enough of them, and models under former ids keep their history."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest

from monitor.discovery.model_facts import FirstListing, with_release_day
from monitor.domain import Confidence, Model, ModelKind, ReleaseKind
from monitor.miniatures.derive import read_first_known
from monitor.miniatures.golden import golden
from monitor.miniatures.manifest import data_folder, load_miniature
from monitor.report.doubts import doubts_about_day, load_doubts
from monitor.store.published import Revision
from monitor.store.renaming import former_names, rename_models
from monitor.store.schema import MIGRATIONS, Database
from monitor.subjects.catalogue import load_catalogue

MODELS = load_catalogue().models
# published long ago, or by nobody: no source for a day
WITHOUT_A_DAY = {
    "architecture/diffllama", "architecture/granite_swa", "architecture/lfm3", "architecture/nanochat",
    "BAAI/bge-reranker-base", "sentence-transformers/all-MiniLM-L6-v2", "EleutherAI/gpt-neox-20b",
    "mistralai/Ministral-8B-Instruct-2410", "naver-hyperclovax/HyperCLOVAX-SEED-Think-14B",
}  # fmt: skip
NO_MODELS = {"ibm-granite/granite-4-8b-dense", "tiiuae/Falcon-H1-0.5B"}


def test_every_model_has_a_release_day_with_its_source() -> None:
    assert {model.id for model in MODELS if model.released is None} == WITHOUT_A_DAY
    for model in MODELS:
        evidence = (model.released_source, model.released_kind, model.released_confidence)
        assert all(evidence) == (model.released is not None), model.id
        assert model.released is None or model.released_source.startswith("https://"), model.id
        assert model.created is None or (model.released is not None and model.created <= model.released), model.id


def test_enough_models_and_architectures_can_stand_in_a_distribution() -> None:
    whole = [entry.model for entry in load_catalogue() if entry.model.id in entry.subject_ids]
    dated = [model for model in whole if model.released is not None]
    assert len(dated) >= 100
    assert len({model.architecture for model in dated}) >= 70


def test_models_that_no_release_knows_are_there_too() -> None:
    """Else a distribution would be one of what got supported."""
    known = read_first_known(Path(str(data_folder())) / "first_known.csv")
    unknown = {model.id for model in MODELS if model.architecture not in known}
    assert {"moonshotai/Kimi-K3", "moonshotai/Kimi-K2-Instruct", "XiaomiMiMo/MiMo-V2.5-Pro"} <= unknown
    assert all(model.released for model in MODELS if model.id in unknown)


def test_what_is_no_published_model_is_not_called_one() -> None:
    assert not NO_MODELS & {model.id for model in MODELS}
    (qwen,) = [model for model in MODELS if model.id == "Qwen/Qwen3.5-27B"]
    assert qwen.released == date(2026, 2, 24)


def test_a_configuration_alone_is_asked_only_whether_it_is_known() -> None:
    assert golden(load_miniature("kimi-k3"))["alone"] is True
    assert "alone" not in golden(load_miniature("kimi-k2"))


def test_a_part_of_a_model_is_not_called_the_model() -> None:
    subjects = {entry.model.id: entry.subject_ids for entry in load_catalogue()}
    assert subjects["google/gemma-3n-E4B-it"] == ("google/gemma-3n-E4B-it#text",)
    assert subjects["MiniMaxAI/MiniMax-M3"] == ("MiniMaxAI/MiniMax-M3#text",)


def test_former_ids_lead_to_models_that_are_there() -> None:
    subjects = {subject.id: subject.model_id for subject in load_catalogue().subjects()}
    for before, after in former_names().items():
        assert subjects[after.subject] == after.model
        assert before not in subjects


def test_a_history_under_a_former_id_goes_on_under_todays() -> None:
    db = Database(memory=True, execute_plugins=False)
    MIGRATIONS.apply(db)
    for former in ("architecture/mistral", "architecture/minimax_m3_vl_text"):
        cell = f"{former}@transformers/stable/cpu-py3.11-container"
        db.execute(
            "INSERT INTO models (id, family, architecture, kind, organisation, released_source, license, note, control)"
            " VALUES (?, 'f', 'a', 'dense', '', '', '', '', 0)",
            (former,),
        )
        db.execute("INSERT INTO subjects VALUES (?1, ?1, 'miniature', 'a', 'd', 1, '', 0)", (former,))
        db.execute(
            "INSERT INTO cells (id, subject_id, runtime, channel, platform)"
            " VALUES (?, ?, 'transformers', 'stable', 'cpu-py3.11-container')",
            (cell, former),
        )
        db.execute(
            "INSERT INTO flips (cell_id, day, before, after, confirmed) VALUES (?, '2026-01-01', 'b', 'w', '')", (cell,)
        )
        db.execute("INSERT INTO announcements VALUES (?, 'newly works', '', '', '', '')", (f"works:{cell}",))
    rename_models(db)
    rename_models(db)
    assert [row[0] for row in db.execute("SELECT id FROM models ORDER BY id")] == [
        "MiniMaxAI/MiniMax-M3",
        "mistralai/Mistral-7B-v0.1",
    ]
    cells = {
        f"{name}@transformers/stable/cpu-py3.11-container"
        for name in ("MiniMaxAI/MiniMax-M3#text", "mistralai/Mistral-7B-v0.1")
    }
    assert {row[0] for row in db.execute("SELECT id FROM cells")} == cells
    assert {row[0] for row in db.execute("SELECT cell_id FROM flips")} == cells
    assert {row[0] for row in db.execute("SELECT key FROM announcements")} == {f"works:{cell}" for cell in cells}
    assert db.execute("PRAGMA foreign_key_check").fetchall() == []
    guarded = db.execute("SELECT count(*) FROM sqlite_schema WHERE type = 'trigger' AND name LIKE '%_never_update'")
    assert guarded.fetchone()[0] > 10


NEW = Model("acme/new", "New", "new", ModelKind.DENSE)
COMMITTED, SEEN = datetime(2026, 3, 11, 9, tzinfo=UTC), datetime(2026, 4, 2, 17, tzinfo=UTC)


@pytest.mark.parametrize(
    ("committed", "missing", "released", "created"),
    [
        # committed while it was private, and seen an hour after a listing without it
        (COMMITTED, SEEN - timedelta(hours=1), date(2026, 4, 2), date(2026, 4, 2)),
        (COMMITTED, SEEN - timedelta(days=2), date(2026, 4, 2), date(2026, 3, 31)),
        # there when its organisation was first listed
        (COMMITTED, None, date(2026, 4, 2), date(2026, 3, 11)),
        # public before it has weights
        (SEEN + timedelta(days=3), SEEN - timedelta(hours=1), date(2026, 4, 5), date(2026, 4, 5)),
    ],
)
def test_a_discovered_model_is_released_when_it_is_committed_and_to_be_seen(
    committed: datetime, missing: datetime | None, released: date, created: date
) -> None:
    revision = Revision("0" * 40, committed, (), {"model.safetensors": "x"})
    model = with_release_day(NEW, [revision], FirstListing(SEEN, missing))
    assert (model.released, model.created, model.released_kind) == (released, created, ReleaseKind.LISTING)


def test_a_day_that_is_known_is_kept() -> None:
    revision = Revision("0" * 40, COMMITTED, (), {"model.safetensors": "x"})
    dated = Model(
        "acme/new", "New", "new", ModelKind.DENSE, released=date(2026, 1, 1), released_confidence=Confidence.HIGH
    )
    assert with_release_day(dated, [revision], FirstListing(SEEN, None)) is dated
    assert with_release_day(NEW, [], FirstListing(SEEN, None)) is NEW


def test_every_doubt_is_about_a_subject_of_the_catalogue() -> None:
    subjects = {subject.id for subject in load_catalogue().subjects()}
    for doubt in load_doubts():
        assert set(doubt.subjects) & subjects, doubt
        assert doubt.last is None or doubt.first <= doubt.last


def test_a_doubt_is_about_its_days_and_its_verdict_alone() -> None:
    subject = "Qwen/Qwen3.5-27B"
    assert doubts_about_day(subject, "transformers", date(2026, 3, 1), "broken")
    assert not doubts_about_day(subject, "transformers", date(2026, 3, 1), "works")
    assert not doubts_about_day(subject, "transformers", date(2026, 3, 27), "broken")
    assert not doubts_about_day(subject, "vllm", date(2026, 3, 1), "broken")
