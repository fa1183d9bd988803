"""Renders a stranger's chat template in a process of its own, within limits of time and memory."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
from typing import TYPE_CHECKING, Any

from monitor.miniatures.template import render

if TYPE_CHECKING:
    from collections.abc import Mapping

SECONDS = 10.0
MEMORY_BYTES = 512 << 20
_WHY_CHARS = 300


def render_apart(
    template: str, messages: list[dict[str, str]], specials: Mapping[str, Any], *, seconds: float = SECONDS
) -> tuple[str | None, str]:
    """Return the rendering, or None and why there is none. Never raises for what the template does, and always ends."""
    asked = json.dumps({"template": template, "messages": messages, "specials": dict(specials)})
    try:
        done = subprocess.run(
            [sys.executable, "-I", "-m", __name__],
            input=asked.encode(),
            capture_output=True,
            timeout=seconds,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return None, f"it is not done after {seconds:g} s"
    try:
        answer = json.loads(done.stdout)
    except ValueError:
        return None, f"its process ended with {done.returncode}"
    return answer["rendered"], answer["why"]


def _answer() -> None:
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    asked = json.loads(sys.stdin.buffer.read())
    rendered, why = None, ""
    try:
        rendered = render(asked["template"], asked["messages"], asked["specials"])
    except MemoryError:
        why = f"it wants more than {MEMORY_BYTES >> 20} MiB"
    except Exception as error:  # noqa: BLE001 -- whatever a stranger's program raises
        why = f"{type(error).__name__}: {error}"[:_WHY_CHARS]
    sys.stdout.write(json.dumps({"rendered": rendered, "why": why}))


if __name__ == "__main__":
    _answer()
