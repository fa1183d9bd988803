"""Runs a command and looks at what it does meanwhile: a reason to end it ends it."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from containers.engine import Command, Engine, Execution

LOOK_SECONDS = 0.05


def run_watched(
    engine: Engine, command: Command, look: Callable[[], str], *, seconds: float = LOOK_SECONDS
) -> tuple[Execution, str]:
    """Run to the end; ``look`` is called every few moments, and the first reason it gives ends the command."""
    cancel = threading.Event()
    reason = ""
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(engine.run, command, cancel=cancel)
        try:
            while not running.done():
                reason = reason or look()
                if reason:
                    cancel.set()
                time.sleep(seconds)
        except BaseException:
            cancel.set()  # or leaving the pool would wait for the command's own end
            raise
        return running.result(), reason
