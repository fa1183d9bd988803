"""Every fault in llama.cpp, its converter or its server through the real command: the check that sees it, and blame."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import pytest

from tests.specimens.product import absent
from tests.specimens.test_specimens import CONTROL, SUBJECT, Specimen, hold, probe_with, verdicts
from tests.specimens.test_specimens import Expected as Verdict

if TYPE_CHECKING:
    from tests.specimens.product import Answer, Product

pytestmark = [pytest.mark.engine, pytest.mark.index, pytest.mark.slow, pytest.mark.timeout(1800)]

RUNTIME = ("--runtime", "xllamacpp")
SECONDS = 900
LIMITS = {"check_seconds": 120, "import_seconds": 300, "install_seconds": 900}


@dataclass(frozen=True)
class Expected:
    """The one check that fails; beyond the rungs of the bar the cell works all the same, and the rung says what not."""

    check: str
    fault: str
    blame: str = "runtime"

    @property
    def verdict(self) -> Verdict:
        rung = self.check.partition(".")[0]
        above = rung in {"matches", "serves"}
        return Verdict("works") if above else Verdict("broken", rung, self.fault, self.blame)


FAULTS = {
    "wrong-rope-theta": Expected("matches.logprobs", "differs-from-reference"),
    "output-not-converted": Expected("matches.logprobs", "differs-from-reference"),
    "wrong-scale": Expected("loads.quantises", "quantised-differs"),
    "one-merge-less": Expected("speaks.roundtrip", "roundtrip-differs"),
    "newline-less-template": Expected("speaks.template", "template-differs"),
    "other-stream": Expected("serves.streams", "stream-differs"),
    "ignored-seed": Expected("serves.seed", "parameter-ignored"),
}


@pytest.fixture(scope="module")
def llamacpp(docker_product: Product) -> Product:
    """Lend the product with the reference pinned: what is compared with it needs a transformers that works."""
    answer = docker_product.ask("probe", SUBJECT)
    if answer.data is None or answer.settled(SUBJECT)["verdict"] != "works":
        absent(f"transformers does not work here, so nothing is compared with it: {answer.said}")
    return replace(docker_product, seconds=SECONDS)


def test_without_a_fault_every_check_of_it_passes(llamacpp: Product) -> None:
    answer = llamacpp.ask("probe", SUBJECT, *RUNTIME, limits=LIMITS)
    hold(llamacpp, answer, SUBJECT, Verdict("works"))
    assert verdicts(answer, CONTROL) == ["works"]
    assert failing(answer) == {}


@pytest.mark.parametrize("package", FAULTS)
def test_a_fault_is_seen_by_its_own_check(llamacpp: Product, package: str) -> None:
    expected = FAULTS[package]
    answer = probe_with(llamacpp, Specimen(package, expected.verdict, limits=LIMITS), *RUNTIME)

    hold(llamacpp, answer, SUBJECT, expected.verdict)
    assert verdicts(answer, CONTROL)[0] == "works", answer.by_hand
    assert failing(answer) == {expected.check: (expected.fault, expected.blame)}
    assert answer.settled(SUBJECT)["rungs"][expected.check.partition(".")[0]] == "failed"
    assert llamacpp.leftovers() == []


def failing(answer: Answer) -> dict[str, tuple[str, str]]:
    """Return the checks of the subject's last run that neither passed nor did not apply, with fault and blame."""
    checks = answer.runs(SUBJECT)[-1]["checks"]
    return {one["name"]: (one["fault"], one["blame"]) for one in checks if one["outcome"] not in {"passed", "skipped"}}
