"""xllamacpp: llama.cpp's server code in this process, over HTTP where it listens, else through its own calls."""

from __future__ import annotations

import contextlib
import functools
import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from probes.faults import ReportedError
from probes.runtimes import Generated, Plan, UnavailableError
from probes.runtimes.llamacpp import CONTEXT, LlamaCpp, LlamaCppModel, Specials, file_of, threads, with_stderr
from probes.runtimes.traces import LazyRows, PlainTrace
from probes.served import Server, ServerError
from probes.subject import Subject

_SLOTS = 4  # conversations side by side
_WIDEST = 1024  # of the vocabulary, what is asked of each position: all of a miniature's
_PUSHED = 1e4  # beyond every logit


class Xllamacpp(LlamaCpp):
    package = module = "xllamacpp"

    def __init__(self) -> None:
        super().__init__()
        self._opened: list[object] = []  # letting go of a server may wait for ever

    def open(self, file: Path) -> XllamacppModel:
        import xllamacpp  # type: ignore[import-not-found, unused-ignore]

        began = time.monotonic()
        server = with_stderr(lambda: xllamacpp.Server(_parameters(xllamacpp, file)))
        load_s = time.monotonic() - began
        self._opened.append(server)
        tokens = self.metadata().get("tokenizer.ggml.tokens") or ()
        return XllamacppModel(server, load_s, tokens, self.load_perturbed, shrunk=self.shrunk)

    def quantised(self, subject: Subject, kind: str) -> Any:
        if kind != "q8_0":
            raise UnavailableError(f"xllamacpp has no quantiser, and llama.cpp's converter makes no {kind}")
        self.convert(subject, kind)
        return self.load_file(file_of(kind))

    def tokenizer(self, folder: Path) -> XllamacppTokenizer:  # noqa: ARG002 -- it is in the converted file
        return XllamacppTokenizer(self.loaded().listening(), self.metadata())

    def serve(self, subject: Subject) -> tuple[Server, float]:
        """Return the server that began with the model."""
        model: Any = subject.model
        return model.listening(), model.load_s


class XllamacppModel(LlamaCppModel):
    def __init__(
        self, server: Any, load_s: float, tokens: Sequence[str], load_perturbed: Callable[[], Any], *, shrunk: bool
    ) -> None:
        super().__init__(load_perturbed)
        self._server, self.load_s = server, load_s
        self._width = min(len(tokens) or _WIDEST, _WIDEST)
        self._letter = next((index for index, token in enumerate(tokens) if len(token) == 1 and token.isalpha()), None)
        # some releases have no answer but an error for bytes that are no text, which random weights generate
        self._unreadable = [[index, False] for index, token in enumerate(tokens) if shrunk and not _readable(token)]
        self._http: Server | None = None

    def listening(self) -> Server:
        """Return the server's HTTP side; releases that do not name its address have none."""
        if self._http is None:
            address = getattr(self._server, "listening_address", None)
            if not address:
                raise UnavailableError("this release has no HTTP server, only calls for completions")
            listed = Server(str(address), "").get("/v1/models")["data"]
            self._http = Server(str(address), str(listed[0]["id"]))
        return self._http

    def forward(self, row: Sequence[int]) -> PlainTrace:
        ids = list(row)

        @functools.cache
        def compute(position: int) -> dict[int, float]:
            return self._step(ids[: position + 1], cache=False).rows[0]

        return PlainTrace(LazyRows(compute, range(len(ids))))

    def generate(self, rows: Sequence[Sequence[int]], steps: int, plan: Plan) -> list[Generated]:
        if plan.eos is not None:
            raise UnavailableError("its server ends at texts, and at no token of a caller's choosing")
        if len(rows) > 1:
            raise UnavailableError("its server has no batch that is padded on the left")
        row = list(rows[0])
        if plan.forced:
            return [self._along(row, plan.forced[0], plan)]
        answer = self._ask(row, steps, cache=plan.cache, ignore_eos=plan.full_length, logit_bias=self._unreadable)
        return [Generated(answer.tokens, PlainTrace(answer.rows), None)]

    def _along(self, row: list[int], forced: Sequence[int], plan: Plan) -> Generated:
        """Go along given tokens, each asked with all before it; the cache keeps what is known of the prefix, or not."""
        answers: list[_Answer] = []
        for step, token in enumerate(forced):
            if plan.full_length:
                answers.append(self._step([*row, *forced[:step]], cache=plan.cache))
                continue
            # without the cache: taking back what was pushed too far ends an old release's hybrids
            pushed = self._ask([*row, *forced[:step]], 2, cache=False, logit_bias=[[token, _PUSHED]])
            answers.append(pushed)
            if pushed.ended:
                break
        read = [answer.read for answer in answers[1:]]
        cached = all(count == 1 for count in read) if read and None not in read else None
        trace = PlainTrace([answer.rows[0] for answer in answers if answer.rows])
        return Generated(list(forced[: len(answers)]), trace, cached)

    def _step(self, ids: list[int], *, cache: bool) -> _Answer:
        # log-probabilities do not depend on the token that is drawn: a letter, because the server holds back those of
        # a token that is no whole character
        bias = {} if self._letter is None else {"logit_bias": [[self._letter, _PUSHED]]}
        answer = self._ask(ids, 1, cache=cache, **bias)
        if len(answer.rows) != 1:
            raise ReportedError(f"{len(answer.rows)} positions have log-probabilities where one token was asked for")
        return answer

    def _ask(self, ids: list[int], steps: int, *, cache: bool, **more: Any) -> _Answer:
        # each kind has a slot of its own: a hybrid's checkpoints of an uncached prompt outlive it, and the next prompt
        # that asks for the cache goes on from one of them, whatever stood there (seen in 2026.10: 0.27 nat off)
        slot = 0 if cache else 1
        request = {"prompt": ids, "n_predict": steps, "max_tokens": steps, "n_probs": self._width,
                   "logprobs": self._width, "temperature": 0.0, "cache_prompt": cache, "return_tokens": True,
                   "id_slot": slot, **more}  # fmt: skip
        if hasattr(self._server, "listening_address"):
            return _Answer(self.listening().post("/completion", request))
        return _Answer(self._call(self._server.handle_completions, request))

    @staticmethod
    def _call(handle: Callable[..., Any], request: dict[str, Any]) -> Any:
        """Ask in this process: newer releases take and return objects, older ones texts and two callbacks."""
        try:
            answer = handle(request)
        except TypeError:
            texts: list[Any] = []
            handle(json.dumps(request), texts.append, texts.append)
            answer = json.loads(texts[-1])
        if "prompt must be a string" in str(answer):
            raise UnavailableError("this release takes texts, and no token ids")
        if not isinstance(answer, dict) or "choices" not in answer:
            raise ServerError(f"the request is refused: {str(answer)[:300]}")
        return answer


