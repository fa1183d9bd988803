"""What came from hubs and containers is shown, and a terminal obeys nothing of it."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from monitor.cli.output import table_lines
from monitor.cli.root import settle
from monitor.domain import Model, ModelKind, Subject, SubjectForm
from monitor.store import Store, open_store
from monitor.text import escaped, printable
from tests.standins.days import FIRST, World, events

if TYPE_CHECKING:
    from pathlib import Path

# a colour, a title, a clipboard, a cursor, C1's own escape, a bell; text turned around, joined and hidden
EVIL = "\x1b[31mred\x1b]0;title\x07\x1b]52;c;ZXZpbA==\x1b\\\x1b[2J\x9b1A\x07\r"
EVIL += "\u202eevil\u2066\u200bx\u2028y\ufeff\U000e0041"
NEVER = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\U000e0000-\U000e007f]"
)
NAME = f"acme/{EVIL}"
SUBJECT = "acme/evil"  # one that the probe can answer for: its events are cleaned when they are read
COMMANDS = (
    ["status"],
    ["status", "--json"],
    ["show", NAME],
    ["show", NAME, "--json"],
    ["show", NAME, "--log"],
    ["query", "SELECT * FROM current"],
    ["query", "--json", "SELECT * FROM history"],
    ["query", "SELECT message, evidence FROM checks WHERE outcome = 'failed'"],
    ["report"],
    ["report", "--markdown"],
    ["release", "5.4.0"],
)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a home in which everything that others name is hostile."""
    folder = tmp_path_factory.mktemp("hostile")
    with open_store(folder) as store, pytest.MonkeyPatch.context() as patch:
        told = store.end_session
        patch.setattr(store, "end_session", lambda *ended, log: told(*ended, log=log + f" {EVIL}\xff".encode()))
        _record(store, World(store))
    return folder


def _record(store: Store, world: World) -> None:
    model = Model(NAME, f"Family {EVIL}", f"arch{EVIL}", ModelKind.DENSE, f"org{EVIL}", FIRST, f"hub {EVIL}", note=EVIL)
    subject = Subject(SUBJECT, NAME, SubjectForm.MINIATURE, f"arch{EVIL}", "files", True, "5.5.0", False)
    store.record_catalogue([model], [subject])
    cell = replace(world.cell, subject_id=SUBJECT)
    world.run("W", FIRST, world.control)
    world.run("W", FIRST, cell, events=events(SUBJECT, "W"), version="5.3.0")
    world.environment = "env-b"
    world.run("W", FIRST + timedelta(days=1), world.control)
    failed = events(SUBJECT, "B").replace(b'"message": "', b'"message": "' + json.dumps(EVIL)[1:-1].encode())
    world.run("B", FIRST + timedelta(days=1), cell, events=failed)


@pytest.mark.parametrize("arguments", COMMANDS, ids=lambda one: " ".join(one)[:24].encode("ascii", "replace").decode())
def test_nothing_that_a_command_shows_moves_a_terminal(home: Path, arguments: list[str]) -> None:
    done = CliRunner().invoke(settle, arguments, env={"SETTLE_HOME": str(home)})
    assert done.exit_code == 0, done.output
    assert "evil" in done.output or not set(arguments) & {"status", "query", NAME}
    assert not NEVER.search(done.output.replace("\r\n", "\n"))


def test_a_name_that_nobody_knows_is_told_harmlessly(capsys: pytest.CaptureFixture[str]) -> None:
    from monitor.cli import _exit
    from monitor.errors import UnknownName

    with pytest.raises(SystemExit):
        _exit(UnknownName("cell", EVIL, [NAME], hint=EVIL))
    assert not NEVER.search(capsys.readouterr().err)


def test_a_sequence_goes_as_a_whole_and_words_stay() -> None:
    assert printable("\x1b[1;31mred\x1b[0m and \x1b]8;;http://x\x07a link\x1b]8;;\x07\tok\n") == "red and a link\tok\n"
    assert printable("naïve 模型 \N{HEBREW LETTER ALEF} 😀") == "naïve 模型 \N{HEBREW LETTER ALEF} 😀"


@given(st.text())
def test_json_means_the_same_and_holds_nothing_to_obey(text: str) -> None:
    told = escaped(json.dumps(text, ensure_ascii=False))
    assert json.loads(told) == text
    assert not NEVER.search(told)


@given(st.text())
def test_whatever_comes_is_printable(text: str) -> None:
    assert not NEVER.search(printable(text))


def test_columns_are_as_wide_as_what_they_hold_and_fold_what_does_not_fit() -> None:
    rows = [["model", "reason"], ["a", "one two three"], ["模型", "x"]]
    assert list(table_lines(rows, 80, cell_len)) == ["model  reason", "a      one two three", "模型   x"]
    folded = list(table_lines([["model", "reason"], ["a", "one two three four five"]], 20, cell_len))
    assert folded == ["model  reason", "a      one two three", "       four five"]


@given(st.lists(st.lists(st.text("ab c", max_size=40), min_size=3, max_size=3), min_size=1, max_size=4))
def test_no_line_is_wider_than_the_screen_and_no_word_is_lost(rows: list[list[str]]) -> None:
    lines = list(table_lines(rows, 40, len))
    assert all(len(line) <= 40 for line in lines)
    assert sorted("".join(lines).replace(" ", "")) == sorted("".join(map("".join, rows)).replace(" ", ""))


def test_who_only_reads_starts_without_what_a_writer_needs(tmp_path: Path) -> None:
    open_store(tmp_path).close()
    told = """
import sys
from pathlib import Path
from monitor.store import open_reader
with open_reader(Path(sys.argv[1])) as reader:
    print(reader.current(), "sqlite_utils" in sys.modules)
"""
    ran = subprocess.run([sys.executable, "-c", told, str(tmp_path)], capture_output=True, text=True, check=True)
    assert ran.stdout == "[] False\n"
