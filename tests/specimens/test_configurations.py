"""Published configurations through discovery: each ends in a verdict or a right reason, as the table beside says."""

from __future__ import annotations

import csv
import json
import lzma
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from monitor.config.settings import Config
from monitor.discovery.miniatures import derive_discovered
from monitor.domain import CellVerdict, Channel, Model, ModelKind, Runtime
from monitor.miniatures.derive import NotDerived
from monitor.progress import ConsoleProgress
from monitor.runner.context import open_context
from monitor.runner.cycle import run_cycle
from monitor.runner.request import ProbeRequest
from monitor.sources.changes import ModelPart
from monitor.store.published import Revision

if TYPE_CHECKING:
    from collections.abc import Mapping

    from monitor.judge.confirm import Settled
    from monitor.runner.context import RunContext
    from tests.specimens.product import Product

DATA = Path(__file__).parents[1] / "data"
SHIPPED: dict[str, Any] = json.loads(lzma.decompress((DATA / "configurations.json.xz").read_bytes()))
FILES: Mapping[str, Mapping[str, str]] = {
    **{name: {"config.json": json.dumps(config)} for name, config in SHIPPED["configurations"].items()},
    **SHIPPED["inputs"],
}
# by hand, one row each: how an outcome begins ("works", a verdict with its blame, or why there is no miniature), or
# nothing where any verdict and any reason that is not ours will do
EXPECTED = {
    row["name"]: row["outcome"]
    for row in csv.DictReader((DATA / "configurations.csv").read_text(encoding="utf-8").splitlines())
}
# one of each kind that failed once, so that `make test` stays within its minutes
QUICK = (
    *("C_qwen2.5_vl_7b", "D_EmbeddingGemma-300m", "D_Voxtral-Mini-3B-2507"),
    *("F_eos-only-endoftext", "F_quant-nonsense", "F_template-tools-only-broken"),
)

MOST_OF_OURS = 11 / 151

pytestmark = [pytest.mark.engine, pytest.mark.index, pytest.mark.slow]


@pytest.mark.timeout(1200)
def test_a_few_configurations_end_as_the_table_says(product: Product) -> None:
    hold(product, QUICK)


@pytest.mark.soak
@pytest.mark.timeout(7200)
def test_every_configuration_ends_as_the_table_says(product: Product) -> None:
    assert EXPECTED.keys() == FILES.keys()
    outcomes = hold(product, tuple(FILES))
    ours = [name for name, outcome in outcomes.items() if is_ours(outcome)]
    assert len(ours) <= MOST_OF_OURS * len(outcomes), ours


def hold(product: Product, names: tuple[str, ...]) -> dict[str, str]:
    config = Config.model_validate({"home": str(product.home), "engine": product.engine, **product.configuration})
    with open_context(config, ConsoleProgress()) as context:
        outcomes = measured(context, names)
    wrong = {
        name: (outcome, EXPECTED[name]) for name, outcome in outcomes.items() if not outcome.startswith(EXPECTED[name])
    }
    assert wrong == {}
    return outcomes


def is_ours(outcome: str) -> bool:
    """Return whether an outcome says nothing about the model, because our part failed."""
    return outcome.startswith("unknown") or "shrinking failed" in outcome or "cannot be shrunk" in outcome


def measured(context: RunContext, names: tuple[str, ...]) -> dict[str, str]:
    """Return how each ends in the newest release of transformers."""
    now = datetime.now(UTC)
    outcomes, subjects = {}, []
    context.store.record_catalogue(context.catalogue.models, context.catalogue.subjects())  # with the control
    for name in names:
        model_id = name if "/" in name else f"inputs/{name}"
        files: dict[str, bytes | str] = {path: text.encode() for path, text in FILES[name].items()}
        model = Model(model_id, name, "", ModelKind.DENSE, model_id.partition("/")[0], None, "")
        context.store.published.record_discovery(model, "test", now, created_at=now)
        first = Revision("a" * 40, now, (ModelPart.CONFIG,), dict.fromkeys(files, "b" * 40), files)
        context.store.published.record_revisions(model_id, [first], now)
        made = derive_discovered(context.store, context.deriver, model_id)
        if isinstance(made, NotDerived):
            outcomes[name] = f"no miniature: {made.reason}"
        else:
            subjects.append((name, made))
    request = ProbeRequest(
        runtime=Runtime.TRANSFORMERS,
        day=now.date(),
        cutoff=now,
        channel=Channel.STABLE,
        subjects=[subject for _, subject in subjects],
    )
    cycle = run_cycle(context.runner, request)
    settled = {cell.partition("@")[0]: verdict for cell, verdict in cycle.settled.items()}
    for name, subject in subjects:
        outcomes[name] = as_text(settled[subject.id])
    return outcomes


def as_text(settled: Settled) -> str:
    verdict = settled.verdict
    if verdict.verdict is CellVerdict.WORKS:
        return "works"
    blame = f", {verdict.blame}" if verdict.blame else ""
    return f"{verdict.verdict}{blame}: {verdict.reason}"
