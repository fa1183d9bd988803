"""What each runtime is asked, in which order; and a check is added by one decorated function."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import probes
from monitor.domain import Rung, Runtime
from probes import catalogue, wire

PROBES = Path(probes.__file__).parent
TORCH = "knows.architecture knows.config loads.model loads.tensors loads.parts loads.reload"
SERVER = "serves.ready serves.completes serves.streams serves.limits serves.stop serves.seed serves.bias"
SERVER += " serves.penalties serves.schema serves.alike"
LLAMA_CPP = f"""knows.architecture loads.converts loads.metadata loads.model generates.forward loads.quantises
    generates.greedy generates.cache generates.stop speaks.tokenizer speaks.roundtrip speaks.template matches.logprobs
    {SERVER}"""
ORDERS = {
    "transformers": f"""{TORCH} generates.forward generates.greedy generates.cache generates.batch
        generates.attention generates.stop speaks.tokenizer speaks.roundtrip speaks.template matches.trace""",
    "peft": f"{TORCH} trains.gradients trains.checkpointing trains.overfits trains.lora trains.reload",
    "vllm": f"""knows.architecture loads.model generates.forward generates.greedy generates.cache generates.batch
        generates.stop speaks.tokenizer speaks.roundtrip speaks.template matches.logprobs {SERVER}""",
    "ollama": """loads.gguf knows.accepts loads.creates loads.runs knows.config generates.text generates.repeats
        generates.logprobs generates.stops speaks.template speaks.chats speaks.streams speaks.tools speaks.thinking
        serves.format serves.embeds serves.ready serves.completes serves.streams serves.stop serves.seed serves.schema
        serves.alike loads.safetensors""",
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


TOY = '''

@check("knows.toy")
def toy(subject: Subject) -> Answer:
    """The model has a toy."""
    return failed("wrong-config", f"{subject.folder.name} has no toy")
'''
LOOK = """
import json, sys
from pathlib import Path
from tools.manual import pages
from monitor.domain import Ending, Runtime
from monitor.judge.checks import judge_subject
from monitor.wire.stream import read_events
from probes import catalogue
from probes.events import Events, passed
from probes.subject import Subject, run_checks
from tests.specimens.checkpoints import bare
from tests.specimens.runtimes import PlainRuntime

events = Events("events.jsonl")
events.append("session", wire=1, suite="", runtime="transformers", version="1", python="3")
events.started(None, "installs.imports")
events.finished(None, "installs.imports", passed(), 0.1)
given = {"id": "a", "path": str(bare(Path("model")))}
run_checks(Subject(PlainRuntime(), "transformers", given, 0), "a", events)
events.append("done")
session = read_events(Path("events.jsonl").read_bytes(), ["a"])
judged = judge_subject(session, "a", Ending(exit_code=0), runtime=Runtime.TRANSFORMERS, hang_counts=False)
(toy,) = [check for check in judged if check.name == "knows.toy"]
print(json.dumps({
    "asked": [runtime for runtime in Runtime if any(c.name == "knows.toy" for c in catalogue.sequence(runtime))],
    "documented": [line for line in pages()["checks.md"].splitlines() if "knows.toy" in line],
    "judged": [toy.outcome, toy.fault, toy.blame, toy.message, str(toy.rung)],
}))
"""


def test_a_check_is_added_by_one_decorated_function(tmp_path: Path) -> None:
    """In a copy of the probes: every runtime is asked it, the page of checks has it, and the judge reads its answer."""
    shutil.copytree(PROBES, tmp_path / "probes", ignore=shutil.ignore_patterns("__pycache__"))
    with (tmp_path / "probes" / "checks" / "loads.py").open("a", encoding="utf-8") as module:
        module.write(TOY)
    # the copy goes before the tree, from which the monitor and the specimens come
    code = f"import sys; sys.path[:0] = [{str(tmp_path)!r}, {str(PROBES.parent)!r}]\n{LOOK}"
    asked = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False, timeout=120
    )
    assert asked.returncode == 0, asked.stderr
    assert json.loads(asked.stdout) == {
        "asked": list(Runtime),
        "documented": ["| knows | `knows.toy` | the model has a toy |"],
        "judged": ["failed", "wrong-config", "runtime", "model has no toy", "knows"],
    }
