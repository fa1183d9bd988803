"""One subject in its own process: what is known of it, how far rounding may move its answers, and all its checks."""

from __future__ import annotations

import contextlib
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from probes.catalogue import sequence
from probes.checkpoint import BadFileError, text_part, token_ids
from probes.events import Answer, Events, failed, skipped
from probes.faults import failure
from probes.runtimes import Model, Runtime, Tokenizer, Trace, UnavailableError

if TYPE_CHECKING:
    from probes.runtimes.peft import Adapted
    from probes.served import Server

_BOUNDARIES = ("sliding_window", "attention_chunk_size", "chunk_size", "mamba_chunk_size", "window_size", "index_topk",
          "attention_window_size")  # fmt: skip
_LONGEST_BOUNDARY = 300  # a longer window is not crossed: on full weights that is a matter of minutes
_PRIME = 2147483647
AMPLIFIED = 20  # rounding happens at every step of the way, the perturbation only at its start
TOO_SENSITIVE = "too sensitive to compare: the last bit of the embeddings moves the answer too far"
_PROCESSORS = ("preprocessor_config.json", "processor_config.json")
_CEILING = 0.05  # nat: a larger allowance could hide a bug
_DRAWS = 3


class Subject:
    """What the checks of one subject share; the parts filled in by one check are there for those after it."""

    config: Any
    model: Model
    tokenizer: Tokenizer
    adapted: Adapted
    server: Server

    def __init__(self, runtime: Runtime, runtime_name: str, given: dict[str, Any], seed: int) -> None:
        self.runtime = runtime
        self.runtime_name = runtime_name
        # here and not in the child: a module of the bundle is compiled at every import
        self.checks = [check for check in sequence(runtime_name) if given.get("deep", True) or not check.deep]
        self.folder = Path(given["path"])
        self.withheld: list[str] = given.get("withheld") or []  # files that are in the model's folder and not here
        self.golden: dict[str, Any] = given.get("golden") or {}
        self.control = bool(given.get("control"))
        self.seed = seed
        self.config_json: dict[str, Any] = {}
        self.facts: dict[str, Any] = {}

    @property
    def text_config(self) -> dict[str, Any]:
        return text_part(self.config_json)

    @property
    def coarse(self) -> str:
        """Return why the model's numbers are coarser than those of float32, "" where they are not."""
        return str(getattr(getattr(self, "model", None), "coarse", ""))

    def for_text_alone(self) -> bool:
        """Return whether the files are ours, which vLLM is asked for text alone over: it has no check of images yet."""
        return bool(self.golden.get("texts"))

    def processors(self) -> bool:
        """Return whether the files have what makes images and sounds ready; ours lack half of it in some miniatures."""
        there = [(self.folder / name).exists() for name in _PROCESSORS]
        return all(there) if self.golden.get("texts") else any(there)

    def boundary(self) -> int:
        """Return the longest window or chunk short enough to be crossed, 0 without one."""
        values = [self.text_config.get(key) for key in _BOUNDARIES]
        return max((value for value in values if type(value) is int and 0 < value <= _LONGEST_BOUNDARY), default=0)

    def row(self, length: int, seed: int) -> list[int]:
        """Return ids without a meaning of their own; independent of any tokenizer, the same in every release."""
        vocabulary = self.text_config.get("vocab_size") or self.config_json.get("vocab_size") or 256
        special = token_ids(self.config_json) | set(range(8))
        state = self.seed * 7919 + seed * 104729 + 1
        ids: list[int] = []
        while len(ids) < length:
            state = state * 48271 % _PRIME
            candidate = state % vocabulary
            if candidate not in special or vocabulary <= len(special):
                ids.append(candidate)
        return ids

    def tolerance(self, trace: Trace) -> float:
        """Return what equal sums may differ by: scaled by the spread of the logits, which scales it too."""
        return self.runtime.rounding * max(1.0, trace.spread)

    def beyond(self, distance: float, row: list[int], trace: Trace, evidence: dict[str, Any]) -> bool:
        """Return whether rounding does not explain a distance, and write into the evidence what it may explain.

        A model may amplify the last bit of its input; raises UnavailableError where it does so too much to compare.
        """
        allowed = evidence["allowed"] = max(evidence.get("allowed", 0.0), self.tolerance(trace))
        if distance <= self.tolerance(trace):
            return False
        with contextlib.suppress(UnavailableError):
            moved = perturbation(self.model, row, self.model.forward(row))
            allowed = evidence["allowed"] = max(self.tolerance(trace), AMPLIFIED * moved)
        if self.coarse:
            raise UnavailableError(f"{self.coarse}, too coarse to compare", evidence)
        if allowed > _CEILING:
            raise UnavailableError(TOO_SENSITIVE, evidence)
        return not distance <= allowed

    def saved_and_loaded(self, model: Model, row: list[int]) -> tuple[Trace, Any]:
        """Return the model's answer once it is saved and loaded, and the configuration that was saved with it."""
        with tempfile.TemporaryDirectory() as scratch:
            folder = Path(scratch)
            model.save(folder)
            config = self.runtime.config(folder)
            return self.runtime.model(folder, config, self.config_json, "eager").forward(row), config


def perturbation(model: Model, row: list[int], still: Trace) -> float:
    """Return how far the answer moves, at most, when the last bit of every embedding does."""
    return max(still.distance(model.perturb(row)) for _ in range(_DRAWS))


def run_checks(subject: Subject, subject_id: str, events: Events) -> None:
    subject.runtime.text_only = subject.for_text_alone()
    subject.runtime.after_fork()
    done: set[str] = set()
    left_out: set[str] = set()
    for check in subject.checks:
        if without := next((name for name in check.after if name not in done), ""):
            if without in left_out:  # it does not apply here, so what stands on it does not either
                left_out.add(check.name)
                events.started(subject_id, check.name)
                events.finished(subject_id, check.name, skipped(f"{without} does not apply"), 0.0)
            continue
        events.started(subject_id, check.name)
        began = time.monotonic()
        answer = _without_weights(check.name, subject) or _answer(check.name, check.ask, subject)
        events.finished(subject_id, check.name, answer, time.monotonic() - began)
        if answer.outcome == "passed":
            done.add(check.name)
        elif answer.outcome == "skipped":
            left_out.add(check.name)
        for name in list(subject.facts):
            events.fact(subject_id, name, subject.facts.pop(name))


def _without_weights(name: str, subject: Subject) -> Answer | None:
    """Return why a check is not asked of a configuration alone: only whether its architecture is known can be."""
    if not subject.golden.get("alone") or name == "knows.architecture":
        return None
    return skipped("the configuration alone is at hand: no release was known that makes its tensors")


def _answer(name: str, ask: Any, subject: Subject) -> Answer:
    subject.runtime.seed(subject.seed)
    try:
        return ask(subject)  # type: ignore[no-any-return]
    except (SystemExit, KeyboardInterrupt):
        raise
    except UnavailableError as error:
        return skipped(str(error), **error.evidence)
    except BadFileError as error:
        return failed(error.fault, str(error))
    except BaseException as error:  # noqa: BLE001 -- whatever a runtime raises is this check's answer; a panic in Rust is no Exception
        return failure(error, name, subject.runtime_name, subject.runtime.phrases)