class _Answer:
    """One answer: its tokens, each position's log-probabilities, how much of the prompt was computed, and its end."""

    def __init__(self, answer: dict[str, Any]) -> None:
        choice = (answer.get("choices") or [{}])[0]
        positions = answer.get("completion_probabilities") or (choice.get("logprobs") or {}).get("content") or []
        self.rows = [{top["id"]: top["logprob"] for top in position["top_logprobs"]} for position in positions]
        self.tokens = list(answer.get("tokens") or [position["id"] for position in positions])
        self.read = (answer.get("timings") or {}).get("prompt_n")
        self.ended = answer.get("stop_type") in {"eos", "word"} or choice.get("finish_reason") == "stop"


class XllamacppTokenizer(Specials):
    """The tokenizer as the server answers for it."""

    def __init__(self, server: Server, metadata: dict[str, Any]) -> None:
        super().__init__(metadata)
        self._server = server

    def encode(self, text: str) -> list[int]:
        request = {"content": text, "add_special": False, "parse_special": False}
        return list(self._server.post("/tokenize", request)["tokens"])

    def decode(self, ids: Sequence[int]) -> str:
        return str(self._server.post("/detokenize", {"tokens": list(ids)})["content"])

    def render(self, messages: list[dict[str, Any]], **settings: Any) -> str:
        request = {"messages": messages, "chat_template_kwargs": {**self.template_date(), **settings}}
        return self.with_beginning(str(self._server.post("/apply-template", request)["prompt"]))


def _readable(token: str) -> bool:
    return token.lstrip("▁Ġ").isascii() and token.lstrip("▁Ġ").isprintable() and not token.startswith(("<", "[PAD"))


def _parameters(xllamacpp: Any, file: Path) -> Any:
    """Return how to load: float32 throughout, one thread, nothing guessed. Releases differ in their parameters."""
    parameters = xllamacpp.CommonParams()
    if hasattr(parameters.model, "path"):
        parameters.model.path = str(file)
    else:
        parameters.model = str(file)
    for part in (parameters.cpuparams, parameters.cpuparams_batch):
        part.n_threads = threads()
    wanted = {
        "n_ctx": CONTEXT * _SLOTS,
        "n_parallel": _SLOTS,
        "n_batch": CONTEXT,
        "n_ubatch": CONTEXT,
        "n_gpu_layers": 0,
        "warmup": False,
        "use_jinja": True,
        "swa_full": True,  # so that a window's cache can go on from any prefix
        "fit_params": False,
        "cache_ram_mib": 0,
        "port": 0,
        "hostname": "127.0.0.1",
        "hostnames": ["127.0.0.1"],
        "cache_type_k": xllamacpp.ggml_type.GGML_TYPE_F32,  # float16, the default, differs by 3e-3
        "cache_type_v": xllamacpp.ggml_type.GGML_TYPE_F32,
    }
    if flash := getattr(xllamacpp, "llama_flash_attn_type", None):  # before it, flash attention was off by default
        wanted["flash_attn_type"] = flash.LLAMA_FLASH_ATTN_TYPE_DISABLED  # it sums in half precision: 1e-3 off
    for name, value in wanted.items():
        if hasattr(parameters, name):
            with contextlib.suppress(AttributeError, TypeError):  # it is there, and reads only
                setattr(parameters, name, value)
    return parameters


ADAPTER = Xllamacpp
