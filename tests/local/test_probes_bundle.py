"""The bundle is the same bytes everywhere, runs isolated, and its code suits every Python that a runtime supports."""

from __future__ import annotations

import ast
import hashlib
import json
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import probes
from monitor.domain import Runtime
from monitor.wire.bundle import build_bundle, used
from monitor.wire.events import parse_event
from probes import catalogue
from tests.specimens import checkpoints

if TYPE_CHECKING:
    from collections.abc import Iterable

ROOT = Path(probes.__file__).parents[1]
SOURCES = sorted(Path(probes.__file__).parent.rglob("*.py"))
FILES = {str(source.relative_to(ROOT)): source.read_bytes() for source in SOURCES}
BY_NAME = {"vllm_forcing.py": {"vllm"}}  # what a runtime imports itself, told by name, and the packages it may name


def run(folder: Path, **changes: Any) -> tuple[int, list[dict[str, Any]], str]:
    """Run the real bundle in this environment, which has no runtime, as a container would."""
    build_bundle(folder / "probes.pyz")
    request = {"wire": 1, "runtime": "transformers", "version": "0", "isolation": "fork", "seed": 0, "limit_s": 10,
               "memory_bytes": 1 << 30, "subjects": [], **changes}  # fmt: skip
    (folder / "request.json").write_text(json.dumps(request), encoding="utf-8")
    argv = [sys.executable, "-I", "-W", "error", "probes.pyz", "request.json", "events.jsonl"]
    ended = subprocess.run(argv, cwd=folder, capture_output=True, text=True, check=False, timeout=60)
    events = folder / "events.jsonl"
    written = events.read_bytes().splitlines() if events.exists() else []
    for line in written:
        parse_event(line)
    return ended.returncode, [json.loads(line) for line in written], ended.stderr


@pytest.mark.parametrize("runtime", Runtime)
def test_a_suite_is_of_what_its_runtime_imports(runtime: Runtime) -> None:
    """Compare with what Python itself imports for it: the whole of it, but the checks that it is not asked."""
    code = "import json, sys; from probes import catalogue, session; catalogue.sequence(sys.argv[1]);"
    code += "print(json.dumps([name for name in sys.modules if name.startswith('probes.')]))"
    argv = [sys.executable, "-c", code, runtime]
    asked = subprocess.run(argv, capture_output=True, text=True, check=True, cwd=ROOT)
    others = {f"probes.checks.{module}" for module in catalogue.MODULES} - catalogue.modules_of(runtime)
    only_of_others = {"probes.served", "probes.effects", "probes.keys"}  # which those import in their turn
    imported = {file_of(name) for name in {*json.loads(asked.stdout)} - others - only_of_others}
    digested = used(runtime, FILES)
    assert imported <= digested
    assert not digested & {file_of(name) for name in others}


def test_a_suite_has_no_adapter_but_its_runtimes() -> None:
    adapters = {runtime: file_of(catalogue.adapter_module(runtime)) for runtime in Runtime}
    wanted = {runtime: {adapters[runtime]} for runtime in Runtime}
    wanted[Runtime.PEFT].add(adapters[Runtime.TRANSFORMERS])  # a class of it is the base of peft's
    assert {runtime: set(adapters.values()) & used(runtime, FILES) for runtime in Runtime} == wanted
    assert "probes/runtimes/vllm_forcing.py" in used("vllm", FILES)  # named in a string, and imported by vLLM


def file_of(module: str) -> str:
    place = ROOT.joinpath(*module.split("."))
    return str((place / "__init__.py" if place.is_dir() else place.with_suffix(".py")).relative_to(ROOT))


def test_the_same_files_give_the_same_bytes(tmp_path: Path) -> None:
    first, second = build_bundle(tmp_path / "a" / "probes.pyz"), build_bundle(tmp_path / "b.pyz")
    assert first == second == hashlib.sha256((tmp_path / "b.pyz").read_bytes()).hexdigest()
    with zipfile.ZipFile(tmp_path / "b.pyz") as bundle:
        names = bundle.namelist()
        assert names == sorted(names)
        assert {entry.date_time for entry in bundle.infolist()} == {(1980, 1, 1, 0, 0, 0)}
        assert {"__main__.py", "probes/wire.py", "probes/checks/loads.py"} <= set(names)
        assert not {name for name in names if "derive" in name or "__pycache__" in name}


def test_a_damaged_bundle_is_written_again(tmp_path: Path) -> None:
    digest = build_bundle(tmp_path / "probes.pyz")
    (tmp_path / "probes.pyz").write_bytes(b"half")
    assert build_bundle(tmp_path / "probes.pyz") == digest
    assert hashlib.sha256((tmp_path / "probes.pyz").read_bytes()).hexdigest() == digest
    assert [path.name for path in tmp_path.iterdir()] == ["probes.pyz"]


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.name)
def test_the_syntax_is_that_of_python_3_9(source: Path) -> None:
    ast.parse(source.read_text(encoding="utf-8"), feature_version=(3, 9))


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.name)
def test_only_the_standard_library_is_imported_early(source: Path) -> None:
    """A runtime's own packages count as the fault they are only where a check asks for them."""
    allowed = {*sys.stdlib_module_names, "probes", *BY_NAME.get(source.name, ())}
    assert {name.split(".")[0] for name in named_in(parsed(source).body)} <= allowed


@pytest.mark.parametrize("by_name", BY_NAME)
def test_what_a_runtime_imports_by_name_is_imported_by_nothing_of_ours(by_name: str) -> None:
    module = by_name.removesuffix(".py")
    importing = [one.name for one in SOURCES if any(name.endswith(module) for name in named_in(ast.walk(parsed(one))))]
    assert importing == []
    assert any(f".{module}:" in one.read_text(encoding="utf-8") for one in SOURCES)  # and somebody tells its name


def parsed(source: Path) -> ast.Module:
    return ast.parse(source.read_text(encoding="utf-8"))


def named_in(nodes: Iterable[ast.AST]) -> set[str]:
    """Return the modules that the imports among these nodes name, and what is taken out of them."""
    nodes = list(nodes)
    named = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    froms = [node for node in nodes if isinstance(node, ast.ImportFrom)]
    return named | {f"{node.module}.{alias.name}" for node in froms for alias in node.names}


def test_a_missing_dependency_of_the_runtime_is_told_as_one(tmp_path: Path) -> None:
    good = checkpoints.bare(tmp_path / "good")
    code, events, _ = run(tmp_path, subjects=[{"id": "m", "path": str(good)}])
    assert code == 0
    assert [event["event"] for event in events] == ["session", "started", "finished", "done"]
    assert events[0]["suite"] == hashlib.sha256((tmp_path / "probes.pyz").read_bytes()).hexdigest()
    assert (events[2]["subject"], events[2]["check"], events[2]["fault"]) == (
        None,
        "installs.imports",
        "missing-dependency",
    )


def test_another_wire_is_refused(tmp_path: Path) -> None:
    code, events, said = run(tmp_path, wire=99)
    assert (code, events) == (2, [])
    assert "wire 99" in said
