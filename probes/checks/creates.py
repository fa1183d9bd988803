"""Rungs 1 and 2 of a runtime that makes a model of its own out of a GGUF before anything else."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, cast

from probes.catalogue import check
from probes.checkpoint import read_config
from probes.events import Answer, failed, passed, skipped
from probes.faults import classify, without_paths
from probes.subject import Subject

if TYPE_CHECKING:
    from probes.runtimes.ollama import Ollama, ServedModel

_check = functools.partial(check, needs="text", after=("loads.gguf",))
_SURE = frozenset({"unknown-architecture", "needs-newer"})


def _creating(subject: Subject) -> Ollama:
    return cast("Ollama", subject.runtime)


@_check("loads.gguf", after=())
def gguf(subject: Subject) -> Answer:
    """The repository has a GGUF, or the converter makes one."""
    subject.config_json = read_config(subject.folder)
    subject.config = None  # Ollama takes none
    # only a miniature comes with texts that its tokenizer must give back
    made = _creating(subject).gguf(subject.folder, synthetic=bool(subject.golden.get("texts")))
    return passed(f"{made.name}, {made.stat().st_size} bytes", brought=made.parent == subject.folder)


@_check("knows.accepts")
def accepts(subject: Subject) -> Answer:
    """A model is created and loaded without an error about its architecture.

    Create and load a model: Ollama has no list of architectures to ask.
    """
    subject.tokenizer = subject.runtime.tokenizer(subject.folder)
    tried = _creating(subject).attempt
    if tried.error is None:
        return passed("created and loaded", statuses=tried.statuses)
    fault = classify(tried.error, "knows.accepts", subject.runtime_name, subject.runtime.phrases)
    message = without_paths(str(tried.error))
    if fault in _SURE:
        return failed(fault, message, at=tried.at)
    if fault == "load-error":  # tensors come after the architecture
        return passed(f"the failure is not the architecture: {message}", at=tried.at)
    return skipped(f"the failure does not show whether the architecture is known ({fault})")


@_check("loads.creates")
def creates(subject: Subject) -> Answer:
    """A model is created from the GGUF."""
    tried = _creating(subject).attempt
    if tried.error is not None and tried.at == "create":
        raise tried.error
    return passed("created", statuses=tried.statuses)


@_check("loads.runs", after=("loads.creates",))
def runs(subject: Subject) -> Answer:
    """The created model is loaded into memory."""
    tried = _creating(subject).attempt
    if tried.error is not None:
        raise tried.error
    subject.model = subject.runtime.model(subject.folder, subject.config, subject.config_json, "")
    return passed("loaded", capabilities=cast("ServedModel", subject.model).capabilities)


@_check("loads.safetensors", last=True)
def safetensors(subject: Subject) -> Answer:
    """A model is created from the checkpoint itself (for information: it never fails).

    Record whether Ollama converts the checkpoint itself; a GGUF serves its users as well, so nothing fails.
    """
    try:
        statuses = _creating(subject).create_from_safetensors(subject.folder)
    except Exception as error:  # noqa: BLE001 -- the way over a GGUF is there
        fault = classify(error, "loads.safetensors", subject.runtime_name, subject.runtime.phrases)
        subject.facts["converts_safetensors"] = {"converts": False, "fault": fault}
        return skipped(f"not converted by Ollama itself: {without_paths(str(error))}")
    subject.facts["converts_safetensors"] = {"converts": True}
    return passed("created from the checkpoint itself", statuses=statuses)
