"""What the probe writes is strict, bounded and whole, also when several processes write."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

import pytest

from probes.events import Events, failed, passed, plain
from probes.wire import MAX_LINE_BYTES, MAX_MESSAGE_CHARS, OUR_BUG_EXIT

if TYPE_CHECKING:
    from pathlib import Path


def _refuse(constant: str) -> None:
    raise AssertionError(constant)


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line, parse_constant=_refuse) for line in path.read_text(encoding="utf-8").splitlines()]


def test_numbers_that_json_cannot_say_are_spelt_out(tmp_path: Path) -> None:
    events = Events(str(tmp_path / "e"))
    events.fact("m", "x", {"a": float("nan"), "b": [float("inf"), float("-inf"), 1.5]})
    assert lines(tmp_path / "e")[0]["value"] == {"a": "nan", "b": ["inf", "-inf", 1.5]}


def test_a_line_never_grows_past_its_bound(tmp_path: Path) -> None:
    events = Events(str(tmp_path / "e"))
    huge = {str(place): ["x" * 3000] * 10 for place in range(60)}
    events.finished("m", "loads.tensors", failed("load-error", "y" * 10_000, **huge), 1.0)
    events.finished("m", "loads.parts", passed("after it"), 0.0)
    first, second = lines(tmp_path / "e")
    assert max(map(len, (tmp_path / "e").read_bytes().splitlines())) < MAX_LINE_BYTES
    assert first["evidence"]["dropped_bytes"] > MAX_LINE_BYTES
    assert len(first["message"]) == MAX_MESSAGE_CHARS
    assert second["message"] == "after it"


def test_text_that_is_no_unicode_is_still_written(tmp_path: Path) -> None:
    Events(str(tmp_path / "e")).fact(None, "said", "\ud800\n\0")
    assert lines(tmp_path / "e")[0]["value"] == "?\n\0"


@pytest.mark.parametrize(
    ("value", "said"),
    [({3: {1, 2}}, {"3": [1, 2]}), ((1, None, True), [1, None, True]), (object, "<class 'object'>")],
)
def test_values_become_plain(value: object, said: object) -> None:
    assert plain(value) == said


def test_endless_nesting_ends() -> None:
    nest: list[Any] = []
    for _ in range(500):
        nest = [nest]
    assert len(json.dumps(plain(nest))) < 5000


def test_children_append_whole_lines_beside_the_parent(tmp_path: Path) -> None:
    events = Events(str(tmp_path / "e"))
    children = []
    for number in range(4):
        child = os.fork()
        if child == 0:
            for turn in range(100):
                events.fact(str(number), "turn", [turn, "x" * 2000])
            os._exit(0)
        children.append(child)
    assert [os.waitpid(child, 0)[1] for child in children] == [0] * 4
    said = [(event["subject"], event["value"][0]) for event in lines(tmp_path / "e")]
    assert sorted(said) == sorted((str(number), turn) for number in range(4) for turn in range(100))


def test_a_full_disk_ends_with_our_own_code(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        Events("/dev/full").fact("m", "x", 1)
    assert ended.value.code == OUR_BUG_EXIT
    assert "No space left" in capsys.readouterr().err


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError, match="link"):
        Events(str(tmp_path / "link"))
    assert not (tmp_path / "elsewhere").exists()
