"""The checks, each with those that must have passed before it can say anything, and each runtime's own in order."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from probes.checks import asks, generates, knows, loads, matches, serves, speaks, trains
from probes.wire import RUNTIMES

if TYPE_CHECKING:
    from collections.abc import Callable

    from probes.events import Answer
    from probes.subject import Subject


class Check(NamedTuple):
    name: str
    ask: Callable[[Subject], Answer]
    after: tuple[str, ...]


_KNOWN = ("knows.architecture",)
_LOADED = (*_KNOWN, "loads.model")
_FORWARD = (*_LOADED, "generates.forward")
_WHOLE = (*_LOADED, "loads.tensors")  # two models with values of their own in a tensor cannot be compared
_CONVERTED = (*_KNOWN, "loads.converts")
_SERVED = (*_LOADED, "serves.ready")
_TOKENIZER = (*_KNOWN, "speaks.tokenizer")
_CREATED = ("loads.gguf", "loads.creates")
_RUNS = (*_CREATED, "loads.runs")

_ALL = (
    Check("knows.architecture", knows.architecture, ()),
    Check("knows.config", knows.config, (*_KNOWN, *_CREATED)),
    Check("knows.accepts", asks.accepts, ("loads.gguf",)),
    Check("loads.converts", loads.converts, _KNOWN),
    Check("loads.metadata", loads.metadata, _CONVERTED),
    Check("loads.model", loads.model, _CONVERTED),
    Check("loads.tensors", loads.tensors, _LOADED),
    Check("loads.parts", loads.parts, _LOADED),
    Check("loads.reload", loads.reload, _LOADED),
    Check("loads.quantises", loads.quantises, _FORWARD),
    Check("loads.gguf", asks.gguf, ()),
    Check("loads.creates", asks.creates, ("loads.gguf",)),
    Check("loads.runs", asks.runs, _CREATED),
    Check("loads.safetensors", asks.safetensors, ("loads.gguf",)),
    Check("generates.forward", generates.forward, _LOADED),
    Check("generates.greedy", generates.greedy, _FORWARD),
    Check("generates.cache", generates.cache, _FORWARD),
    Check("generates.batch", generates.batch, _FORWARD),
    Check("generates.attention", generates.attention, _FORWARD),
    Check("generates.stop", generates.stop, _FORWARD),
    Check("generates.text", asks.text, _RUNS),
    Check("generates.repeats", asks.repeats, _RUNS),
    Check("generates.logprobs", asks.logprobs, _RUNS),
    Check("generates.stops", asks.stops, _RUNS),
    Check("speaks.tokenizer", speaks.tokenizer, _KNOWN),
    Check("speaks.roundtrip", speaks.roundtrip, _TOKENIZER),
    Check("speaks.template", speaks.template, (*_TOKENIZER, *_RUNS)),
    Check("speaks.chats", asks.chats, _RUNS),
    Check("speaks.streams", asks.streams, (*_RUNS, "speaks.chats")),
    Check("speaks.tools", asks.tools, _RUNS),
    Check("speaks.thinking", asks.thinking, _RUNS),
    Check("matches.trace", matches.trace, _FORWARD),
    Check("matches.logprobs", matches.logprobs, _FORWARD),
    Check("serves.format", asks.formats, (*_RUNS, "speaks.chats")),
    Check("serves.embeds", asks.embeds, _RUNS),
    Check("serves.ready", serves.ready, (*_LOADED, *_RUNS)),
    Check("serves.completes", serves.completes, _SERVED),
    Check("serves.streams", serves.streams, _SERVED),
    Check("serves.limits", serves.limits, _SERVED),
    Check("serves.stop", serves.stop, _SERVED),
    Check("serves.seed", serves.seed, _SERVED),
    Check("serves.bias", serves.bias, _SERVED),
    Check("serves.penalties", serves.penalties, _SERVED),
    Check("serves.schema", serves.schema, _SERVED),
    Check("serves.alike", serves.alike, _SERVED),
    Check("trains.gradients", trains.gradients, _WHOLE),
    Check("trains.checkpointing", trains.checkpointing, (*_WHOLE, "trains.gradients")),
    Check("trains.overfits", trains.overfits, _WHOLE),
    Check("trains.lora", trains.lora, _WHOLE),
    Check("trains.reload", trains.reload, (*_WHOLE, "trains.lora")),
)
CHECKS = {check.name: check for check in _ALL}


def sequence(runtime: str) -> tuple[Check, ...]:
    """Return the runtime's checks in their order; a check does not wait for one that the runtime is not asked."""
    names = RUNTIMES[runtime].checks
    return tuple(
        CHECKS[name]._replace(after=tuple(before for before in CHECKS[name].after if before in names)) for name in names
    )
