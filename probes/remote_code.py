"""Refuses the code of a model's folder in this process and its forks, whatever a runtime asks for.

The files themselves are never shown to a probe. This is the second wall: it turns a runtime that trusts them (as
converters of llama.cpp do) into one that does not, and a model that needs them into a failure with that name.
"""

from __future__ import annotations

import functools
import importlib.machinery
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from probes.faults import FaultError

_LOADER = "transformers.dynamic_module_utils"  # every other module takes the functions from here when it is imported
_DYNAMIC = "transformers_modules"  # the package that the loader puts a model's code into
_FILE_OF_CODE = "get_cached_module_file"
_REFUSED = ("get_class_from_dynamic_module", "get_class_in_module", _FILE_OF_CODE)
_OFFLINE = {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1", "HF_HUB_DISABLE_TELEMETRY": "1"}


class RemoteCodeError(FaultError, ValueError):
    """The model's own code was asked for; a ValueError, as transformers raises where it is not trusted."""

    def __init__(self, message: str) -> None:
        super().__init__("needs-remote-code", f"{message} (remote code is not run)")


class RemoteImportError(RemoteCodeError, ImportError):
    """The same of an import: runtimes ask in this way whether any such code was loaded."""


def refuse() -> None:
    """Refuse from now on; started programs inherit that nothing is fetched."""
    os.environ.update(_OFFLINE)
    if not any(isinstance(finder, _Refusal) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Refusal())
    if _LOADER in sys.modules:
        distrust(sys.modules[_LOADER])


class _Refusal:
    """Finds the loader of remote code and distrusts it once it is imported; finds no module that it has loaded."""

    def find_spec(self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None) -> Any:
        if name.partition(".")[0] == _DYNAMIC:
            raise RemoteImportError(f"{name} is code of a model's folder")
        if name != _LOADER:
            return None
        spec = importlib.machinery.PathFinder.find_spec(name, path, target)
        if spec is not None and spec.loader is not None:
            execute = spec.loader.exec_module
            spec.loader.exec_module = functools.partial(_executed, execute)  # type: ignore[method-assign]
        return spec


def _executed(execute: Any, module: ModuleType) -> None:
    execute(module)
    distrust(module)


def distrust(loader: Any) -> None:
    """Change the loader's functions: trust is never given, and no class is loaded from a file of the model."""
    plain = getattr(loader, "resolve_trust_remote_code", None)
    if plain is not None and not hasattr(plain, "__wrapped__"):

        @functools.wraps(plain)
        def resolve_trust_remote_code(_trust: Any = False, *arguments: Any, **named: Any) -> Any:
            named.pop("trust_remote_code", None)
            try:
                return plain(False, *arguments, **named)
            except ValueError as error:
                raise RemoteCodeError(str(error)) from error

        loader.resolve_trust_remote_code = resolve_trust_remote_code
    for name in _REFUSED:
        if hasattr(loader, name):
            setattr(loader, name, functools.partial(_refused, name))


def _refused(name: str, *arguments: Any, **named: Any) -> Any:
    if name == _FILE_OF_CODE:
        folder, file = ([*arguments, "", ""])[:2]
        folder, file = named.get("pretrained_model_name_or_path", folder), named.get("module_file", file)
        if Path(str(folder)).is_dir() and not Path(str(folder), str(file)).exists():
            # every model is asked for custom code of generation, and the answer of one that has none is this
            raise OSError(f"{folder} does not appear to have a file named {file}")
    raise RemoteCodeError(f"{name} is asked for code of the model")
