"""What people would write by hand: one plain process that runs the checks, with no container, daemon or database.

Run as ``python -I bare.py probes.pyz request.json``; prints what came of each check.
"""

import json
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, sys.argv[1])

from probes.catalogue import adapter_class
from probes.events import Events
from probes.subject import Subject, run_checks


class Remembered(Events):
    """Keeps what came of each check, and writes nothing."""

    def __init__(self) -> None:
        self.outcomes: dict[str, str] = {}

    def append(self, event: str, **fields: Any) -> None:
        if event == "finished":
            self.outcomes[f"{fields['subject']} {fields['check']}"] = fields["outcome"]


def main() -> None:
    request = json.loads(Path(sys.argv[2]).read_text(encoding="utf-8"))
    runtime = adapter_class(request["runtime"])()
    runtime.load()
    remembered = Remembered()
    for given in request["subjects"]:
        subject = Subject(runtime, request["runtime"], given, request["seed"])
        run_checks(subject, given["id"], remembered)
    print(json.dumps(remembered.outcomes))  # noqa: T201 - its answer


main()
