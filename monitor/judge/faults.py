"""Whom each fault blames: the probes and the installer name a fault, and its blame is a judgement; pure."""

from __future__ import annotations

from monitor.domain import Blame

_FORMER_PREFIX = "bench-"  # of faults that are called infra- now, in events that were recorded before

BLAME = {
    # the runtime's own code
    "unknown-architecture": Blame.RUNTIME,
    "wrong-config": Blame.RUNTIME,
    "load-error": Blame.RUNTIME,
    "not-converted": Blame.RUNTIME,
    "quantised-differs": Blame.RUNTIME,
    "published-differs": Blame.RUNTIME,
    "server-error": Blame.RUNTIME,
    "schema-violated": Blame.RUNTIME,
    "missing-tensors": Blame.RUNTIME,
    "unexpected-tensors": Blame.RUNTIME,
    "reinitialised-tensors": Blame.RUNTIME,
    "missing-part": Blame.RUNTIME,
    "reload-differs": Blame.RUNTIME,
    "not-finite": Blame.RUNTIME,
    "flat-logits": Blame.RUNTIME,
    "not-deterministic": Blame.RUNTIME,
    "cache-differs": Blame.RUNTIME,
    "batch-differs": Blame.RUNTIME,
    "attention-differs": Blame.RUNTIME,
    "image-error": Blame.RUNTIME,
    "image-ignored": Blame.RUNTIME,
    "images-swapped": Blame.RUNTIME,
    "does-not-stop": Blame.RUNTIME,
    "differs-from-reference": Blame.RUNTIME,
    "tokenizer-error": Blame.RUNTIME,
    "wrong-special-token": Blame.RUNTIME,
    "roundtrip-differs": Blame.RUNTIME,
    "template-differs": Blame.RUNTIME,
    "adapter-error": Blame.RUNTIME,
    "adapter-targets": Blame.RUNTIME,
    "adapter-does-not-learn": Blame.RUNTIME,
    "adapter-lost": Blame.RUNTIME,
    "import-error": Blame.RUNTIME,
    "does-not-build": Blame.RUNTIME,
    "crashed": Blame.RUNTIME,
    "hung": Blame.RUNTIME,
    "needs-newer": Blame.RUNTIME,
    "runner-crashed": Blame.RUNTIME,
    "missing-logprobs": Blame.RUNTIME,
    "stream-differs": Blame.RUNTIME,
    "parameter-ignored": Blame.RUNTIME,
    "tools-unsupported": Blame.RUNTIME,
    "thinking-unsupported": Blame.RUNTIME,
    # what the runtime stands on
    "unresolvable": Blame.DEPENDENCY,
    "inconsistent": Blame.DEPENDENCY,
    "dependency-does-not-build": Blame.DEPENDENCY,
    "dependency-import-error": Blame.DEPENDENCY,
    "missing-dependency": Blame.DEPENDENCY,
    "gguf-not-made": Blame.DEPENDENCY,  # llama.cpp's converter makes none, and Ollama stands on it
    "training-error": Blame.DEPENDENCY,  # of the library for adapters: the model is what it stands on
    "no-gradient": Blame.DEPENDENCY,
    "gradient-not-finite": Blame.DEPENDENCY,
    "checkpointing-ignored": Blame.DEPENDENCY,
    "checkpointing-differs": Blame.DEPENDENCY,
    "does-not-learn": Blame.DEPENDENCY,
    "dependency-lacks-architecture": Blame.DEPENDENCY,
    # the platform's gap
    "unsupported-on-platform": Blame.PLATFORM,
    # the model's own files
    "bad-checkpoint": Blame.MODEL,
    "needs-remote-code": Blame.MODEL,
    "pickle-weights": Blame.MODEL,
    "broken-template": Blame.MODEL,
    "no-stop-token": Blame.MODEL,
    # our own machinery
    "no-wheel": Blame.INFRA,  # a user's installer may have built it from source; ours could not
    "infra-memory": Blame.INFRA,
    "infra-time": Blame.INFRA,
    "infra-disk": Blame.INFRA,
    "infra-network": Blame.INFRA,
    "infra-index": Blame.INFRA,
    "infra-engine": Blame.INFRA,
    "infra-events": Blame.INFRA,
    "infra-interrupted": Blame.INFRA,
    "infra-miniature": Blame.INFRA,
    "infra-recipe": Blame.INFRA,
    # of the reference's releases, by comparison with others
    "wrong-answer": Blame.RUNTIME,
    "disputed-answer": Blame.REFERENCE,
    # not known yet
    "unclassified": Blame.UNATTRIBUTED,
}

# what comparing the answers of releases says of the reference itself: it counts wherever the bar ends
RULED = frozenset({"wrong-answer", "disputed-answer"})


def current(fault: str) -> str:
    """Return the fault by today's name."""
    return f"infra-{fault.removeprefix(_FORMER_PREFIX)}" if fault.startswith(_FORMER_PREFIX) else fault
