"""Source text that waits for one import and then does its damage: what every faulty package is made of."""

from __future__ import annotations

# waits for an import, then runs `damage(module)`; `before` damages instead of importing
HOOK = """
import importlib.machinery, sys

class _Finder:
    def find_spec(self, name, path=None, target=None):
        if name != TARGET:
            return None
        sys.meta_path.remove(self)
        if BEFORE:
            damage(None)
        spec = importlib.machinery.PathFinder.find_spec(name, path)
        run = spec.loader.exec_module
        def exec_module(module):
            run(module)
            damage(module)
        spec.loader.exec_module = exec_module
        return spec

sys.meta_path.insert(0, _Finder())
"""


def on_import(body: str) -> str:
    return f"TARGET, BEFORE = 'transformers', True\ndef damage(module):\n{indent(body)}\n{HOOK}"


def after(module: str, body: str) -> str:
    return f"TARGET, BEFORE = {module!r}, False\ndef damage(module):\n{indent(body)}\n{HOOK}"


def indent(body: str) -> str:
    return "\n".join(f"    {line}" for line in body.strip().splitlines())
