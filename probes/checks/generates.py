"""Rung 3: generation computes the same with and without cache, batch and attention implementation, and ends."""

from __future__ import annotations

import functools
from typing import Any

from probes.catalogue import check
from probes.checkpoint import optional_json
from probes.events import Answer, failed, passed, skipped
from probes.runtimes import Model, Plan, UnavailableError
from probes.subject import Subject

_check = functools.partial(check, needs="tokens", after=("generates.forward",))
_FLAT = 1e-3
_SHORT = 12
# steps are what a probe spends its time on, so each check makes as many as its question needs
_GREEDY_STEPS = 8
_CACHE_STEPS = 6
_BATCH_STEPS = 4


@_check("generates.forward", after=("loads.model",))
def forward(subject: Subject) -> Answer:
    """A forward pass gives finite logits that are not flat."""
    first = subject.model.forward(subject.row(_SHORT, seed=1))
    if not first.finite:
        return failed("not-finite", "the logits hold NaN or infinity")
    second = subject.model.forward(subject.row(_SHORT, seed=2))
    between_prompts = first.distance(second)
    # logits that are nearly uniform, or the same for every prompt, would let every comparison below pass
    if first.spread < _FLAT or between_prompts < _FLAT:
        message = (
            f"the logits hardly vary: {first.spread:.3g} over the vocabulary, {between_prompts:.3g} between two prompts"
        )
        return failed("flat-logits", message, spread=first.spread, between_prompts=between_prompts)
    evidence: dict[str, Any] = {"spread": first.spread, "between_prompts": between_prompts}
    if subject.coarse:  # such numbers are no witness
        return passed(subject.coarse, **evidence)
    subject.facts["logprobs"] = _logprobs(subject, first.spread)
    return passed(**evidence)


def _logprobs(subject: Subject, spread: float) -> dict[str, object]:
    """Record the likeliest tokens after fixed prompts, for the comparison with other runtimes and releases."""
    prompts = []
    # before, across and well beyond the longest window or chunk
    boundary = subject.boundary()
    for seed, length in ((1, _SHORT), (4, boundary + _SHORT), (32, 2 * boundary + 2 * _SHORT)):
        row = subject.row(length, seed)
        prompts.append({"ids": row, "from": max(0, length - 16), "top": subject.model.forward(row)[-16:].top(5)})
    return {"prompts": prompts, "spread": spread, "independent": bool(subject.model.independent)}


