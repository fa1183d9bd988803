"""What adapters on torch and transformers share: a tokenizer, embeddings that are perturbed, threads over a fork."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence
from typing import Any

from probes.runtimes import Adapter


class TorchAdapter(Adapter):
    def after_fork(self) -> None:
        import torch

        # also what makes torch replace its inherited, dead thread pool before several threads race to do so
        torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS") or 1))


@contextlib.contextmanager
def perturbed(modules: Sequence[Any]) -> Iterator[None]:
    """Move what these embeddings return by float32's last bit, at random."""
    import torch

    def moved(_module: Any, _inputs: Any, embedded: Any) -> Any:
        return embedded * (1 + torch.finfo(torch.float32).eps * torch.randn_like(embedded).sign())

    hooks = [module.register_forward_hook(moved) for module in modules]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


class Tokenizer:
    """A tokenizer of transformers, made by it or by vLLM."""

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        self.has_template = bool(getattr(tokenizer, "chat_template", None))

    def encode(self, text: str) -> list[int]:
        return list(self._tokenizer.encode(text, add_special_tokens=False))

    def decode(self, ids: Sequence[int]) -> str:
        return str(self._tokenizer.decode(list(ids), skip_special_tokens=False))

    def specials(self) -> dict[str, Any]:
        specials: dict[str, Any] = {"class": type(self._tokenizer).__name__}
        for name in ("bos", "eos", "pad"):
            token = getattr(self._tokenizer, name + "_token", None)
            specials[name] = getattr(self._tokenizer, name + "_token_id", None)
            specials[name + "_token"] = None if token is None else str(token)
        return specials
