"""Writes the shell script that repeats a run by hand, from its stored lock, its subject and the probes."""

from __future__ import annotations

import base64
import io
import json
import shlex
import zipfile
from importlib.resources import files
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from containers.lock import parse_lock
from monitor.errors import UsageError
from monitor.miniatures.manifest import read_miniature
from monitor.miniatures.writer import digest_of
from monitor.subjects.catalogue import catalogue_of
from monitor.wire.bundle import build_bundle, suite_of

if TYPE_CHECKING:
    from importlib.resources.abc import Traversable

    from monitor.store import EnvironmentRecord, Reader
    from monitor.verdicts import RunDetail

# what writes a miniature needs nothing but Python, so it travels in the script
_WRITER = (
    "__init__.py",
    "miniatures/__init__.py",
    "miniatures/manifest.py",
    "miniatures/tokenizer.py",
    "miniatures/writer.py",
)
_SHOW = """
import json, sys
for line in open(sys.argv[1], encoding="utf-8"):
    event = json.loads(line)
    if event["event"] == "finished":
        print("%-8s %-22s %s" % (event["outcome"], event["check"], event.get("message", "")[:200]))
    elif event["event"] == "died":
        print("died    ", {k: v for k, v in event.items() if k not in ("event", "at", "subject")})
"""


def script(store: Reader, detail: RunDetail) -> str:
    """Return the script. Raises UsageError for a run that never came to an environment or whose request is gone."""
    if detail.session is None:
        raise UsageError(
            f"run {detail.id} did not install: {detail.resolution['fault']}",
            hint=f"`settle show {detail.id} --log` has the installer's own words",
        )
    environment = store.environment(detail.row["environment"])
    request = store.request(detail.session["request_digest"])
    if environment is None or request is None:
        raise UsageError(f"what run {detail.id} was asked is not recorded any more", hint="probe it again")
    subject_id = str(detail.row["cell_id"]).rpartition("@")[0]
    (given,) = [one for one in request["subjects"] if one["id"] == subject_id]
    bundle = _bundle()
    python = str(environment.platform).split("-")[1].removeprefix("py")
    folder = subject_id.removeprefix("folder:")
    own_files = subject_id.startswith("folder:")
    lock, sources = _apart(environment, store.path.parent / "install" / "wheels")
    question = request | {"subjects": [given | {"path": "SUBJECT"}], "isolation": "solo"}
    changed = (
        ""
        if suite_of(request["runtime"]) == detail.row["suite"]
        else "# The probes have changed since that run; these are today's.\n"
    )
    digest = str(detail.row["subject_digest"])
    described = None if own_files else catalogue_of(store.path.parent, store).folder_of(subject_id, digest)
    if described is not None and digest_of(read_miniature(described)) != digest:
        changed += "# The miniature has changed since that run; this is today's.\n"
    return _SCRIPT.format(
        run=detail.id,
        cell=_comment(detail.row["cell_id"]),
        verdict=_comment(f"{detail.verdict.verdict}: {detail.verdict.reason}"),
        day=detail.row["day"],
        base=environment.base_digest[:12],
        changed=changed,
        python=python,
        install=_INSTALL,
        lock=lock,
        sources="".join(f"{_BUILD} --no-binary {name} {name}=={version}\n" for name, version in sources),
        request=json.dumps(question, ensure_ascii=True),
        bundle=_lines(bundle),
        subject=f"SUBJECT={shlex.quote(folder)}" if described is None else _written(described),
        show=_SHOW.strip("\n"),
        variables=_variables(request["runtime"]),
    )


def _apart(environment: EnvironmentRecord, wheels: Path) -> tuple[str, list[tuple[str, str]]]:
    """Return the lock without what was built from source here, whose wheels no index has; and that, by version."""
    pins = parse_lock(environment.lock, base_digest=environment.base_digest).packages
    ours = [pin for pin in pins if any((wheels / one.removeprefix("sha256:")).is_dir() for one in pin.hashes)]
    return "\n".join(str(pin) for pin in pins if pin not in ours), [(pin.name, pin.version) for pin in ours]


def _written(described: Traversable) -> str:
    return _SUBJECT.format(writer=_lines(_writer(described)))


def _bundle() -> bytes:
    with TemporaryDirectory() as folder:
        target = Path(folder) / "probes.pyz"
        build_bundle(target)
        return target.read_bytes()


def _writer(described: Traversable) -> bytes:
    slug = described.name
    own = files("monitor")
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as bundle:
        for name in _WRITER:
            bundle.writestr(f"monitor/{name}", (own / name).read_bytes())
        for name, data in _tree(described, f"monitor/data/miniatures/{slug}"):
            bundle.writestr(name, data)
        for name, data in _tree(own / "data" / "templates", "monitor/data/templates"):
            bundle.writestr(name, data)
        bundle.writestr(
            "__main__.py",
            "import sys\nfrom pathlib import Path\nfrom monitor.miniatures.manifest import load_miniature\n"
            "from monitor.miniatures.writer import write_miniature\n"
            f"print(write_miniature(load_miniature({slug!r}), Path(sys.argv[1])).path)\n",
        )
    return buffer.getvalue()


def _tree(folder: Traversable, prefix: str) -> list[tuple[str, bytes]]:
    return [(f"{prefix}/{entry.name}", entry.read_bytes()) for entry in folder.iterdir() if entry.is_file()]


def _lines(data: bytes) -> str:
    return base64.encodebytes(data).decode("ascii").rstrip("\n")


def _variables(runtime: str) -> str:
    from containers.recipes import RECIPES

    pairs: dict[str, Any] = dict(RECIPES[runtime].environment)
    return " ".join(f"{name}={shlex.quote(str(value))}" for name, value in pairs.items())


def _comment(text: str) -> str:
    return " ".join(text.split())


_INSTALL = "uv pip install --quiet --python env/bin/python --no-deps"
_BUILD = f"# built from source, so it is not byte for byte what ran\n{_INSTALL}"

_SUBJECT = """base64 -d > writer.pyz <<'END_OF_WRITER'
{writer}
END_OF_WRITER
SUBJECT=$(env/bin/python -I writer.pyz subject)"""

_SCRIPT = """#!/bin/sh
# Repeats settle's run {run} of {day} by hand.
#   {cell}
#   {verdict}
# It ran on base {base}, isolated, without network; here it is a plain process in a folder of its own.
# Needs uv and Python {python}. Your index, proxy and wheels go to uv by its variables, e.g. UV_FIND_LINKS=/my/wheels
{changed}
set -eu
cd "$(mktemp -d)"
echo "working in $PWD" >&2
cat > lock.txt <<'END_OF_LOCK'
{lock}
END_OF_LOCK
uv venv --quiet --python {python} env
{install} --require-hashes -r lock.txt
{sources}base64 -d > probes.pyz <<'END_OF_PROBES'
{bundle}
END_OF_PROBES
{subject}
cat > request.in <<'END_OF_REQUEST'
{request}
END_OF_REQUEST
cat > show.py <<'END_OF_SHOW'
{show}
END_OF_SHOW
sed "s|\\"SUBJECT\\"|\\"$(cd "$SUBJECT" && pwd)\\"|" request.in > request.json
env {variables} env/bin/python -I probes.pyz request.json events.jsonl > log.txt 2>&1 || echo "ended with $?" >&2
env/bin/python show.py events.jsonl
"""
