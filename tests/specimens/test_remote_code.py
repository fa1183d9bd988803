"""The code of a model's folder runs in no runtime, contained or not: it would leave a mark, and there is none."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import pytest

from tests.specimens import checkpoints
from tests.specimens.test_vllm import LIMITS as VLLM_LIMITS
from tests.specimens.test_vllm import SECONDS as VLLM_SECONDS
from tests.standins.ollama import make_release

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.specimens.product import Product

pytestmark = [pytest.mark.engine, pytest.mark.index, pytest.mark.slow, pytest.mark.timeout(3600)]

SECONDS = 900
LIMITS = {"check_seconds": 120, "import_seconds": 300, "install_seconds": 900}
OLLAMA = "0.31.2"


@dataclass(frozen=True)
class Case:
    """``check`` is the one that needs the code, "" where the folder works without it."""

    runtime: str
    make: Callable[[Path, Path, Path], Path]
    check: str = ""
    engine: str = "docker"

    def __str__(self) -> str:
        return f"{self.runtime}, {self.make.__name__}, {self.engine}"


EVERYWHERE, TOKENIZER = checkpoints.code_everywhere, checkpoints.code_for_the_tokenizer
CASES = [
    Case("transformers", EVERYWHERE),
    Case("transformers", EVERYWHERE, engine="process"),
    Case("peft", EVERYWHERE),
    Case("xllamacpp", TOKENIZER, "loads.converts"),
    Case("xllamacpp", TOKENIZER, "loads.converts", engine="process"),
    Case("ollama", TOKENIZER, "loads.gguf"),
]
LONG = [
    Case("llama-cpp-python", TOKENIZER, "loads.converts"),  # compiled for a quarter of an hour
    Case("vllm", EVERYWHERE),  # gigabytes to install
]


@pytest.mark.parametrize("case", [*CASES, *(pytest.param(case, marks=pytest.mark.soak) for case in LONG)], ids=str)
def test_no_runtime_runs_a_models_own_code(
    docker_product: Product, good_folder: Path, tmp_path: Path, case: Case
) -> None:
    mark = tmp_path / "mark"
    folder = case.make(good_folder, tmp_path / "checkpoint", mark)
    assert checkpoints.RAN in run_by_hand(folder / "tokenization_made.py", mark)
    for closed in (tmp_path, tmp_path.parent, tmp_path.parent.parent):
        closed.chmod(0o777)  # so that the code could leave its mark
    product = replace(docker_product, engine=case.engine, seconds=VLLM_SECONDS if case.runtime == "vllm" else SECONDS)
    release = {"version": OLLAMA, "archive": str(make_release(tmp_path, OLLAMA))}
    sections = {"install.ollama": release} if case.runtime == "ollama" else {}

    limits = VLLM_LIMITS if case.runtime == "vllm" else LIMITS
    answer = product.ask("probe", str(folder), "--runtime", case.runtime, limits=limits, **sections)

    assert answer.data is not None, answer.said
    assert not mark.exists()
    runs = answer.runs(f"folder:{folder}")
    for run in runs:
        log = product.ask("show", run["run"]).data["log"]
        assert checkpoints.RAN not in log, log[-3000:]
    failed = [check for check in runs[-1]["checks"] if check["outcome"] not in {"passed", "skipped", "not-reached"}]
    if not case.check:
        assert failed == []
        assert answer.settled(f"folder:{folder}")["verdict"] == "works"
    else:
        assert [blame_of(check) for check in failed[:1]] == [(case.check, "needs-remote-code", "model")]
        assert "remote code is not run" in failed[0]["message"]
    assert product.leftovers() == []


def run_by_hand(file: Path, mark: Path) -> str:
    """Run the code once, to see that it would leave its mark, and take the mark away."""
    ran = subprocess.run([sys.executable, "-I", str(file)], capture_output=True, text=True, check=True)
    mark.unlink()
    return ran.stderr


def blame_of(check: dict[str, Any]) -> tuple[str, str, str]:
    return check["name"], check["fault"], check["blame"]
