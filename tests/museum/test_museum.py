"""Historical faults of released versions, through the real product: caught, where, in which releases, whose."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from containers.settings import settings_from_environment
from tests.museum.faults import Fault, Score, Sighting, load_faults
from tests.museum.tokenizers import write_tokenizer
from tests.specimens.product import DEFAULTS, Product

if TYPE_CHECKING:
    from tests.specimens.product import Answer

# an environment a release, and minutes a fault: by `make soak`
pytestmark = [
    pytest.mark.engine,
    pytest.mark.index,
    pytest.mark.slow,
    pytest.mark.soak,
    pytest.mark.timeout(4 * 3600),
]

HOME = Path(__file__).parents[2] / ".settle-test" / "museum"
ENOUGH = 0.9
SECONDS = 1800  # the packages of a release are downloaded once, on a busy machine


@pytest.fixture(scope="module")
def product(tmp_path_factory: pytest.TempPathFactory) -> Product:
    """Return a product whose environments stay, and whose history begins anew."""
    HOME.mkdir(parents=True, exist_ok=True)
    for file in HOME.glob("settle.db*"):
        file.unlink()
    install = {"find_links": settings_from_environment(os.environ).find_links}
    return Product(HOME, tmp_path_factory.mktemp("calls"), {**DEFAULTS, "install": install}, seconds=SECONDS)


@pytest.fixture(scope="module")
def scores(product: Product, tmp_path_factory: pytest.TempPathFactory) -> list[Score]:
    """Ask every fault that counts in the releases around both of its boundaries."""
    scores: list[Score] = []
    for fault in filter(_wanted, load_faults()):
        subject = fault.model or ""
        if fault.config or fault.tokenizer:
            subject = str(_folder(product, fault, tmp_path_factory.mktemp("museum") / fault.id))
        began = time.monotonic()
        answers = {version: product.ask("probe", subject, *_runtime(fault, version)) for version in fault.asked}
        scores.append(Score(fault, {version: _sighting(answer, subject) for version, answer in answers.items()}))
        print(_line(scores[-1], time.monotonic() - began), flush=True)  # noqa: T201 - the soak shows what it sees
    assert scores, "SETTLE_MUSEUM names no fault that counts"
    return scores


def test_nine_faults_in_ten_are_red_in_exactly_their_releases(scores: list[Score]) -> None:
    right = [score for score in scores if score.caught and score.right_releases]
    print(_summary(scores))  # noqa: T201 - as above
    assert len(right) >= ENOUGH * len(scores), [score.fault.id for score in scores if score not in right]


def test_no_healthy_neighbour_is_red(scores: list[Score]) -> None:
    assert [red for score in scores for red in score.false_reds] == []


def _wanted(fault: Fault) -> bool:
    """Return whether it is asked: SETTLE_MUSEUM names a few ids, for a run by hand."""
    chosen = os.environ.get("SETTLE_MUSEUM", "").split()
    return fault.counts and (not chosen or fault.id in chosen)


def _runtime(fault: Fault, version: str) -> tuple[str, str]:
    return "--runtime", f"{fault.runtime}=={version}"


def _folder(product: Product, fault: Fault, folder: Path) -> Path:
    """Write the checkpoint that brings the fault out."""
    folder.parent.mkdir(exist_ok=True)
    source = fault.model
    if fault.config:
        config = folder.parent / "config.json"
        config.write_text(json.dumps(json.loads(fault.config)), encoding="utf-8")
        source = str(config)
    release = ("--release", fault.release) if fault.config and fault.release else ()
    answer = product.ask("miniature", source, "--out", str(folder), *release)
    assert answer.exit_code == 0, answer.said
    if fault.tokenizer:
        (folder / "settle_miniature.json").unlink()  # its tokenizer is no longer ours, but a kind that is published
        write_tokenizer(folder, fault.tokenizer)
    return folder


def _sighting(answer: Answer, subject: str) -> Sighting:
    name = f"folder:{Path(subject).resolve()}" if subject.startswith(os.sep) else subject
    settled = answer.settled(name)
    checks = answer.runs(name)[-1]["checks"] if answer.runs(name) else []
    failed = {check["name"]: check["fault"] for check in checks if check["outcome"] == "failed"}
    return Sighting(settled["verdict"], settled["rung"] or "", settled["blame"] or "", failed)


def _line(score: Score, seconds: float) -> str:
    seen = "; ".join(
        f"{version} {sighting.verdict} {sighting.rung} {' '.join(sighting.failed)} {sighting.blame}".strip()
        for version, sighting in score.sightings.items()
    )
    return f"\n{score.fault.id} ({seconds:.0f} s; {score.fault.exercise}) {seen}"


def _summary(scores: list[Score]) -> str:
    counts = {
        "caught": sum(score.caught for score in scores),
        "right rung": sum(score.right_rung for score in scores),
        "right releases": sum(score.right_releases for score in scores),
        "right blame": sum(score.right_blame for score in scores),
        "false reds": sum(len(score.false_reds) for score in scores),
    }
    missing = [fault for fault in load_faults() if fault.shows and fault.needs]
    kinds = ", ".join(sorted({fault.needs for fault in missing}))
    lines = [f"\n{len(scores)} faults: " + ", ".join(f"{count} {name}" for name, count in counts.items())]
    lines.append(f"{len(missing)} more wait for a kind of check: {kinds}")
    return "\n".join(lines)
