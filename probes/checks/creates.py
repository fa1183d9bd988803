"""Rungs 1 and 2 of a runtime that makes a model of its own out of a GGUF before anything else."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any, Protocol, cast

from probes.catalogue import check
from probes.checkpoint import BadFileError, read_config
from probes.events import Answer, failed, passed, skipped
from probes.faults import classify, without_paths

if TYPE_CHECKING:
    from pathlib import Path

    from probes.subject import Subject

    class Creating(Protocol):
        def gguf(self, folder: Path, *, synthetic: bool) -> Path: ...
        def attempt(self) -> Any: ...
        def create_from_own_files(self, folder: Path) -> list[str]: ...


_check = functools.partial(check, needs="text", after=("loads.gguf",))
_SURE = frozenset({"unknown-architecture", "needs-newer"})


def _creating(subject: Subject) -> Creating:
    return cast("Creating", subject.runtime)


@_check("loads.gguf", "the checkpoint brings a GGUF, or the converter makes one", after=())
def gguf(subject: Subject) -> Answer:
    try:
        subject.config_json = read_config(subject.folder)
    except BadFileError as error:
        return failed("bad-checkpoint", str(error))
    subject.config = None  # Ollama takes none
    # only a miniature of ours comes with texts that its tokenizer must bring back
    made = _creating(subject).gguf(subject.folder, synthetic=bool(subject.golden.get("texts")))
    return passed(f"{made.name}, {made.stat().st_size} bytes", brought=made.parent == subject.folder)


@_check("knows.accepts", "creating and loading a model does not fail for its architecture")
def accepts(subject: Subject) -> Answer:
    """Ask for the architecture in the only way there is: Ollama has no list of those that it knows."""
    subject.tokenizer = subject.runtime.tokenizer(subject.folder)
    tried = _creating(subject).attempt()
    if tried.error is None:
        return passed("created and loaded", said=tried.said)
    fault = classify(tried.error, "knows.accepts", subject.runtime_name, subject.runtime.phrases)
    told = without_paths(str(tried.error))
    if fault in _SURE:
        return failed(fault, told, at=tried.at)
    if fault == "load-error":  # tensors come after the architecture
        return passed(f"what fails is not the architecture: {told}", at=tried.at)
    return skipped(f"whether it knows the architecture does not show ({fault})")


@_check("loads.creates", "a model is created from the GGUF")
def creates(subject: Subject) -> Answer:
    tried = _creating(subject).attempt()
    if tried.at == "create":
        raise tried.error
    return passed("created", said=tried.said)


@_check("loads.runs", "the created model is taken into memory", after=("loads.creates",))
def runs(subject: Subject) -> Answer:
    tried = _creating(subject).attempt()
    if tried.error is not None:
        raise tried.error
    subject.model = subject.runtime.model(subject.folder, subject.config, subject.config_json, "")
    return passed("loaded", capabilities=cast("Any", subject.model).capabilities)


@_check(
    "loads.safetensors", "a model is created from the checkpoint itself; for information, it breaks nothing", last=True
)
def safetensors(subject: Subject) -> Answer:
    """Tell whether Ollama converts the checkpoint itself: one way more for its users, whose absence breaks nothing."""
    try:
        said = _creating(subject).create_from_own_files(subject.folder)
    except Exception as error:  # noqa: BLE001 -- whatever stands against it, the way over a GGUF is there
        fault = classify(error, "loads.safetensors", subject.runtime_name, subject.runtime.phrases)
        subject.facts["converts_safetensors"] = {"converts": False, "fault": fault}
        return skipped(f"not converted by Ollama itself: {without_paths(str(error))}")
    subject.facts["converts_safetensors"] = {"converts": True}
    return passed("created from the checkpoint itself", said=said)
