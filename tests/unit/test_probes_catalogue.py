"""What each runtime is asked, in which order; and a check is added by one decorated function."""

from __future__ import annotations

from pathlib import Path

import pytest

import probes
from monitor.domain import Rung, Runtime
from probes import catalogue, wire

PROBES = Path(probes.__file__).parent
TORCH = "loads.tensors loads.parts loads.reload"
KNOWS = "knows.architecture knows.config loads.model"
WHOLE = "generates.ahead generates.images generates.sounds"
PICTURES = "generates.ahead generates.images generates.image_cache generates.sounds"
SERVER = "serves.ready serves.completes serves.streams serves.limits serves.stop serves.seed serves.bias"
SERVER += " serves.penalties serves.schema serves.alike"
SPEAKS = "speaks.tokenizer speaks.roundtrip speaks.template speaks.templates speaks.ends"
LLAMA_CPP = f"""knows.architecture loads.converts loads.metadata loads.model generates.forward
    loads.quantises generates.greedy generates.cache generates.stop {WHOLE} {SPEAKS} matches.logprobs {SERVER}
    loads.published"""
ORDERS = {
    "transformers": f"""{KNOWS} {TORCH} generates.forward generates.greedy generates.cache generates.batch
        generates.attention generates.stop generates.vectors generates.sight generates.scores {PICTURES} {SPEAKS}
        matches.trace loads.published generates.continues generates.padding generates.caches generates.assisted
        generates.halved knows.effects""",
    "peft": f"""{KNOWS} {TORCH} {WHOLE} trains.gradients trains.checkpointing trains.overfits trains.lora trains.reload
        loads.published""",
    "vllm": f"""knows.architecture loads.model generates.forward generates.greedy generates.cache
        generates.batch generates.stop {WHOLE} {SPEAKS} matches.logprobs {SERVER} loads.published""",
    "ollama": f"""loads.gguf knows.accepts loads.creates loads.runs knows.config generates.text
        generates.repeats generates.logprobs generates.stops {WHOLE} speaks.template speaks.templates speaks.ends
        speaks.chats speaks.streams speaks.tools speaks.thinking serves.format serves.embeds serves.ready
        serves.completes serves.streams serves.stop serves.seed serves.schema serves.alike loads.safetensors
        loads.published""",
    "xllamacpp": LLAMA_CPP,
    "llama-cpp-python": LLAMA_CPP,
}


@pytest.mark.parametrize("runtime", Runtime)
def test_the_order_of_a_runtimes_checks_is_that_of_the_history(runtime: Runtime) -> None:
    """Where a process ends between two checks, the order says which of them never started."""
    assert [check.name for check in catalogue.sequence(runtime)] == ORDERS[runtime].split()


def test_every_check_is_asked_of_some_runtime_and_every_ability_is_needed_by_some_check() -> None:
    assert {check.name for runtime in Runtime for check in catalogue.sequence(runtime)} == set(catalogue.checks())
    abilities = {ability for runtime in Runtime for ability in catalogue.adapter_class(runtime).abilities}
    assert abilities == {check.needs for check in catalogue.checks().values()} - {""}


def test_every_module_of_checks_is_in_the_order() -> None:
    assert sorted(catalogue.MODULES) == sorted(file.stem for file in (PROBES / "checks").glob("[!_]*.py"))


def test_rungs_have_the_names_that_the_monitor_knows() -> None:
    assert [str(rung) for rung in Rung] == list(wire.RUNGS)


def test_a_runtime_without_an_adapter_is_refused_in_words() -> None:
    for name in ("toy", "tensors"):  # no module, and one that is no adapter's
        with pytest.raises(ValueError, match=f"no adapter for '{name}'"):
            catalogue.adapter_class(name)
