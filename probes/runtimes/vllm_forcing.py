"""What makes a request of vLLM's engine continue as written down; reported are the log-probabilities before it."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

from vllm.v1.sample.logits_processor import AdapterLogitsProcessor  # type: ignore[import-not-found, unused-ignore]


class Forcing(AdapterLogitsProcessor):  # type: ignore[misc, unused-ignore]
    """Named to the engine, which imports it; a request says its tokens as ``extra_args["forced"]``."""

    def is_argmax_invariant(self) -> bool:
        return False

    def new_req_logits_processor(self, params: Any) -> Any:
        forced = (params.extra_args or {}).get("forced")
        return functools.partial(_force, forced) if forced else None


def _force(forced: Sequence[int], given: Sequence[int], logits: Any) -> Any:
    step = len(given)
    if step < len(forced):
        keep = logits[forced[step]].clone()
        logits.fill_(float("-inf"))
        logits[forced[step]] = keep
    return logits
