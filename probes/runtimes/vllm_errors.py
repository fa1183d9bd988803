"""What vLLM writes when something fails, and which fault that is."""

from __future__ import annotations

import contextlib
import re
import traceback
from collections.abc import Iterator

from probes.faults import phrases_in, without_paths

_KEPT_LINES = 4  # of the beginning, and of the end
_REASONS = ("error", "exception", "not supported", "failed", "unsupported", "cannot", "killed", "assert ")
_NO_REASONS = ("WARNING", "Warning:", " INFO ", '  File "')

# messages of vLLM, or of what it stands on
PHRASES = phrases_in("""
    # ours: the machine, and how we install vLLM
    infra-memory: available memory on node | not enough memory | insufficient space in /dev/shm
    infra-recipe: libnuma.so | invalidcxxcompiler | device string must not be empty
    # left out where only the index has a build of it
    infra-recipe: no module named 'torchvision' | operator torchvision::nms does not exist
    infra-recipe: no module named 'torchaudio' | no module named 'torchcodec'
    # built for another torch than we installed
    infra-recipe: undefined symbol
    infra-recipe: has no attribute 'init_cpu_memory_env' | no package metadata was found for vllm
    # ours: a miniature is smaller than kernels take
    infra-miniature: unsupported cpu attention configuration | unexpected head dim size | head size is not supported
    infra-miniature: is not supported by cpuattentionbackend
    # asked for in another type, though it was asked again
    infra-recipe: attention requires bf16 | attention requires bfloat16
    # a miniature lacks published files other than the weights, and keys that transformers does not write by default
    infra-miniature: can't load image processor for | can't load feature extractor for
    infra-miniature: first_k_dense_replace not exist
    # its tensors are named as in the whole model, and its class is that of the text part
    infra-miniature: no module or parameter named 'language_model' in gemma3n
    # a gap of the CPU backend, which a later release may close
    unsupported-on-platform: sparse attention is not supported on cpu | scoring_func | is not supported on cpu
    unsupported-on-platform: supported only for cuda | not supported on the cpu | cpu backend does not support
    unsupported-on-platform: no module named 'triton | triton is not installed
    # vLLM's stand-in, where its metadata asks for no triton: a kernel is then a plain function
    unsupported-on-platform: module 'triton' has no attribute | 'function' object is not subscriptable
    # kernels that CPU builds do not have
    unsupported-on-platform: has no attribute 'selective_scan_fwd' | has no attribute 'convert_weight_packed'
    unsupported-on-platform: '_moe_c' object has no attribute
    # its names are there for GPUs only
    unsupported-on-platform: from 'vllm.v1.attention.backends.fa_utils'
    unsupported-on-platform: torch not compiled with cuda | has no attribute 'cuda | cpu platform does not support
    dependency-lacks-architecture: transformers does not recognize this architecture
    dependency-lacks-architecture: does not recognize this architecture
    dependency-lacks-architecture: tokenizer class tokenizersbackend does not exist
    dependency-lacks-architecture: has no transformers implementation
    unknown-architecture: are not supported for now | is not supported anymore | is not supported in-tree anymore
    # vLLM runs unknown classes by this interface
    unknown-architecture: does not dispatch through the transformers attention interface
    # it took another size for that of the latent, which a miniature has as published
    wrong-config: is not supported by mla
    missing-tensors: were not initialized from checkpoint
    unexpected-tensors: there is no module or parameter named
    # the cause is in another process's log: this alone blames neither side
    infra-recipe: workerproc initialization failed | worker failed with error ''
""")


_BFLOAT16 = re.compile(r"(requires|only supports?) (bf16|bfloat16)", re.IGNORECASE)


def wants_bfloat16(error: Exception) -> bool:
    """Return whether vLLM refuses to compute in any other type."""
    return bool(_BFLOAT16.search(str(error)))


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
    with_reason = [
        line
        for line in lines
        if any(word in line.lower() for word in _REASONS) and not any(word in line for word in _NO_REASONS)
    ]
    kept = list(dict.fromkeys(with_reason)) or lines[-2 * _KEPT_LINES :]
    return without_paths(" | ".join(kept if len(kept) <= 2 * _KEPT_LINES else kept[:_KEPT_LINES] + kept[-_KEPT_LINES:]))
