from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from containers.engine import BoundedLog


@given(st.lists(st.binary(max_size=40), max_size=30), st.integers(min_value=2, max_value=200))
def test_head_and_tail_are_kept_and_the_middle_is_counted(chunks: list[bytes], limit: int) -> None:
    whole = b"".join(chunks)
    log = BoundedLog(limit)
    for chunk in chunks:
        log.write(chunk)

    text = log.text()
    assert log.dropped_bytes == max(0, len(whole) - limit)
    if len(whole) <= limit:
        assert text == whole
    else:
        assert text.startswith(whole[: limit // 2])
        assert text.endswith(whole[-(limit - limit // 2) :])
        assert f"[settle: {len(whole) - limit} bytes of output dropped here]".encode() in text


def test_a_flood_takes_no_memory() -> None:
    log = BoundedLog(1000)
    for _ in range(100_000):
        log.write(b"x" * 100)

    assert sum(map(len, log._tail)) + len(log._head) < 1200
    assert log.dropped_bytes == 10_000_000 - 1000
