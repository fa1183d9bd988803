"""llama-cpp-python: llama.cpp behind a class in this process, and a server of its own in another."""

from __future__ import annotations

import functools
import itertools
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from probes.faults import ReportedError
from probes.runtimes import Generated, Plan, UnavailableError
from probes.runtimes.llamacpp import (
    CONTEXT,
    LlamaCpp,
    LlamaCppModel,
    Specials,
    captured_stderr,
    file_of,
    threads,
    with_stderr,
)
from probes.runtimes.traces import LazyRows, PlainTrace
from probes.served import Server, free_port, wait_until_ready
from probes.subject import Subject

_WIDEST = 1024  # of the vocabulary, what is kept of each position: all of a miniature's
_KINDS = {"q8_0": "LLAMA_FTYPE_MOSTLY_Q8_0", "q4_k_m": "LLAMA_FTYPE_MOSTLY_Q4_K_M"}
_NAME = "probed"


class LlamaCppPython(LlamaCpp):
    package, module = "llama-cpp-python", "llama_cpp"

    def open(self, file: Path) -> LlamaCppPythonModel:
        import llama_cpp  # type: ignore[import-not-found, unused-ignore]

        llama = with_stderr(
            lambda: llama_cpp.Llama(
                str(file), n_ctx=CONTEXT, n_batch=CONTEXT, n_gpu_layers=0, n_threads=threads(), logits_all=True,
                type_k=0, type_v=0, flash_attn=False, verbose=True,
            )
        )  # fmt: skip
        return LlamaCppPythonModel(llama, self.load_perturbed)

    def quantised(self, subject: Subject, kind: str) -> Any:  # noqa: ARG002 -- it has the converted file
        import llama_cpp

        if self.brought:
            raise UnavailableError("the publisher's file is loaded as it is")
        parameters = llama_cpp.llama_model_quantize_default_params()
        parameters.ftype = getattr(llama_cpp, _KINDS[kind])
        files = str(file_of("f32")).encode(), str(file_of(kind)).encode()
        with captured_stderr() as capture:
            refused = llama_cpp.llama_model_quantize(*files, parameters)
        if refused:
            raise ReportedError(f"llama_model_quantize returns {refused} | {capture.tail()}")
        return self.load_file(file_of(kind))

    def tokenizer(self, folder: Path) -> LlamaCppPythonTokenizer:  # noqa: ARG002 -- it is in the converted file
        return LlamaCppPythonTokenizer(self.loaded().llama, self.metadata())

    def serve(self, subject: Subject) -> tuple[Server, float]:  # noqa: ARG002 -- it has the converted file
        """Start its server, which ends with this process's group."""
        port = free_port()
        settings = {"model": file_of("f32"), "model_alias": _NAME, "host": "127.0.0.1", "port": port, "n_ctx": CONTEXT,
                    "n_threads": threads(), "n_gpu_layers": 0, "type_k": 0, "type_v": 0}  # fmt: skip
        words = [str(word) for name, value in settings.items() for word in (f"--{name}", value)]
        process = subprocess.Popen([sys.executable, "-I", "-m", "llama_cpp.server", *words])
        server = Server(f"http://127.0.0.1:{port}", _NAME)
        return server, wait_until_ready(server, lambda: process.poll() is None)


class LlamaCppPythonModel(LlamaCppModel):
    def __init__(self, llama: Any, load_perturbed: Callable[[], Any]) -> None:
        super().__init__(load_perturbed)
        self.llama = llama

    def forward(self, row: Sequence[int]) -> PlainTrace:
        self.llama.reset()
        self.llama.eval(list(row))
        return PlainTrace(self._rows(range(len(row))))

    def generate(self, rows: Sequence[Sequence[int]], steps: int, plan: Plan) -> list[Generated]:
        if len(rows) > 1:
            raise UnavailableError("its class takes one conversation at a time")
        row = list(rows[0])
        if not plan.forced:
            self.llama.reset()
            tokens = list(itertools.islice(self.llama.generate(row, temp=0.0, repeat_penalty=1.0), steps))
            trace = self.forward([*row, *tokens[:-1]])[len(row) - 1 :]
            return [Generated([int(token) for token in tokens], trace, None)]
        if plan.full_length:
            return [self._along(row, plan.forced[0], cache=plan.cache)]
        return [self._until_end(row, plan)]

    def _along(self, row: list[int], forced: Sequence[int], *, cache: bool) -> Generated:
        rows: list[dict[int, float]] = []
        for step in range(len(forced)):
            if not cache or not step:
                self.llama.reset()
                self.llama.eval([*row, *forced[:step]])
            else:
                self.llama.eval([forced[step - 1]])
            rows += self._rows([len(row) + step - 1])
        return Generated(list(forced), PlainTrace(rows), cache if len(forced) > 1 else None)

    def _until_end(self, row: list[int], plan: Plan) -> Generated:
        """Complete with every step forced, to see where the class itself ends."""
        import llama_cpp

        forced = plan.forced[0]

        def force(ids: Any, scores: Any) -> Any:
            scores[:] = -1e9
            scores[forced[min(len(ids) - len(row), len(forced) - 1)]] = 1e9
            return scores

        more: dict[str, Any] = {}
        if plan.eos is not None:
            ends = set(plan.eos)
            more["stopping_criteria"] = llama_cpp.StoppingCriteriaList([lambda ids, _: int(ids[-1]) in ends])
        self.llama.reset()
        answer = self.llama.create_completion(
            row,
            max_tokens=len(forced),
            temperature=0.0,
            logits_processor=llama_cpp.LogitsProcessorList([force]),
            **more,
        )
        made = int(answer["usage"]["completion_tokens"])
        ended = answer["choices"][0]["finish_reason"] == "stop" and plan.eos is None
        # the token that ends a text is generated and not returned
        return Generated(list(forced[: made + ended]), PlainTrace([]), None)

    def _rows(self, positions: Sequence[int]) -> Any:
        """Return what was computed last, copied, for the next evaluation overwrites it."""
        import numpy as np

        logits = np.array(self.llama.scores[positions[0] : positions[-1] + 1], dtype=np.float64)

        @functools.cache
        def compute(position: int) -> dict[int, float]:
            row = logits[position - positions[0]]
            row = row - row.max()
            known = row - np.log(np.exp(row).sum())
            best = range(len(known)) if len(known) <= _WIDEST else np.argpartition(known, -_WIDEST)[-_WIDEST:].tolist()
            return {int(index): float(known[index]) for index in best}

        return LazyRows(compute, positions)


class LlamaCppPythonTokenizer(Specials):
    """The tokenizer as the class has it; templates are rendered by jinja2, as its chat completions do."""

    settings: tuple[dict[str, Any], ...] = ()

    def __init__(self, llama: Any, metadata: dict[str, Any]) -> None:
        super().__init__(metadata)
        self._llama = llama

    def encode(self, text: str) -> list[int]:
        return [int(token) for token in self._llama.tokenize(text.encode(), add_bos=False, special=False)]

    def decode(self, ids: Sequence[int]) -> str:
        return bytes(self._llama.detokenize(list(ids), special=True)).decode("utf-8", "replace")

    def render(self, messages: list[dict[str, Any]]) -> str:
        from llama_cpp.llama_chat_format import Jinja2ChatFormatter  # type: ignore[import-not-found, unused-ignore]

        specials = self.specials()
        formatter = Jinja2ChatFormatter(
            template=self._template, eos_token=specials["eos_token"] or "", bos_token=specials["bos_token"] or ""
        )
        return str(formatter(messages=messages).prompt)


ADAPTER = LlamaCppPython