@_check("generates.greedy")
def greedy(subject: Subject) -> Answer:
    """Greedy generation is deterministic."""
    row = subject.row(_SHORT, seed=1)
    first, second = (subject.model.generate([row], steps, Plan())[0] for steps in (_GREEDY_STEPS, _GREEDY_STEPS // 2))
    if len(first.tokens) != _GREEDY_STEPS:
        message = f"{len(first.tokens)} tokens were generated instead of {_GREEDY_STEPS}"
        return failed("not-deterministic", message, tokens=first.tokens)
    if not first.trace.finite:
        return failed("not-finite", "the logits hold NaN or infinity while generating", tokens=first.tokens)
    if first.tokens[: len(second.tokens)] != second.tokens:
        return failed("not-deterministic", "two runs differ", first=first.tokens, second=second.tokens)
    return passed(f"{_GREEDY_STEPS} tokens; a second run repeats the first {len(second.tokens)}", tokens=first.tokens)


@_check("generates.cache")
def cache(subject: Subject) -> Answer:
    """Generation with the cache equals generation without it.

    Compare generation with the cache, along given tokens, with passes over the whole text without one.
    """
    boundary = subject.boundary()
    # from a little before the window's edge to beyond it, and shortly from well beyond it
    ways = [(max(_SHORT, boundary - _CACHE_STEPS // 2), _CACHE_STEPS)]
    if boundary:
        ways.append((boundary + _SHORT, _CACHE_STEPS // 2))
    evidence: dict[str, Any] = {"seam": boundary}
    for start, steps in ways:
        row, forced = subject.row(start, seed=5), subject.row(steps, seed=6)
        answer = subject.model.generate([row], steps, Plan(forced=(tuple(forced),)))[0]
        if not answer.cached:
            return skipped("with the cache requested, the runtime computes the whole text at every step", **evidence)
        cached = answer.trace
        whole = subject.model.forward(row + forced)[start - 1 : start - 1 + steps]
        distance = evidence[f"after_{start}"] = cached.distance(whole)
        evidence["allowed"] = max(evidence.get("allowed", 0.0), subject.tolerance(whole))
        if distance <= subject.tolerance(whole):
            continue
        # one pass over the whole is cheap, but the promise is that generating without a cache gives the same
        without = subject.model.generate([row], steps, Plan(cache=False, forced=(tuple(forced),)))[0]
        if without.cached:
            return skipped("without a cache requested, the runtime uses one", **evidence)
        distance = evidence[f"generated_without_after_{start}"] = cached.distance(without.trace)
        message = f"log-probabilities differ by {distance:.3g} with the cache, {start} tokens in (boundary {boundary})"
        if subject.beyond(distance, row + forced, without.trace, evidence):
            return failed("cache-differs", message, **evidence)
    return passed("the same with and without the cache", **evidence)


@_check("generates.batch", needs="batches")
def batch(subject: Subject) -> Answer:
    """A left-padded batch equals its rows one by one."""
    rows = [subject.row(length, seed=10 + length) for length in (5, 9, 14)]
    forced = tuple(tuple(subject.row(_BATCH_STEPS, seed=20 + row_number)) for row_number in range(len(rows)))
    together = subject.model.generate(rows, _BATCH_STEPS, Plan(forced=forced))
    distances: dict[str, float] = {}
    evidence: dict[str, Any] = {"distances": distances}
    for row, tokens, answer in zip(rows, forced, together):
        alone = subject.model.forward([*row, *tokens])[len(row) - 1 : len(row) - 1 + len(tokens)]
        if not answer.trace.distance(alone) <= subject.tolerance(alone):  # else one pass over the row will do
            alone = subject.model.generate([row], len(tokens), Plan(forced=(tokens,)))[0].trace
        distance = distances[str(len(row))] = answer.trace.distance(alone)
        if subject.beyond(distance, [*row, *tokens], alone, evidence):
            message = f"a row of {len(row)} tokens differs by {distance:.3g} in a left-padded batch"
            return failed("batch-differs", message, **evidence)
    return passed("rows of 5, 9 and 14 tokens are the same in a batch", **evidence)


@_check("generates.attention", needs="attentions")
def attention(subject: Subject) -> Answer:
    """Attention implementations agree."""
    # first the one that users get who name none
    default = subject.runtime.model(subject.folder, subject.config, subject.config_json, "")
    others = {default.attention: default, **dict.fromkeys(subject.runtime.attentions(subject.model))}
    others.pop("eager", None)
    if not others:
        return skipped("the model's class has one attention implementation")
    _require(subject.model, "eager")
    row = subject.row(subject.boundary() + 2 * _SHORT, seed=7)
    base = subject.model.forward(row)
    distances: dict[str, float] = {}
    evidence: dict[str, Any] = {"distances": distances}
    for name, loaded in others.items():
        other = loaded or subject.runtime.model(subject.folder, subject.config, subject.config_json, name)
        _require(other, name)
        distance = distances[name] = base.distance(other.forward(row))
        if subject.beyond(distance, row, base, evidence):
            message = f"log-probabilities differ by {distance:.3g} between eager and {name}"
            return failed("attention-differs", message, **evidence)
    return passed(f"eager equals {', '.join(others)}", **evidence)


def _require(model: Model, attention: str) -> None:
    """Raise UnavailableError where the model runs another attention than was requested."""
    if model.attention != attention:
        raise UnavailableError(f"the runtime runs the attention {model.attention or '?'} instead of {attention}")


@_check("generates.stop")
def stop(subject: Subject) -> Answer:
    """Generation ends at the end-of-sequence token.

    Force each end-of-sequence token of the model's files, without naming it to the runtime.
    """
    row = subject.row(_SHORT, seed=1)
    steps, end = 4, 1
    ids = _eos_ids(subject)
    for eos in ids:
        forced = (*subject.row(end, seed=8), eos, *subject.row(steps, seed=9))
        tokens = subject.model.generate([row], steps, Plan(forced=(forced,), full_length=False))[0].tokens
        if len(tokens) != end + 1 or tokens[-1] != eos:
            message = f"{len(tokens)} tokens were generated, although token {eos}, number {end + 1}, ends the text"
            return failed("does-not-stop", message, eos=ids, tokens=tokens)
    asked = subject.row(1, seed=11)[0]
    forced = (*subject.row(end, seed=8), asked, *subject.row(steps, seed=9))
    first = forced.index(asked) + 1
    plan = Plan(forced=(forced,), eos=(asked,), full_length=False)
    try:
        tokens = subject.model.generate([row], steps, plan)[0].tokens
    except UnavailableError as error:
        if not ids:
            return skipped(f"the model's files name no end-of-sequence token, and the runtime takes no other: {error}")
        return passed("ends where the model's files say", eos=ids, not_asked=str(error))
    if len(tokens) != first:
        message = f"{len(tokens)} tokens were generated, although token {asked} at position {first} was to end them"
        return failed("does-not-stop", message, eos=[asked], tokens=tokens)
    return passed("ends where it should", eos=ids, asked=asked)


def _eos_ids(subject: Subject) -> list[int]:
    for source in (optional_json(subject.folder, "generation_config.json"), subject.config_json, subject.text_config):
        eos = source.get("eos_token_id")
        if eos is not None:
            return [item for item in (eos if isinstance(eos, list) else [eos]) if type(item) is int]
    return []
