"""What a person can type wrongly: each gets a sentence, a hint and an exit code, and no traceback."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner

from monitor.cli import settle
from monitor.cli.doctor import State, _disk
from monitor.config.settings import Config
from monitor.errors import SettleError
from monitor.store import open_store

if TYPE_CHECKING:
    from collections.abc import Iterator

CASES = [
    (["probe", "Gema 4"], 2, "no model is called 'Gema 4'", "did you mean 'Gemma 4'?"),
    (["probe", ""], 2, "no model is called ''", "`settle models` lists them"),
    (["probe", "Qwen 3", "--runtime", "transformer"], 2, "no runtime is called", "did you mean 'transformers'?"),
    (["probe", "Qwen 3", "--runtime", "transformers>=5"], 2, "does not name a single version", "runtime==version"),
    (["probe", "Qwen 3", "--runtime", "transformers=="], 2, "names no version", "runtime==version"),
    (["probe", "Qwen 3", "--runtime", "transformers==abc"], 2, "'abc' is not a version", "transformers==5.2.0"),
    (["probe", "Qwen 3", "--as-of", "2099-01-01"], 2, "2099-01-01 is in the future", "an earlier day"),
    (["probe", "Qwen 3", "--as-of", "yesterday"], 2, "'yesterday' is not a day", "2026-03-31"),
    (["probe", "Qwen 3", "--as-of", "2019-01-01"], 2, "is before 2025-01-01", "give a later day"),
    (["probe", "./nowhere"], 2, "there is no folder", "checkpoint folder"),
    (["probe", "./empty"], 2, "is not a checkpoint: it has no config.json", "from_pretrained"),
    (["probe", "./pipe"], 2, "is not a checkpoint: it has no config.json", "from_pretrained"),
    (["probe", "./weightless"], 2, "holds no weights", "settle miniature"),
    (["run", "--once", "--only", "nothing"], 2, "no model is called 'nothing'", "`settle models`"),
    (["frobnicate"], 2, "no command is called 'frobnicate'", "settle --help"),
    (["query", "DELETE FROM runs"], 2, "only SQL that reads", "SELECT * FROM current"),
    (["query", "SELECT 1; DROP TABLE runs"], 2, "one statement at a time", "has examples"),
    (["query", "ATTACH 'x.db' AS x"], 2, "only SQL that reads", "write one SELECT"),
    (["query", "VACUUM INTO 'x.db'"], 2, "only SQL that reads", "write one SELECT"),
    (["show", "deadbeef"], 2, "no run is called 'deadbeef'", "settle show CELL"),
    (["show", "nothing"], 2, "no cell or run is called 'nothing'", "settle status"),
    (["--config", "nowhere.toml", "status"], 3, "there is no configuration file nowhere.toml", "--config"),
]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    for folder in ("empty", "pipe", "weightless", "home"):
        (tmp_path / folder).mkdir()
    os.mkfifo(tmp_path / "pipe" / "config.json")
    (tmp_path / "weightless" / "config.json").write_text('{"model_type": "llama"}')
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SETTLE_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("SETTLE_CONFIG", raising=False)
    open_store(tmp_path / "home").close()
    yield tmp_path / "home"
    assert not Path("x.db").exists()


def ask(*arguments: str) -> SettleError:
    error = CliRunner().invoke(settle, arguments).exception
    assert isinstance(error, SettleError), repr(error)
    return error


@pytest.mark.usefixtures("home")
@pytest.mark.parametrize(
    ("arguments", "exit_code", "sentence", "hint"),
    CASES,
    ids=lambda one: " ".join(one)[:50] if isinstance(one, list) else "",
)
def test_a_mistake_gets_a_sentence(arguments: list[str], exit_code: int, sentence: str, hint: str) -> None:
    error = ask(*arguments)
    assert error.exit_code == exit_code
    assert sentence in str(error)
    assert hint in error.hint


def test_a_second_daemon_names_the_first(home: Path) -> None:
    with open_store(home):
        error = ask("rejudge")
    assert error.exit_code == 4
    assert f"is in use by another settle (process {os.getpid()})" in str(error)


@pytest.mark.parametrize("command", [["status"], ["query", "SELECT 1"], ["show", "abcd"], ["reproduce", "abcd"]])
def test_a_database_that_cannot_be_read_gets_a_sentence(home: Path, command: list[str]) -> None:
    (home / "settle.db").write_bytes(b"no database" * 1000)
    for file in home.glob("settle.db-*"):
        file.unlink()
    error = ask(*command)
    assert error.exit_code == 4
    assert "is not a database that can be read" in str(error)


def test_an_empty_file_is_no_database_yet(home: Path) -> None:
    (home / "settle.db").write_bytes(b"")
    assert "there is no database at" in str(ask("status"))


def test_a_home_that_is_no_folder_is_found_by_the_doctor(home: Path) -> None:
    (home / "file").touch()
    finding = _disk(Config(home=home / "file"))
    assert (finding.state, finding.message) == (State.BAD, f"{home / 'file'} is not writable")
