"""The shipped histories: the pages generated from them are the pages that are shipped, and `settle demo` opens both."""

from __future__ import annotations

import json
import os
import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.worlds.world import SETTLE
from tools.refresh import DOCS, PAGES, page_of

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("page", PAGES)
def test_a_page_is_what_its_shipped_history_says(page: str) -> None:
    assert (DOCS / page).read_text(encoding="utf-8") == page_of(page)


def test_a_new_user_opens_the_shipped_history(tmp_path: Path) -> None:
    env = {**os.environ, "XDG_CACHE_HOME": str(tmp_path / "cache"), "SETTLE_HOME": str(tmp_path / "own")}

    def demo(*arguments: str) -> str:
        asked = subprocess.run(
            [str(SETTLE), "demo", *arguments], capture_output=True, text=True, env=env, timeout=120, check=False
        )
        assert asked.returncode == 0, asked.stderr
        return asked.stdout

    (history,) = json.loads(demo("report", "--json"))
    whole = history["groups"][0]
    assert whole["works"]["entries"] >= 20
    assert whole["works"]["never"]["share"] > 0  # models that no release of the runtime supports are asked, too
    assert history["caveats"]
    assert "init_empty_weights" in demo("release", "4.51.0")
    assert "Bbbb" in demo("show", "google/gemma-4-31B-it").replace(" ", "")
    newest = json.loads(demo("--runtimes", "status", "--json"))
    assert {row["runtime"] for row in newest} >= {"transformers", "xllamacpp", "llama-cpp-python", "vllm", "ollama"}
    assert {row["verdict"] for row in newest if row["runtime"] == "ollama"} == {"unknown"}
    assert "transformers" in demo("--runtimes", "query", "SELECT reference FROM parity")
    assert not (tmp_path / "own").exists()  # a demo touches nothing of the user's own
