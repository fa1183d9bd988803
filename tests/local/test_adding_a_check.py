"""A check is added in one place, a decorated function; a copy of the probes shows it asked, documented and judged."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import probes
from monitor.domain import Runtime

PROBES = Path(probes.__file__).parent

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
