"""What vLLM writes when something fails, and which fault that is."""

from __future__ import annotations

import contextlib
import traceback
from typing import TYPE_CHECKING

from probes.faults import without_paths

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_KEPT_LINES = 4  # of the beginning, and of the end
_REASONS = ("error", "exception", "not supported", "failed", "unsupported", "cannot", "killed", "assert ")
_NO_REASONS = ("WARNING", "Warning:", " INFO ", '  File "')

# fault -> messages of vLLM or of what it stands on; the first match wins
PHRASES: Sequence[tuple[str, tuple[str, ...]]] = (
    # ours: the machine, and how we install it
    ("infra-memory", ("available memory on node", "not enough memory", "insufficient space in /dev/shm")),
    (
        "infra-recipe",
        (
            "libnuma.so",
            "invalidcxxcompiler",
            "device string must not be empty",
            "no module named 'torchvision'",  # left out where only the index's build of it is to be had
            "operator torchvision::nms does not exist",
            "no module named 'torchaudio'",
            "no module named 'torchcodec'",
            "undefined symbol",  # built for another torch than we installed
            "has no attribute 'init_cpu_memory_env'",
            "no package metadata was found for vllm",
        ),
    ),
    # ours: a miniature is smaller than kernels take
    (
        "infra-miniature",
        (
            "unsupported cpu attention configuration",
            "unexpected head dim size",
            "head size is not supported",
            "is not supported by cpuattentionbackend",
            "is not supported by mla",  # made for one width of latent, 512 and 64
            "gdn attention requires bf16",
            "gdn attention requires bfloat16",
            # or it lacks what is published: files beside the weights, keys that transformers does not write by default
            "can't load image processor for",
            "can't load feature extractor for",
            "first_k_dense_replace not exist",
            "has no attribute 'mla_scale_q_lora'",
            # or its tensors are named as in the whole model, and its class is that of the text part
            "no module or parameter named 'language_model' in gemma3n",
        ),
    ),
    # a gap of the CPU backend, which a later release may close
    (
        "unsupported-on-platform",
        (
            "sparse attention is not supported on cpu",
            "scoring_func",
            "is not supported on cpu",
            "supported only for cuda",
            "not supported on the cpu",
            "cpu backend does not support",
            "no module named 'triton",
            "triton is not installed",
            "module 'triton' has no attribute",  # vLLM's own stand-in, where its metadata asks for no triton
            "has no attribute 'selective_scan_fwd'",  # kernels that CPU builds do not have
            "has no attribute 'convert_weight_packed'",
            "from 'vllm.v1.attention.backends.fa_utils'",  # its names are there for GPUs only
            "torch not compiled with cuda",
            "has no attribute 'cuda",
            "cpu platform does not support",
        ),
    ),
    (
        "dependency-lacks-architecture",
        (
            "transformers does not recognize this architecture",
            "does not recognize this architecture",
            "tokenizer class tokenizersbackend does not exist",
            "has no transformers implementation",
        ),
    ),
    (
        "unknown-architecture",
        (
            "are not supported for now",
            "is not supported anymore",
            "is not supported in-tree anymore",
            "does not dispatch through the transformers attention interface",  # which it runs unknown classes by
        ),
    ),
    ("missing-tensors", ("were not initialized from checkpoint",)),
    ("unexpected-tensors", ("there is no module or parameter named",)),
    # the cause is in another process's log: this alone blames neither side
    ("infra-recipe", ("workerproc initialization failed", "worker failed with error ''")),
)


@contextlib.contextmanager
def assertions_in_words() -> Iterator[None]:
    """Give an assertion without a message its line of code: what it asserts is all that distinguishes it."""
    try:
        yield
    except AssertionError as error:
        if not str(error):
            frame = traceback.extract_tb(error.__traceback__)[-1]
            error.args = (frame.line or frame.name,)
        raise


def reasons(log: str) -> str:
    """Return the lines with a reason, without the paths of this machine.

    The engine's process writes the cause, and then each process that waits for it writes the consequence: the first
    and the last lines are kept, equal ones once.
    """
    lines = [line.strip() for line in log.splitlines() if line.strip()]
    with_reason = [line for line in lines if _has_reason(line)]
    kept = list(dict.fromkeys(with_reason)) or lines[-2 * _KEPT_LINES :]
    return without_paths(" | ".join(kept if len(kept) <= 2 * _KEPT_LINES else kept[:_KEPT_LINES] + kept[-_KEPT_LINES:]))


def _has_reason(line: str) -> bool:
    return any(word in line.lower() for word in _REASONS) and not any(word in line for word in _NO_REASONS)
