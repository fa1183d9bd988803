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
from monitor.wire.bundle import build_bundle, suite_of, used
from monitor.wire.events import parse_event
from probes import wire
from probes.checks import sequence
from tests.specimens import checkpoints

if TYPE_CHECKING:
    from collections.abc import Iterable

SOURCES = sorted(Path(probes.__file__).parent.rglob("*.py"))
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


def test_a_suite_is_of_what_probes_its_runtime_and_of_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    before = suite_of("transformers")
    other = wire.Probing("probes.runtimes.other:Other", ("other",), ("knows.architecture",))
    monkeypatch.setitem(wire.RUNTIMES, "other", other)
    suite_of.cache_clear()
    assert suite_of("transformers") == before != suite_of("other")
    changed = wire.RUNTIMES["transformers"]._replace(checks=("knows.architecture",))
    monkeypatch.setitem(wire.RUNTIMES, "transformers", changed)
    suite_of.cache_clear()
    assert suite_of("transformers") != before
    suite_of.cache_clear()


def file_of(module: str) -> Path:
    place = Path(probes.__file__).parent.joinpath(*module.split(".")[1:])
    return place / "__init__.py" if place.is_dir() else place.with_suffix(".py")


def imported_by(module: str) -> set[str]:
    """Return the modules of ours that one imports, wherever in it it does."""
    tree = ast.parse(file_of(module).read_text(encoding="utf-8"))
    typing = [node for node in ast.walk(tree) if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test)]
    unused = {id(inner) for node in typing for inner in ast.walk(node)}
    named = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and id(node) not in unused]
    found = {node.module or "" for node in named}
    found |= {f"{node.module}.{alias.name}" for node in named for alias in node.names}
    return {name for name in found if name.startswith("probes.") and file_of(name).is_file()}


@pytest.mark.parametrize("runtime", wire.RUNTIMES)
def test_everything_that_a_runtime_is_probed_with_is_in_its_suite(runtime: str) -> None:
    own = wire.RUNTIMES[runtime]
    wanted = [own.adapter.partition(":")[0], *(check.ask.__module__ for check in sequence(runtime))]
    for module in wanted:  # grows while it is walked
        wanted += [name for name in imported_by(module) if name not in wanted and name != "probes.checks"]
    files = [name.replace(".", "/") + ".py" for name in wanted if name not in {"probes.runtimes", "probes.wire"}]
    assert [file for file in files if not used(file, own)] == []


def test_the_same_files_give_the_same_bytes(tmp_path: Path) -> None:
    first, second = build_bundle(tmp_path / "a" / "probes.pyz"), build_bundle(tmp_path / "b.pyz")
    assert first == second == hashlib.sha256((tmp_path / "b.pyz").read_bytes()).hexdigest()
    with zipfile.ZipFile(tmp_path / "b.pyz") as bundle:
        names = bundle.namelist()
        assert names == sorted(names)
        assert {entry.date_time for entry in bundle.infolist()} == {(1980, 1, 1, 0, 0, 0)}
        assert {"__main__.py", "probes/wire.py", "probes/checks/knows.py"} <= set(names)
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
