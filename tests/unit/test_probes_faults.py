"""Exceptions become faults with the right blame, and their frames name no place on this machine."""

from __future__ import annotations

import errno
import json
from pathlib import Path

import pytest

from probes import faults
from probes.catalogue import checks
from probes.checkpoint import BadFileError
from probes.wire import FAULTS


def raised(error: Exception, cause: Exception | None = None) -> Exception:
    """Return the error with the traceback that it has once it was raised."""

    def throw() -> None:
        raise error from cause

    with pytest.raises(type(error)) as caught:
        throw()
    return caught.value


CASES = [
    (ModuleNotFoundError("No module named 'causal_conv1d'", name="causal_conv1d"), "loads.model", "missing-dependency"),
    (ModuleNotFoundError("No module named 'transformers.x'", name="transformers.x"), "installs.imports",
     "import-error"),
    (ImportError("cannot import name 'f' from 'torch' (/a/b/torch/__init__.py)", name="torch"), "installs.imports",
     "dependency-import-error"),
    (ImportError("libcudart.so.12: cannot open shared object file"), "installs.imports", "dependency-import-error"),
    (ImportError("AfmoeX requires the timm library but it was not found in your environment."), "loads.model",
     "missing-dependency"),
    (ImportError("something of its own"), "installs.imports", "import-error"),
    (ValueError("model type `x` but Transformers does not recognize this architecture"), "knows.config",
     "unknown-architecture"),
    (ValueError("Loading this model requires you to execute the modeling file"), "loads.model", "needs-remote-code"),
    (OSError("does not appear to have a file named model.safetensors"), "loads.model", "pickle-weights"),
    (AssertionError("Torch not compiled with CUDA enabled"), "generates.forward", "unsupported-on-platform"),
    (RuntimeError('"addmm_impl_cpu_" not implemented for \'CPU\''), "generates.forward", "unsupported-on-platform"),
    (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried 99 bytes"), "loads.model", "infra-memory"),
    (MemoryError(), "generates.cache", "infra-memory"),
    (OSError(errno.ENOSPC, "No space left on device"), "loads.reload", "infra-disk"),
    (RuntimeError("No space left on device (os error 28)"), "loads.reload", "infra-disk"),
    (RuntimeError("I/O error: Os { kind: StorageFull } (os error 28)"), "loads.reload", "infra-disk"),
    (RuntimeError("os error 5"), "loads.model", "infra-disk"),
    (OSError(errno.EIO, "bad sector"), "loads.model", "infra-disk"),
    (RuntimeError("failed to spawn thread (os error 11)"), "speaks.tokenizer", "infra-memory"),
    (RuntimeError("os error 24"), "speaks.tokenizer", "infra-memory"),
    (RuntimeError("can't start new thread"), "generates.forward", "infra-memory"),
    (RuntimeError("libgomp: Resource temporarily unavailable"), "generates.forward", "infra-memory"),
    (BlockingIOError(errno.EAGAIN, "again"), "loads.model", "infra-memory"),
    (OSError(errno.EMFILE, "files"), "loads.model", "infra-memory"),
    (OSError(errno.ENFILE, "files"), "loads.model", "infra-memory"),
    (RuntimeError("os error 2"), "loads.model", "load-error"),
    (PermissionError(errno.EACCES, "Permission denied"), "loads.model", "infra-recipe"),
    (KeyError("getpwuid(): uid not found: 1000"), "installs.imports", "infra-recipe"),
    (OSError(errno.EROFS, "Read-only file system"), "speaks.tokenizer", "infra-recipe"),
    (RuntimeError("size mismatch for model.embed.weight"), "loads.model", "load-error"),
    (KeyError("rope_theta"), "generates.forward", "unclassified"),
    (BadFileError("config.json is not JSON"), "generates.stop", "bad-checkpoint"),
]  # fmt: skip


@pytest.mark.parametrize(("error", "check", "fault"), CASES, ids=lambda value: str(value)[:40])
def test_what_an_exception_means(error: Exception, check: str, fault: str) -> None:
    assert faults.classify(raised(error), check, "transformers") == fault
    assert fault in FAULTS


def test_a_cause_is_looked_at_too() -> None:
    error = raised(RuntimeError("Failed to import"), ModuleNotFoundError("No module named 'PIL'", name="PIL"))
    assert faults.classify(error, "loads.model", "transformers") == "missing-dependency"


def test_our_own_line_is_never_the_runtimes_fault() -> None:
    with pytest.raises(AttributeError) as caught:
        faults.frames(None)  # type: ignore[arg-type]
    assert faults.classify(caught.value, "generates.forward", "transformers") == "infra-recipe"


def test_frames_and_messages_name_no_place_of_the_host() -> None:
    answer = faults.failure(raised(OSError("cannot read /home/someone/models/x/config.json")), "loads.model", "t")
    assert answer.message == "OSError: cannot read config.json"
    assert answer.evidence["frames"][-1]["function"] == "throw"
    assert str(Path.cwd()) not in json.dumps(answer.evidence)


def test_the_rules_name_only_what_a_probe_may_claim() -> None:
    by_rules = {fault for fault, _ in faults._PHRASES} | {check.fault for check in checks().values()}
    assert by_rules <= FAULTS
