"""Rung 3: whichever way a text is computed, its answer is the same: in pieces, with padding, with any kind of cache."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any

from probes.catalogue import check
from probes.events import Answer, failed, passed, skipped
from probes.faults import without_paths
from probes.runtimes import Plan, Trace, UnavailableError
from probes.subject import Subject

_check = functools.partial(check, needs="ways", after=("generates.cache",), deep=True)
_START = 12
_PIECES = (2, 1, 9)  # fewer tokens at once than a convolution looks back, one, and more
_LENGTHS = (5, 14)
_STEPS = 6
_SHOWN = 200
_WITHOUT_IT = "not implemented for 'BFloat16'"


@_check("generates.continues")
def continues(subject: Subject) -> Answer:
    """A text computed in pieces of several tokens, each on the cache of those before, equals the whole."""
    boundary = subject.boundary()
    evidence: dict[str, Any] = {"pieces": list(_PIECES)}
    # across the window's edge, and from well beyond it
    for start in [max(_START, boundary - sum(_PIECES) // 2), *([boundary + _START] if boundary else [])]:
        row = subject.row(start + sum(_PIECES), seed=5)
        cuts = [start + sum(_PIECES[:number]) for number in range(len(_PIECES))]
        trace = subject.model.ways().continued(row, cuts)
        whole = subject.model.forward(row)[start:]
        for cut, count in zip(cuts, _PIECES):
            piece = slice(cut - start, cut - start + count)
            distance = evidence[f"after_{cut}"] = trace[piece].distance(whole[piece])
            if subject.beyond(distance, row, whole, evidence):
                message = f"{count} tokens at once over a cache of {cut} differ by {distance:.3g}"
                return failed("cache-differs", message, **evidence)
    return passed(f"pieces of {', '.join(map(str, _PIECES))} tokens equal the whole", **evidence)


@_check("generates.padding", after=("generates.cache", "generates.batch"))
def padding(subject: Subject) -> Answer:
    """Padding before a single row, or after the rows of a batch, changes nothing of their tokens."""
    ways = subject.model.ways()
    row, longer = (subject.row(length, seed=10 + length) for length in _LENGTHS)
    forced = subject.row(_STEPS, seed=20)
    alone = subject.model.forward([*row, *forced])
    evidence: dict[str, Any] = {}
    for name, trace, expected in (
        ("after a row", ways.padded([row, longer])[0], alone[: len(row)]),
        ("before a single row", ways.left_padded(row, len(longer) - len(row), forced), alone[len(row) - 1 : -1]),
    ):
        distance = evidence[name.split()[0]] = trace.distance(expected)
        if subject.beyond(distance, [*row, *forced], alone, evidence):
            message = f"with padding {name} of {len(row)} tokens, they differ by {distance:.3g}"
            return failed("batch-differs", message, **evidence)
    return passed("the same with padding before and after", **evidence)


@_check("generates.caches")
def caches(subject: Subject) -> Answer:
    """Every kind of cache gives the same."""
    ways = subject.model.ways()
    row, forced = subject.row(max(_START, subject.boundary() - _STEPS // 2), seed=5), subject.row(_STEPS, seed=6)
    kinds = {f"{kind} cache": functools.partial(ways.cached_as, kind) for kind in ways.kinds}
    return _alike(subject, row, forced, kinds)


@_check("generates.assisted")
def assisted(subject: Subject) -> Answer:
    """Tokens that are proposed, from the prompt or by the model itself, change nothing."""
    ways = subject.model.ways()
    row = subject.row(_START, seed=5) * 2
    # as the prompt has it for a while, then otherwise, then as the prompt has it again
    forced = [*row[:5], *subject.row(2, seed=6), *row[5:9]]
    proposals = {"proposals from the prompt": ways.looked_up, "proposals of the model itself": ways.assisted}
    return _alike(subject, row, forced, proposals)


@_check("generates.halved", after=("generates.forward",))
def halved(subject: Subject) -> Answer:
    """In bfloat16, logits are finite, padded or not."""
    try:
        model = subject.runtime.halved(subject.folder, subject.config, subject.config_json)
        rows = [subject.row(length, seed=10 + length) for length in _LENGTHS]
        traces = [model.forward(rows[-1]), *(answer.trace for answer in model.generate(rows, 2, Plan()))]
    except RuntimeError as error:
        if _WITHOUT_IT not in str(error):
            raise
        return skipped(f"this platform has no such operation in bfloat16: {without_paths(str(error))[:_SHOWN]}")
    if not all(trace.finite for trace in traces):
        return failed("not-finite", "in bfloat16, the logits hold NaN or infinity")
    return passed("finite in bfloat16, with padding and without")


def _along(subject: Subject, row: list[int], forced: list[int]) -> Trace:
    return subject.model.generate([row], len(forced), Plan(forced=(tuple(forced),)))[0].trace


def _alike(subject: Subject, row: list[int], forced: list[int], asked: Mapping[str, Callable[..., Trace]]) -> Answer:
    """Compare each way with plain generation; what the runtime refuses to do is left out, with its reason."""
    plain = _along(subject, row, forced)
    distances: dict[str, float] = {}
    refused: dict[str, str] = {}
    evidence: dict[str, Any] = {"distances": distances, "refused": refused}
    for name, ask in asked.items():
        try:
            trace = ask(row, forced)
        except Exception as error:  # noqa: BLE001 -- not every architecture has each of them
            refused[name] = f"{type(error).__name__}: {without_paths(str(error))[:_SHOWN]}"
            continue
        distance = distances[name] = trace.distance(plain)
        if subject.beyond(distance, [*row, *forced], plain, evidence):
            return failed("cache-differs", f"with {name}, the answer differs by {distance:.3g}", **evidence)
    if not distances:
        raise UnavailableError("; ".join(f"{name}: {reason}" for name, reason in refused.items()), evidence)
    return passed(f"the same with {', '.join(distances)}", **evidence)
