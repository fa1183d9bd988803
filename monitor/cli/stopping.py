"""Ctrl-C and SIGTERM as an exception that nothing on the way swallows, so that whatever was begun is ended."""

from __future__ import annotations

import os
import signal
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import FrameType

PATIENCE_S = 1.0  # a terminal and a wrapper may both pass on the same Ctrl-C

NAMES = {signal.SIGINT: "Ctrl-C", signal.SIGTERM: "SIGTERM"}


class Stopped(BaseException):
    """Somebody wants this process to end; ``exit_code`` is what a shell expects of a signal's death."""

    def __init__(self, number: int) -> None:
        self.name = NAMES[signal.Signals(number)]
        self.exit_code = 128 + number
        super().__init__(f"stopped by {self.name}")


def stop_on_signals() -> None:
    """Raise Stopped at the first signal; a later one, sent on purpose, ends the process without cleaning up."""
    stopped_at: list[float] = []

    def stop(number: int, _frame: FrameType | None) -> None:
        now = time.monotonic()
        if not stopped_at:
            stopped_at.append(now)
            raise Stopped(number)
        if now - stopped_at[0] > PATIENCE_S:
            os._exit(128 + number)

    for number in NAMES:
        signal.signal(number, stop)
