"""The pages that come from the code say what the code says, and every promise of the README can be kept."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from monitor.cli.root import COMMANDS, settle
from monitor.config.load import load_config, reference
from tools.manual import pages

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("name", pages())
def test_a_page_is_what_the_code_says(name: str) -> None:
    assert (ROOT / "docs" / name).read_text(encoding="utf-8") == pages()[name], "run `make docs`"


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_an_example_that_parses(name: str) -> None:
    command = settle.get_command(settle.make_context("settle", ["--help"], resilient_parsing=True), name)
    assert command is not None
    assert command.epilog is not None
    assert f"settle {name}" in command.epilog or "settle --config" in command.epilog


def test_the_shipped_example_is_a_configuration_and_shows_the_defaults(tmp_path: Path) -> None:
    example = ROOT / "deploy" / "settle.example.toml"
    home = {"SETTLE_HOME": str(tmp_path)}
    assert load_config(example, home) == load_config(None, {**home, "SETTLE_CONFIG": str(_empty(tmp_path))})


def test_every_key_that_the_example_only_shows_exists() -> None:
    text = (ROOT / "deploy" / "settle.example.toml").read_text(encoding="utf-8")
    shown = set(re.findall(r"^# ?([\w.]+) = ", text, re.MULTILINE))
    keys = [key for key, _, _ in reference()]
    assert all(any(f".{key}".endswith(f".{one}") for key in keys) for one in shown)


def test_every_command_of_the_readme_exists() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    named = set(re.findall(r"^settle ([a-z-]+)", text, re.MULTILINE))
    assert named
    assert named <= set(COMMANDS)


def _empty(folder: Path) -> Path:
    file = folder / "empty.toml"
    file.write_text("")
    return file
