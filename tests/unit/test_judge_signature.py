from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.judge.signature import SHOWN_CHARS, normalised, signature


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("No module named 'foo'", 'No module named "foo"'),
        ("cannot open /envs/ab12/lib/x.so: No such file", "cannot open /home/u/.venv/y.so: No such file"),
        ("object at 0x7f12ab failed", "object at 0xdeadbeef failed"),
        ("size mismatch: [4, 64, 2] vs [8, 128, 9]", "size mismatch: [1, 2] vs [3, 4]"),
        ("max difference 1.5e-03 at step 12", "max difference 0.25 at step 3"),
        ("session 123e4567-e89b-12d3-a456-426614174000 died", "session 00000000-aaaa-bbbb-cccc-0123456789ab died"),
        ("in tmpab12_xyz", "in tmpzzzzzz99"),
        ("requires torch v2.13.0", "requires torch v2.4"),
        ("Traceback\n  File x\nValueError: layer 3", "other noise\nValueError: layer 17"),
        ("read src/a/b.cpp:12", "read lib/q.cpp:99"),
        ("commit 0f3a9c1b22aa broke", "commit deadbeef0123 broke"),
    ],
)
def test_two_sightings_of_one_failure_are_equal(one: str, other: str) -> None:
    assert signature("load-error", one) == signature("load-error", other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("KeyError: 'rope_theta'", "KeyError: 'rope_type'"),
        ("unknown model qwen3", "unknown model gemma3"),
        ("ValueError: unknown model gemma4\n\nPlease update.", "ValueError: unknown model qwen3\n\nPlease update."),
        ("RuntimeError: sizes:\n\tsize mismatch for a.b", "RuntimeError: sizes:\n\tsize mismatch for c.d"),
        ("missing lm_head.weight", "missing norm.weight"),
    ],
)
def test_different_failures_differ(one: str, other: str) -> None:
    assert signature("load-error", one) != signature("load-error", other)


def test_the_fault_and_the_place_belong_to_it() -> None:
    assert signature("load-error", "x", "a.py:f") != signature("load-error", "x", "a.py:g")
    assert signature("load-error", "x") != signature("import-error", "x")


def test_an_empty_message_shows_the_fault() -> None:
    assert signature("crashed", "").endswith(" crashed")


@given(st.text(max_size=300))
def test_normalising_again_moves_nothing(message: str) -> None:
    once = normalised(message)
    assert normalised(once) == once


@given(st.text(alphabet=st.characters(categories=["L", "N", "P", "S", "Z"]), max_size=200), st.integers(0, 10**9))
def test_it_is_short_and_one_line(message: str, number: int) -> None:
    text = signature("load-error", f"{message} {number}", "a.py:f")
    assert len(text) <= 13 + SHOWN_CHARS
    assert "\n" not in text


@given(st.integers(0, 10**12), st.integers(0, 10**12))
def test_numbers_do_not_matter(one: int, other: int) -> None:
    assert signature("hung", f"tensor {one} of shape") == signature("hung", f"tensor {other} of shape")
