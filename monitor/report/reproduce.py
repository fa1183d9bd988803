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
from monitor.domain import Cell, folder_named
from monitor.errors import UsageError
from monitor.miniatures.manifest import read_miniature
from monitor.miniatures.writer import digest_of
from monitor.report.lock_file import built_here, index_lines
from monitor.store.renaming import names_over_time
from monitor.subjects.catalogue import catalogue_of
from monitor.subjects.shown_files import DATA
from monitor.wire.bundle import build_bundle, suite_of

if TYPE_CHECKING:
    from importlib.resources.abc import Traversable

    from monitor.store import EnvironmentRecord, Reader
    from monitor.verdicts import RunDetail

# the modules that write a miniature need only Python, so they travel in the script
_WRITER = (
    "__init__.py",
    "miniatures/__init__.py",
    "miniatures/flaws.py",
    "miniatures/manifest.py",
    "miniatures/processors.py",
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
    """Return the script. Raises UsageError for a run without an environment or without its request."""
    if detail.session is None:
        raise UsageError(
            f"run {detail.id} did not install: {detail.resolution['fault']}",
            hint=f"`settle show {detail.id} --log` prints the installer's log",
        )
    environment = store.environment(detail.row["environment"])
    request = store.request(detail.session["request_digest"])
    if environment is None or request is None:
        raise UsageError(f"the request of run {detail.id} is no longer stored", hint="probe it again")
    subject_id = Cell.parse(detail.row["cell_id"]).subject_id
    (subject,) = [subject for subject in request["subjects"] if subject["id"] in names_over_time(subject_id)]
    folder = folder_named(subject_id)
    wheels = store.path.parent / "install" / "wheels"
    lock, sources = _without_local_wheels(environment, wheels)
    solo_request = request | {"subjects": [subject | {"path": "SUBJECT"}], "isolation": "solo", "private": False}
    changed = (
        ""
        if suite_of(request["runtime"]) == detail.row["suite"]
        else "# The probes have changed since that run; this script has today's.\n"
    )
    digest = str(detail.row["subject_digest"])
    miniature = None if folder else catalogue_of(store.path.parent, store).folder_of(subject_id, digest)
    if miniature is not None and digest_of(read_miniature(miniature)) != digest:
        changed += "# The miniature has changed since that run; this script writes today's.\n"
    return _SCRIPT.format(
        run=detail.id,
        cell=_comment(detail.row["cell_id"]),
        verdict=_comment(f"{detail.verdict.verdict}: {detail.verdict.reason}"),
        day=detail.row["day"],
        base=environment.base_digest[:12],
        changed=changed,
        python=environment.platform.python,
        install=_INSTALL,
        lock=lock,
        builds=_builds(environment, wheels),
        sources="".join(f"{_BUILD} --no-binary {name} {name}=={version}\n" for name, version in sources),
        request=json.dumps(solo_request, ensure_ascii=True),
        bundle=_base64(_bundle()),
        subject=_FOLDER.format(folder=shlex.quote(folder), data=_DATA)
        if miniature is None
        else _SUBJECT.format(writer=_base64(_writer(miniature))),
        show=_SHOW.strip("\n"),
        variables=_variables(request["runtime"]),
    )


def _without_local_wheels(environment: EnvironmentRecord, wheels: Path) -> tuple[str, list[tuple[str, str]]]:
    """Return the lock without packages that were built from source here, and those packages with their versions.

    Builds of torch are left out, too: they come from an index of their own.
    """
    lock = parse_lock(environment.lock, base_digest=environment.base_digest)
    built = built_here(lock, wheels)
    pins = [pin for pin in lock.packages if pin not in built and not index_lines([pin])]
    return "\n".join(map(str, pins)), [(pin.name, pin.version) for pin in built]


def _builds(environment: EnvironmentRecord, wheels: Path) -> str:
    """Return the part of the script that installs builds of torch; "" where the lock has none.

    The other packages are not asked of that index: where it does not answer, pip waits ten seconds for each.
    """
    lock = parse_lock(environment.lock, base_digest=environment.base_digest)
    pins = [pin for pin in lock.packages if index_lines([pin]) and pin not in built_here(lock, wheels)]
    return _BUILDS.format(pins="\n".join([*index_lines(pins), *map(str, pins)]), install=_INSTALL) if pins else ""


def _bundle() -> bytes:
    with TemporaryDirectory() as folder:
        target = Path(folder) / "probes.pyz"
        build_bundle(target)
        return target.read_bytes()


def _writer(miniature: Traversable) -> bytes:
    slug = miniature.name
    package = files("monitor")
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as bundle:
        for name in _WRITER:
            bundle.writestr(f"monitor/{name}", (package / name).read_bytes())
        for name, data in _tree(miniature, f"monitor/data/miniatures/{slug}"):
            bundle.writestr(name, data)
        for name, data in _tree(package / "data" / "templates", "monitor/data/templates"):
            bundle.writestr(name, data)
        bundle.writestr(
            "__main__.py",
            "import sys\nfrom pathlib import Path\nfrom monitor.miniatures.manifest import load_miniature\n"
            "from monitor.miniatures.writer import write_miniature\n"
            f"print(write_miniature(load_miniature({slug!r}), Path(sys.argv[1])))\n",
        )
    return buffer.getvalue()


def _tree(folder: Traversable, prefix: str) -> list[tuple[str, bytes]]:
    return [(f"{prefix}/{entry.name}", entry.read_bytes()) for entry in folder.iterdir() if entry.is_file()]


def _base64(data: bytes) -> str:
    return base64.encodebytes(data).decode("ascii").rstrip("\n")


def _variables(runtime: str) -> str:
    from containers.recipes import RECIPES

    pairs: dict[str, Any] = dict(RECIPES[runtime].environment)
    return " ".join(f"{name}={shlex.quote(str(value))}" for name, value in pairs.items())


def _comment(text: str) -> str:
    return " ".join(text.split())


_INSTALL = "env/bin/python -m pip install --quiet --disable-pip-version-check --no-deps"
_BUILD = f"# built from source, so its files may differ from those of the run\n{_INSTALL}"

_BUILDS = """cat > builds.txt <<'END_OF_BUILDS'
{pins}
END_OF_BUILDS
{install} --require-hashes -r builds.txt
"""

_SUBJECT = """base64 -d > writer.pyz <<'END_OF_WRITER'
{writer}
END_OF_WRITER
SUBJECT=$(env/bin/python -I writer.pyz subject)"""

# a model's own code is not run here either: the probe sees its data
_DATA = " -o ".join(f"-name '{pattern}'" for pattern in DATA)
_FOLDER = """FOLDER={folder} SUBJECT=subject
mkdir "$SUBJECT"
find -L "$FOLDER" -mindepth 1 -name '.?*' -prune -o -type f \\( {data} \\) -print | while read -r file; do
    name=$SUBJECT/${{file#"$FOLDER"/}}
    mkdir -p "$(dirname "$name")"
    ln -s "$file" "$name"
done"""

_SCRIPT = """#!/bin/sh
# Repeats Settle's run {run} of {day} by hand.
#   {cell}
#   {verdict}
# The run was isolated, without network, on base {base}; this script starts a plain process in a new folder.
# It needs Python {python}, by that name or as PYTHON=...; index, proxy and wheels are those of your pip.
{changed}
set -eu
cd "$(mktemp -d)"
echo "working in $PWD" >&2
cat > lock.txt <<'END_OF_LOCK'
{lock}
END_OF_LOCK
"${{PYTHON:-python{python}}}" -m venv env
{install} --require-hashes -r lock.txt
{builds}{sources}base64 -d > probes.pyz <<'END_OF_PROBES'
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
