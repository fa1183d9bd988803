"""A runtime that trusts a model's own code is made to distrust it, and asking for it has a name of its own."""

from __future__ import annotations

import importlib.util
import types
from typing import TYPE_CHECKING, Any

import pytest

from probes.faults import classify
from probes.remote_code import RemoteCodeError, RemoteImportError, _Refusal, distrust

if TYPE_CHECKING:
    from pathlib import Path

# what transformers' own loader does, in short
LOADER = """
def resolve_trust_remote_code(trust_remote_code, model_name, has_local_code, has_remote_code, error_message=None):
    if has_remote_code and not has_local_code and not trust_remote_code:
        raise ValueError(f"{model_name}: pass the argument `trust_remote_code=True` to allow custom code to be run.")
    return trust_remote_code

def get_class_from_dynamic_module(reference, folder):
    raise SystemExit("remote code ran")

def get_cached_module_file(pretrained_model_name_or_path, module_file, **named):
    raise SystemExit("remote code was fetched")
"""


def loaded(tmp_path: Path) -> Any:
    """Import the loader as a runtime does, with the refusal in the way."""
    (tmp_path / "dynamic_module_utils.py").write_text(LOADER, encoding="utf-8")
    spec = _Refusal().find_spec("transformers.dynamic_module_utils", [str(tmp_path)])
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_trust_is_never_given(tmp_path: Path) -> None:
    module = loaded(tmp_path)
    assert module.resolve_trust_remote_code(True, "m", has_local_code=True, has_remote_code=True) is False
    assert module.resolve_trust_remote_code(trust_remote_code=True, model_name="m", has_local_code=True,
                                            has_remote_code=True) is False  # fmt: skip
    with pytest.raises(RemoteCodeError, match="remote code is not run") as raised:
        module.resolve_trust_remote_code(True, "m", has_local_code=False, has_remote_code=True)
    for check in ("loads.converts", "loads.model", "speaks.tokenizer"):
        assert classify(raised.value, check, "xllamacpp") == "needs-remote-code"


def test_no_class_is_loaded_from_a_models_file(tmp_path: Path) -> None:
    with pytest.raises(RemoteCodeError):
        loaded(tmp_path).get_class_from_dynamic_module("a.B", "folder")


def test_a_model_without_code_is_told_so_as_ever(tmp_path: Path) -> None:
    """Defect: transformers 4.57 asks every model for its code of generation, and our refusal ended them all."""
    module, folder = loaded(tmp_path), tmp_path / "model"
    folder.mkdir()
    with pytest.raises(OSError, match="does not appear to have a file named"):
        module.get_cached_module_file(str(folder), module_file="custom_generate/generate.py", token=None)
    (folder / "generate.py").write_text("raise SystemExit", encoding="utf-8")
    for arguments, named in (((str(folder), "generate.py"), {}), (("acme/model",), {"module_file": "x.py"}), ((), {})):
        with pytest.raises(RemoteCodeError):
            module.get_cached_module_file(*arguments, **named)


def test_a_loader_is_distrusted_once(tmp_path: Path) -> None:
    module = loaded(tmp_path)
    before = module.resolve_trust_remote_code
    distrust(module)
    assert module.resolve_trust_remote_code is before


def test_the_package_of_dynamic_modules_cannot_be_imported() -> None:
    for name in ("transformers_modules", "transformers_modules.made.modeling_made"):
        with pytest.raises(ImportError) as raised:
            _Refusal().find_spec(name)
        assert isinstance(raised.value, RemoteImportError)
        assert classify(raised.value, "loads.model", "vllm") == "needs-remote-code"


def test_everything_else_is_imported_as_ever() -> None:
    assert _Refusal().find_spec("transformers.models") is None
    bare = types.ModuleType("another release")
    distrust(bare)
    assert not hasattr(bare, "resolve_trust_remote_code")
