"""What models without text answer: vectors and scores, which no padding changes, and which tokens they see."""

from __future__ import annotations

import functools
import math
from typing import TYPE_CHECKING, Any

from probes.catalogue import check
from probes.checkpoint import is_ranking, makes_text, sees_all
from probes.events import Answer, failed, passed, skipped

if TYPE_CHECKING:
    from probes.subject import Subject

_check = functools.partial(check, needs="vectors", after=("generates.forward",))
_TEXT = "the model generates text"
_NOTHING = 1e-6  # what is not seen changes no number at all
_FLAT = 1e-4


@_check("generates.vectors", needs="vectors")
def vectors(subject: Subject) -> Answer:
    """An embedding model's vectors do not depend on the padding of a batch."""
    if makes_text(subject.config_json):
        return skipped(_TEXT)
    rows = [subject.row(length, seed=10 + length) for length in (5, 14)]
    distances: dict[str, float] = {}
    evidence: dict[str, Any] = {"distances": distances}
    for row, together in zip(rows, subject.model.vectors(rows)):
        alone = subject.model.vectors([row])[0]
        distance = distances[str(len(row))] = alone.distance(together)
        if subject.beyond(distance, row, alone, evidence):
            message = f"the vectors of {len(row)} tokens differ by {distance:.3g} in a padded batch"
            return failed("batch-differs", message, **evidence)
    return passed("rows of 5 and 14 tokens have the same vectors in a batch", **evidence)


@_check("generates.sight")
def sight(subject: Subject) -> Answer:
    """An embedding model's tokens see all others, or only those before them, as its configuration says."""
    if makes_text(subject.config_json):
        return skipped(_TEXT)
    expected = sees_all(subject.config_json)
    if expected is None:
        return skipped("the configuration does not say which tokens a token sees")
    row, other = subject.row(14, seed=12), subject.row(15, seed=13)
    still = subject.model.vectors([row])[0][:-1]
    last = next(token for token in other if token != row[-1])
    moved = still.distance(subject.model.vectors([[*row[:-1], last]])[0][:-1])
    evidence: dict[str, Any] = {"moved": moved}
    if expected and moved <= _NOTHING:
        return failed("wrong-config", "tokens see only those before them, and are to see all", **evidence)
    if not expected and subject.beyond(moved, row, still, evidence):
        message = "tokens see those after them, and are to see only those before"
        return failed("wrong-config", message, **evidence)
    return passed("tokens see all others" if expected else "tokens see those before them", **evidence)


@_check("generates.scores")
def scores(subject: Subject) -> Answer:
    """A reranking model's scores are those of each text alone, in the same order."""
    if not is_ranking(subject.config_json):
        return skipped("the model gives no scores")
    rows = [subject.row(length, seed=10 + length) for length in (5, 9, 14)]
    alone, together = [subject.model.scores([row])[0] for row in rows], subject.model.scores(rows)
    labels = len(subject.config_json.get("id2label") or ()) or subject.config_json.get("num_labels")
    evidence: dict[str, Any] = {"scores": [[round(score, 6) for score in row] for row in alone], "labels": labels}
    every = [score for row in (*alone, *together) for score in row]
    if not all(map(math.isfinite, every)):
        return failed("not-finite", "scores are NaN or infinite", **evidence)
    if labels and any(len(row) != labels for row in (*alone, *together)):
        return failed("wrong-config", f"a text has {len(alone[0])} scores for {labels} labels", **evidence)
    if max(row[0] for row in alone) - min(row[0] for row in alone) < _FLAT:
        return failed("flat-logits", "texts of no likeness have the same score", **evidence)
    apart = max(abs(left - right) for pair in zip(alone, together) for left, right in zip(*pair))
    allowed = evidence["allowed"] = subject.runtime.rounding * max(1.0, *map(abs, every))
    evidence["distance"] = apart
    if apart > allowed:
        return failed("batch-differs", f"scores differ by {apart:.3g} in a padded batch", **evidence)
    return passed(f"{len(rows)} texts have the same scores in a batch", **evidence)
