"""Every specimen through the real command, real containers and the real runtime: its verdict, and whom it blames."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest

from tests.specimens import checkpoints
from tests.specimens.packages import build_release, release_like, write_source

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from tests.specimens.product import Answer, Product

pytestmark = [pytest.mark.engine, pytest.mark.index, pytest.mark.slow]

SUBJECT = "Qwen/Qwen3-8B"
IMAGES, RANKS = "google/gemma-3-27b-it", "BAAI/bge-reranker-base"
CONTROL = "meta-llama/Llama-3.1-8B-Instruct"


@dataclass(frozen=True)
class Expected:
    verdict: str
    rung: str | None = None
    fault: str = ""
    blame: str | None = None


@dataclass(frozen=True)
class Specimen:
    """A package beside the runtime, by its name in ``packages``; ``control``: how that fares, None: it is not asked."""

    package: str
    expected: Expected
    control: str | None = "works"
    limits: Mapping[str, float] = field(default_factory=dict)
    name: str = ""

    def __str__(self) -> str:
        return self.name or self.package


# what a session leaves or writes that its reader cannot want: ours to bound, and nobody's fault
HOSTILE = [
    Specimen("deep-folders", Expected("unknown", "knows", "infra-events", "infra")),
    Specimen("many-files", Expected("unknown", "knows", "infra-events", "infra")),
    Specimen("tiny-events", Expected("unknown", "knows", "infra-events", "infra")),
]

RUNTIME = [
    # huggingface_hub is what cannot be imported from; and whoever imports the runtime cannot, so the control neither
    Specimen("import-error", Expected("broken", "installs", "dependency-import-error", "dependency"), control="broken"),
    Specimen("segfault", Expected("broken", "loads", "crashed", "runtime")),
    Specimen("out-of-memory", Expected("unknown", "loads", "infra-memory", "infra")),
    # the container's own limit comes first: the kernel kills, and nobody inside sees it coming
    Specimen(
        "out-of-memory",
        Expected("unknown", "loads", "infra-memory", "infra"),
        control=None,  # it has answered in this environment already
        limits={"memory_gib": 1, "subject_memory_gib": 8},
        name="out-of-memory-by-the-kernel",
    ),
    Specimen("hang", Expected("broken", "loads", "hung", "runtime"), limits={"check_seconds": 6}),
    Specimen("output-flood", Expected("works")),
    # nothing of such a record counts, so not even the first check has an answer
    Specimen("malformed-events", Expected("unknown", "knows", "infra-events", "infra")),
    Specimen("oversized-events", Expected("unknown", "knows", "infra-events", "infra")),
    Specimen("events-behind-its-back", Expected("works")),
    *HOSTILE,
    Specimen("defaulted-rope-theta", Expected("broken", "knows", "wrong-config", "runtime")),
    Specimen("dropout-in-eval", Expected("broken", "knows", "wrong-config", "runtime")),
    Specimen("silently-random-tensor", Expected("broken", "loads", "reinitialised-tensors", "runtime")),
    Specimen("swapped-projections", Expected("broken", "loads", "reinitialised-tensors", "runtime")),
    Specimen("cache-bug", Expected("broken", "generates", "cache-differs", "runtime")),
    Specimen("several-tokens-over-a-cache", Expected("broken", "generates", "cache-differs", "runtime")),
    Specimen("wrong-chat-template", Expected("broken", "speaks", "template-differs", "runtime")),
]

BESIDE_TEXT = [
    ("images-forgotten", IMAGES, "image-ignored"),
    ("image-cache-bug", IMAGES, "cache-differs"),
    ("padding-seen", RANKS, "batch-differs"),
    ("looks-back-only", RANKS, "wrong-config"),
    ("scores-of-the-batch", RANKS, "batch-differs"),
]

TRAINING = [
    Specimen("detached-parameter", Expected("broken", "trains", "no-gradient", "dependency")),
    Specimen("adapter-dropped-at-merge", Expected("broken", "trains", "adapter-lost", "runtime"), control="broken"),
]

FOLDERS: Mapping[str, tuple[Callable[[Path, Path], Path], Expected]] = {
    "missing tensor": (checkpoints.missing_tensor, Expected("broken", "loads", "bad-checkpoint", "model")),
    "extra tensor": (checkpoints.extra_tensor, Expected("broken", "loads", "unexpected-tensors", "unattributed")),
    "truncated safetensors": (checkpoints.truncated_weights, Expected("broken", "loads", "bad-checkpoint", "model")),
    "pickle only": (checkpoints.pickle_only, Expected("broken", "loads", "pickle-weights", "model")),
    "remote code": (checkpoints.remote_code, Expected("broken", "knows", "needs-remote-code", "model")),
    "tokenizer config": (
        checkpoints.broken_tokenizer_config,
        Expected("broken", "speaks", "bad-checkpoint", "model"),
    ),
}


def test_without_a_fault(product: Product) -> None:
    """The runtime as it is, first: what a specimen breaks worked before."""
    answer = product.ask("probe", SUBJECT)
    hold(product, answer, SUBJECT, Expected("works"))
    assert set(verdicts(answer, CONTROL)) <= {"works"}  # one that has spoken today already is not asked again


@pytest.mark.parametrize("specimen", RUNTIME, ids=str)
def test_a_fault_in_the_runtime(product: Product, specimen: Specimen) -> None:
    answer = probe_with(product, specimen)

    hold(product, answer, SUBJECT, specimen.expected)
    if specimen.control is not None:
        assert verdicts(answer, CONTROL)[0] == specimen.control, answer.by_hand
    assert logs(product) < 16 << 20


@pytest.mark.parametrize("subject", [IMAGES, RANKS])
def test_beside_text_without_a_fault(product: Product, subject: str) -> None:
    hold(product, product.ask("probe", subject), subject, Expected("works"))


@pytest.mark.parametrize(("package", "subject", "fault"), BESIDE_TEXT, ids=[row[0] for row in BESIDE_TEXT])
def test_a_fault_beside_text(product: Product, package: str, subject: str, fault: str) -> None:
    answer = probe_with(product, Specimen(package, Expected("broken")), subject=subject)
    hold(product, answer, subject, Expected("broken", "generates", fault, "runtime"))


def test_training_without_a_fault(product: Product) -> None:
    answer = product.ask("probe", SUBJECT, "--runtime", "peft")
    hold(product, answer, SUBJECT, Expected("works"))
    assert set(verdicts(answer, CONTROL)) <= {"works"}  # as above


@pytest.mark.parametrize("specimen", TRAINING, ids=str)
def test_a_fault_in_training(product: Product, specimen: Specimen) -> None:
    """In the model, which the control is not, and in the library for adapters, which the control meets as well."""
    answer = probe_with(product, specimen, "--runtime", "peft")

    hold(product, answer, SUBJECT, specimen.expected)
    assert verdicts(answer, CONTROL)[0] == specimen.control, answer.by_hand
    (check,) = [one for one in answer.runs(SUBJECT)[-1]["checks"] if one["outcome"] == "failed"]
    assert check["name"] == {"no-gradient": "trains.gradients", "adapter-lost": "trains.reload"}[check["fault"]]


def test_weights_that_are_misread_in_their_published_form_alone(product: Product) -> None:
    """Written in MXFP4, as its publisher has it, a miniature has the answer of the same values in plain floats."""
    subject = "openai/gpt-oss-20b"
    answer = product.ask("probe", subject)
    hold(product, answer, subject, Expected("works"))
    assert {one["name"]: one["outcome"] for one in answer.runs(subject)[-1]["checks"]}["loads.published"] == "passed"

    answer = probe_with(product, Specimen("swapped-halves", Expected("works")), subject=subject)
    hold(product, answer, subject, Expected("broken", "loads", "published-differs", "runtime"))


def test_a_changed_answer_of_the_reference_is_disputed(product: Product, good_folder: Path) -> None:
    """No check of one release sees it; with two answers over the same files, and no code base beside, neither works."""
    subject = f"folder:{good_folder}"
    hold(product, product.ask("probe", str(good_folder)), subject, Expected("works"))

    answer = probe_with(product, Specimen("changed-logits", Expected("works")), subject=str(good_folder))

    hold(product, answer, subject, Expected("unknown", "matches", "disputed-answer", "reference"))
    (run, *_) = answer.runs(subject)
    assert re.match(r"transformers contradicts itself by \S+ nat", run["ruling"]), run["ruling"]
    days = product.query("SELECT verdict, rung FROM history WHERE subject LIKE '%/good'")
    assert [(row["verdict"], row["rung"]) for row in days] == [("unknown", "matches")]


def test_a_release_whose_pins_contradict_each_other(product: Product, tmp_path: Path) -> None:
    """In the runtime's own release: beside the runtime such pins would be this machine's, and no fault of anybody."""
    build_release(tmp_path, "transformers", "99.0", ["packaging==24.1", "packaging==24.2"])
    install = product.configuration["install"]
    links = {"find_links": [*install["find_links"], str(tmp_path)], "exempt": ["transformers"]}

    answer = product.ask("probe", SUBJECT, "--runtime", "transformers==99.0", install={**install, **links})

    hold(product, answer, SUBJECT, Expected("broken", "installs", "unresolvable", "dependency"))


def test_an_extra_package_of_this_machine_whose_pins_contradict_is_nobodys_fault(
    product: Product, tmp_path: Path
) -> None:
    build_release(tmp_path, "settle_specimen_unfit", "1.0", ["packaging==24.1", "packaging==24.2"])
    package = "settle-specimen-unfit"
    install = product.configuration["install"]
    links = {"find_links": [*install["find_links"], str(tmp_path)], "extra": [package], "exempt": [package]}

    answer = product.ask("probe", SUBJECT, install={**install, **links})

    hold(product, answer, SUBJECT, Expected("unknown", "installs", "infra-recipe", "infra"))


@pytest.mark.parametrize(
    ("setup", "expected"),
    [
        ("", Expected("works")),
        (
            "raise SystemExit('this never built')",
            Expected("broken", "installs", "dependency-does-not-build", "dependency"),
        ),
        (
            "import subprocess; subprocess.check_call(['hipcc'])",
            Expected("unknown", "installs", "infra-recipe", "infra"),
        ),
    ],
    ids=["it builds", "it does not build", "the builder lacks a tool"],
)
def test_a_release_that_requires_what_has_only_sources(
    product: Product, tmp_path: Path, setup: str, expected: Expected
) -> None:
    for folder in (tmp_path, tmp_path.parent, tmp_path.parent.parent):
        folder.chmod(0o755)  # pytest's folders are closed to others, and a builder is another user
    assert product.ask("probe", SUBJECT).exit_code == 0
    whole = product.query("SELECT environment FROM runs WHERE version <> '99.1' AND environment NOT LIKE 'none-%'")
    write_source(tmp_path, "settle-specimen-source", setup)
    installed = product.home / "install" / "envs" / whole[-1]["environment"]
    release_like(tmp_path, installed, "transformers", "99.1", ["settle-specimen-source"])
    install = product.configuration["install"]
    links = {
        "find_links": [*install["find_links"], str(tmp_path)],
        "exempt": ["transformers", "settle-specimen-source"],
    }

    answer = product.ask("probe", SUBJECT, "--runtime", "transformers==99.1", install={**install, **links})

    hold(product, answer, SUBJECT, expected)
    assert "settle-specimen-source has no wheel: building it from source" in answer.said


def probe_with(product: Product, specimen: Specimen, *arguments: str, subject: str = SUBJECT) -> Answer:
    package = f"settle-specimen-{specimen.package}"
    # a wheel out of a folder has no upload time
    install = {**product.configuration["install"], "extra": [package], "exempt": [package]}
    return product.ask("probe", subject, *arguments, install=install, limits=specimen.limits)


def hold(product: Product, answer: Answer, subject: str, expected: Expected) -> None:
    """Compare, and on a difference say how to look at the run and how to repeat it."""
    assert answer.data is not None, f"no answer (exit code {answer.exit_code}): {answer.by_hand}\n{answer.said}"
    settled = answer.settled(subject)
    found = Expected(settled["verdict"], settled["rung"], settled["fault"], settled["blame"])
    runs = answer.runs(subject)
    look = product.by_hand(runs[-1]["run"]) if runs else "no run was recorded"
    assert found == expected, f"{settled['reason']}\n  look:   {look}\n  repeat: {answer.by_hand}\n{answer.said}"
    assert answer.exit_code == (5 if found.blame == "infra" else 0), answer.said
    assert "Traceback" not in answer.said


def verdicts(answer: Answer, subject: str) -> list[Any]:
    return [run["verdict"] for run in answer.runs(subject)]


def logs(product: Product) -> int:
    return sum(file.stat().st_size for file in (product.home / "logs").rglob("*") if file.is_file())


@pytest.mark.parametrize("name", FOLDERS)
def test_a_fault_in_the_checkpoint(product: Product, good_folder: Path, tmp_path: Path, name: str) -> None:
    make, expected = FOLDERS[name]
    folder = make(good_folder, tmp_path / "checkpoint")
    answer = product.ask("probe", str(folder))
    hold(product, answer, f"folder:{folder}", expected)


def test_a_configuration_that_is_no_json_is_told_before_anything_is_installed(
    product: Product, good_folder: Path, tmp_path: Path
) -> None:
    folder = checkpoints.broken_config(good_folder, tmp_path / "checkpoint")
    answer = product.ask("probe", str(folder))
    assert (answer.exit_code, answer.data) == (2, None)
    assert f"{folder / 'config.json'} cannot be read" in answer.said
    assert "  hint: it must be a JSON object in UTF-8" in answer.said
    assert "Traceback" not in answer.said
