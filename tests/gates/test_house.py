"""The rooms of the code: few modules at the top, no circle, one direction, and no test that patches a module."""

from __future__ import annotations

import ast
from collections import defaultdict
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
OURS = ("monitor", "containers", "probes")


@cache
def parsed(file: Path) -> ast.Module:
    return ast.parse(file.read_text(encoding="utf-8"))


def sources(*folders: str) -> Iterator[tuple[Path, ast.Module]]:
    for folder in folders:
        for file in sorted((ROOT / folder).rglob("*.py")):
            if "packages" not in file.parts:  # packages that a specimen installs are no code of ours
                yield file.relative_to(ROOT), parsed(file)


def imported(tree: ast.Module) -> Iterator[tuple[str, str]]:
    """Yield (module, name) for every import, those under TYPE_CHECKING and inside functions too; name may be empty."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield from ((node.module, alias.name) for alias in node.names)
        elif isinstance(node, ast.Import):
            yield from ((alias.name, "") for alias in node.names)


def room(module: str) -> str:
    """Return the room of a module: its package below monitor, the module itself at the top, or the other root."""
    top, *rest = module.split(".")
    return rest[0] if top == "monitor" and rest else top


def rooms() -> dict[str, set[str]]:
    """Return, by room, the rooms that it imports."""
    graph: dict[str, set[str]] = defaultdict(set)
    for file, tree in sources(*OURS):
        here = room(".".join(file.with_suffix("").parts))
        for module, name in imported(tree):
            if module.partition(".")[0] in OURS:
                there = room(f"{module}.{name}" if module == "monitor" else module)
                graph[here] |= {there} - {here}
    return graph


def test_no_circle_runs_between_rooms() -> None:
    graph = rooms()
    assert len(graph) > 15, "the imports were not found"
    assert list(TopologicalSorter(graph).static_order())


def test_a_circle_would_be_seen() -> None:
    with pytest.raises(CycleError):
        list(TopologicalSorter({**rooms(), "domain": {"cli"}}).static_order())


def test_at_most_six_modules_lie_at_the_top() -> None:
    assert len(list((ROOT / "monitor").glob("*.py"))) <= 6


def test_the_store_calls_no_judge() -> None:
    """Types of the judge may stand in rows and signatures; a function of it would be a judgement."""
    called = [
        f"{file}: {name}"
        for file, tree in sources("monitor/store")
        for module, name in imported(tree)
        if module.startswith(("monitor.judge", "monitor.verdicts")) and not name[:1].isupper()
    ]
    assert not called


def test_only_the_runner_and_the_command_line_know_the_context() -> None:
    """The refresh of the catalogue is a command line, too."""
    users = {
        file
        for file, tree in sources(*OURS, "tools")
        for module, name in imported(tree)
        if name == "RunContext" or (module == "monitor.runner.context" and file.parts[1] not in {"runner", "cli"})
    }
    assert users
    assert not {
        file
        for file in users
        if file.parts[:2] not in {("monitor", "runner"), ("monitor", "cli"), ("tools", "refresh.py")}
    }


def patched(tree: ast.Module) -> Iterator[str]:
    """Yield every ``setattr`` whose first argument is an imported module, or names something in one of ours."""
    modules = {
        alias.asname or alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names
    }
    modules |= {
        alias.asname or alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.module
        for alias in node.names
        if _is_module(f"{node.module}.{alias.name}")
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "setattr":
            first = node.args[0] if node.args else None
            if (isinstance(first, ast.Name) and first.id in modules) or (
                isinstance(first, ast.Constant) and str(first.value).startswith(OURS)
            ):
                yield ast.unparse(node)


def _is_module(name: str) -> bool:
    place = ROOT.joinpath(*name.split("."))
    return place.is_dir() or place.with_suffix(".py").is_file()


def test_no_test_patches_a_module() -> None:
    assert not [f"{file}: {call}" for file, tree in sources("tests") for call in patched(tree)]


def test_a_patched_module_would_be_seen() -> None:
    code = "from monitor.runner import cycle\ndef test(monkeypatch): monkeypatch.setattr(cycle, 'install', None)"
    assert list(patched(ast.parse(code)))
    assert list(patched(ast.parse("monkeypatch.setattr('monitor.runner.cycle.install', None)")))
    assert list(patched(ast.parse("import shutil\nmonkeypatch.setattr(shutil, 'disk_usage', None)")))
