"""What sessions of any runtime write when its numbers are compared with the reference's."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from monitor.judge.checks import checks_of

if TYPE_CHECKING:
    from monitor.domain import Runtime

TRACE = {"prompts": [{"ids": [1, 2], "from": 0, "top": [[[5, 6], [-1.0, -2.0]]] * 2}], "spread": 1.0, "trembling": 0.0}
APART = {"maximum": 0.5, "p99": 0.25, "allowed": 1e-3}
DIFFERS = {"outcome": "failed", "fault": "differs-from-reference", "evidence": APART, "message": "differs"}


def told(subject: str, runtime: Runtime, facts: dict[str, Any], *, wrong: str = "", ending: Any = DIFFERS) -> bytes:
    """Return the events of a session in which every check of the runtime passes but the one that is ``wrong``."""
    lines: list[dict[str, Any]] = [
        {"event": "session", "wire": 1, "suite": "s", "runtime": str(runtime), "version": "1", "python": "3"}
    ]
    for name in ("installs.imports", *checks_of(runtime)):
        of = None if name.startswith("installs.") else subject
        outcome = ending if name == wrong else {"outcome": "passed"}
        lines.append({"event": "started", "subject": of, "check": name})
        lines.append({"event": "finished", "subject": of, "check": name, "seconds": 0.1, **outcome})
    lines += [{"event": "fact", "subject": subject, "name": name, "value": value} for name, value in facts.items()]
    return b"".join(json.dumps({"at": 1.0, **line}).encode() + b"\n" for line in [*lines, {"event": "done"}])
