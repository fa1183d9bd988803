"""Rung 5: along given tokens, log-probabilities equal the pinned reference, before and beyond the model's windows."""

from __future__ import annotations

from typing import Any

from probes.catalogue import check
from probes.events import Answer, failed, passed, skipped
from probes.runtimes import UnavailableError
from probes.subject import AMPLIFIED, Subject, perturbation

_SHORT = 12
_KEPT = 12  # positions at the end of each prompt
_TOP = 10
_WHOLE = 1 << 30  # of a vocabulary, whatever its size


@check("matches.trace", needs="reference", after=("generates.forward",))
def trace(subject: Subject) -> Answer:
    """The reference's log-probabilities for fixed prompts are recorded, where none are pinned yet."""
    pinned = subject.golden.get("trace")
    if pinned:
        return skipped(f"pinned by {pinned.get('runtime')} {pinned.get('version')} of {pinned.get('day')}")
    if not subject.golden.get("pins"):
        return skipped("only the newest release of today becomes the reference")
    prompts: list[dict[str, Any]] = []
    spread = moved = 0.0
    # before, across and well beyond the longest window or chunk
    boundary = subject.boundary() or _SHORT
    lengths = (_SHORT, boundary + _SHORT, 2 * boundary + 2 * _SHORT)
    rows = [subject.row(length, seed=30 + number) for number, length in enumerate(lengths)]
    for row in rows:
        answer = subject.model.forward(row)
        spread = max(spread, answer.spread)
        moved = max(moved, perturbation(subject.model, row, answer))
        kept = min(_KEPT, len(row))
        prompts.append({"ids": row, "from": len(row) - kept, "top": answer[-kept:].top(_TOP)})
    subject.facts["trace"] = {"prompts": prompts, "spread": spread, "trembling": moved}
    return skipped(f"the reference itself: {len(prompts)} prompts of up to {max(map(len, rows))} tokens recorded")


@check("matches.logprobs", needs="comparison", after=("generates.forward",))
def logprobs(subject: Subject) -> Answer:
    """Log-probabilities along given tokens equal the pinned reference.

    Compare with the reference: the largest difference decides, the 99th percentile and the mean are evidence.
    """
    pinned = subject.golden.get("trace")
    if not pinned or not pinned.get("prompts"):
        return skipped("no reference is pinned for these files: transformers pins one where they work")
    if subject.coarse:
        return skipped(f"{subject.coarse}, and the reference is of float32")
    apart: list[tuple[float, int, int]] = []
    untold = top_equal = positions = 0
    seen = []
    for number, prompt in enumerate(pinned["prompts"]):
        ids, start = prompt["ids"], prompt["from"]
        answer = subject.model.forward(ids)
        if len(answer) != len(ids):
            raise UnavailableError(f"the runtime returned {len(answer)} positions for a prompt of {len(ids)} tokens")
        tail = answer[start:]
        if not tail.finite:
            return failed("not-finite", f"the log-probabilities of prompt {number} hold NaN or infinity")
        rows = tail.at([names for names, _ in prompt["top"]])
        seen.append(rows)
        for position, ((names, values), row, (likeliest, known)) in enumerate(
            zip(prompt["top"], rows, tail.top(_WHOLE)), start
        ):
            if not known:
                raise UnavailableError("the runtime returns no log-probabilities")
            positions += 1
            top_equal += likeliest[0] == names[0]
            untold += sum(value is None for value in row)
            for value, wanted in zip(row, values):
                # at least: a token that is not named lies below the least likely one that is
                difference = max(0.0, wanted - known[-1]) if value is None else abs(value - wanted)
                apart.append((difference, number, position))
    return _judged(subject, pinned, apart, {"positions": positions, "untold": untold, "top_equal": top_equal}, seen)


def _judged(
    subject: Subject, pinned: dict[str, Any], apart: list[tuple[float, int, int]], counts: dict[str, int], seen: Any
) -> Answer:
    largest, number, position = max(apart)
    ranked = sorted(difference for difference, _, _ in apart)
    allowed = max(subject.runtime.rounding * max(1.0, pinned["spread"]), AMPLIFIED * pinned["trembling"])
    evidence = {
        "maximum": largest,
        "p99": ranked[int(0.99 * (len(ranked) - 1))],
        "mean": sum(ranked) / len(ranked),
        "allowed": allowed,
        "prompt": number,
        "position": position,
        "reference": f"{pinned.get('runtime')} {pinned.get('version')} of {pinned.get('day')}",
        **counts,
    }
    if largest <= allowed:
        return passed(f"within {largest:.2g} of the reference ({allowed:.2g} allowed)", **evidence)
    if subject.model.independent:
        subject.facts["heard"] = seen  # two that differ alike put the reference in doubt
    where = f"at token {position} of prompt {number} ({allowed:.2g} allowed)"
    return failed("differs-from-reference", f"differs by {largest:.3g} from the reference, {where}", **evidence)
