"""xllamacpp: llama.cpp's server code in this process, over HTTP where it listens, else through its own calls."""

from __future__ import annotations

import contextlib
import functools
import json
import os
import time
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from probes.faults import ReportedError
from probes.runtimes import Generated, UnavailableError
from probes.runtimes.llamacpp import CONTEXT, LlamaCpp, Specials, StderrCapture, captured_stderr, file_of
from probes.runtimes.traces import AskedTrace, PlainTrace
from probes.served import Server, ServerError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from probes.runtimes import Plan
    from probes.subject import Subject

_SLOTS = 4  # conversations side by side
_WIDEST = 1024  # of the vocabulary, what is asked of each position: all of a miniature's
_PUSHED = 1e4  # beyond every logit


class Xllamacpp(LlamaCpp):
    def __init__(self) -> None:
        super().__init__()
        self._model: XllamacppModel | None = None
        self._kept: list[object] = []  # letting go of a server may wait for ever

    def load(self) -> dict[str, str]:
        imported = self.converter.load()
        import xllamacpp  # type: ignore[import-not-found, unused-ignore]  # noqa: F401 -- the import is what is asked

        return {"xllamacpp": version("xllamacpp"), **imported}

    def model(self, folder: Path, config: Any, config_json: dict[str, Any], attention: str) -> XllamacppModel:  # noqa: ARG002 -- it has the converted file
        if self.shrunk:
            self.tried(lambda: _started(file_of("f32")))
        self._model = self._opened("f32")
        if self.shrunk:
            tokens = self.metadata().get("tokenizer.ggml.tokens") or ()
            self._model.unreadable = [[index, False] for index, token in enumerate(tokens) if not _readable(token)]
        return self._model

    def quantised(self, subject: Subject, kind: str) -> XllamacppModel:
        if kind != "q8_0":
            raise UnavailableError(f"xllamacpp has no quantiser, and llama.cpp's converter makes no {kind}")
        self.converted(subject, kind)
        return self._opened(kind)

    def _opened(self, kind: str) -> XllamacppModel:
        tokens = self.metadata().get("tokenizer.ggml.tokens") or ()

        def load_perturbed() -> XllamacppModel:
            return XllamacppModel(self._begun(self.perturbed_file()), tokens)

        return XllamacppModel(self._begun(file_of(kind)), tokens, load_perturbed)

    def _begun(self, file: Path) -> tuple[Any, float]:
        try:
            started = _started(file)
        except ReportedError as error:
            raise self.refused(str(error)) from error
        self._kept.append(started)
        return started

    def tokenizer(self, folder: Path) -> XllamacppTokenizer:  # noqa: ARG002 -- it is in the converted file
        if self._model is None:
            raise UnavailableError("the tokenizer is a part of the loaded model, and none is loaded")
        return XllamacppTokenizer(self._model.listening(), self.metadata())

    def serve(self, subject: Subject) -> tuple[Server, float]:
        """Return the server that began with the model."""
        model: Any = subject.model
        return model.listening(), model.load_s


class XllamacppModel:
    attention = ""
    independent = True

    def __init__(
        self,
        started: tuple[Any, float],
        tokens: Sequence[str],
        load_perturbed: Callable[[], XllamacppModel] | None = None,
    ) -> None:
        self._server, self.load_s = started
        self._load_perturbed = load_perturbed
        self._width = min(len(tokens) or _WIDEST, _WIDEST)
        self._letter = next((index for index, token in enumerate(tokens) if len(token) == 1 and token.isalpha()), None)
        self.unreadable: list[list[Any]] = []  # tokens that are not to be drawn
        self._http: Server | None = None

    def listening(self) -> Server:
        """Return the server's HTTP side; releases before the one that tells its address have none."""
        if self._http is None:
            address = getattr(self._server, "listening_address", None)
            if not address:
                raise UnavailableError("this release has no HTTP server, only calls for completions")
            listed = Server(str(address), "").get("/v1/models")["data"]
            self._http = Server(str(address), str(listed[0]["id"]))
        return self._http

    def forward(self, row: Sequence[int]) -> AskedTrace:
        ids = list(row)

        @functools.cache
        def ask(place: int) -> dict[int, float]:
            return self._step(ids[: place + 1], cache=False).rows[0]

        return AskedTrace(ask, range(len(ids)))

    def perturb(self, row: Sequence[int]) -> AskedTrace:
        if self._load_perturbed is None:
            raise UnavailableError("this one is moved already")
        return self._load_perturbed().forward(row)

    def generate(self, rows: Sequence[Sequence[int]], steps: int, plan: Plan) -> list[Generated]:
        if plan.eos is not None:
            raise UnavailableError("its server ends at texts, and at no token of a caller's choosing")
        if len(rows) > 1:
            raise UnavailableError("its server has no batch that is padded on the left")
        row = list(rows[0])
        if plan.forced:
            return [self._along(row, plan.forced[0], plan)]
        # random weights say bytes that are no text, for which some releases have no answer but an error
        told = self._ask(row, steps, cache=plan.cache, ignore_eos=plan.full_length, logit_bias=self.unreadable)
        return [Generated(told.tokens, PlainTrace(told.rows), None)]

    def _along(self, row: list[int], forced: Sequence[int], plan: Plan) -> Generated:
        """Go along given tokens, each asked for with all before it: what is known of the prefix is kept, or not."""
        answers: list[_Told] = []
        for place, token in enumerate(forced):
            if plan.full_length:
                answers.append(self._step([*row, *forced[:place]], cache=plan.cache))
                continue
            # anew each time: what was pushed too far would have to be taken back, which ends an old release's hybrids
            pushed = self._ask([*row, *forced[:place]], 2, cache=False, logit_bias=[[token, _PUSHED]])
            answers.append(pushed)
            if pushed.ended:
                break
        read = [told.read for told in answers[1:]]
        cached = all(count == 1 for count in read) if read and None not in read else None
        trace = PlainTrace([told.rows[0] for told in answers if told.rows])
        return Generated(list(forced[: len(answers)]), trace, cached)

    def _step(self, ids: list[int], *, cache: bool) -> _Told:
        # what is said of a position is the model's own, whatever is drawn: a letter, for the server keeps back what it
        # has to say of a token that is no whole character
        bias = {} if self._letter is None else {"logit_bias": [[self._letter, _PUSHED]]}
        told = self._ask(ids, 1, cache=cache, **bias)
        if len(told.rows) != 1:
            raise ReportedError(f"{len(told.rows)} positions came with log-probabilities where one token was asked for")
        return told

    def _ask(self, ids: list[int], steps: int, *, cache: bool, **more: Any) -> _Told:
        # each kind has a slot of its own: a hybrid's checkpoints of an uncached prompt outlive it, and the next prompt
        # that asks for the cache goes on from one of them, whatever stood there (seen in 2026.10: 0.27 nat off)
        slot = 0 if cache else 1
        asked = {"prompt": ids, "n_predict": steps, "max_tokens": steps, "n_probs": self._width,
                 "logprobs": self._width, "temperature": 0.0, "cache_prompt": cache, "return_tokens": True,
                 "id_slot": slot, **more}  # fmt: skip
        if hasattr(self._server, "listening_address"):
            return _Told(self.listening().post("/completion", asked))
        return _Told(self._call(self._server.handle_completions, asked))

    @staticmethod
    def _call(handle: Callable[..., Any], asked: dict[str, Any]) -> Any:
        """Ask in this process: newer releases take and return objects, older ones texts and two callbacks."""
        try:
            told = handle(asked)
        except TypeError:
            heard: list[Any] = []
            handle(json.dumps(asked), heard.append, heard.append)
            told = json.loads(heard[-1])
        if "prompt must be a string" in str(told):
            raise UnavailableError("this release takes texts, and no token ids")
        if not isinstance(told, dict) or "choices" not in told:
            raise ServerError(f"the request is refused: {str(told)[:300]}")
        return told


class _Told:
    """One answer: its tokens, what was said of each position, how much of the prompt was read anew, and its end."""

    def __init__(self, answer: dict[str, Any]) -> None:
        choice = (answer.get("choices") or [{}])[0]
        said = answer.get("completion_probabilities") or (choice.get("logprobs") or {}).get("content") or []
        self.rows = [{one["id"]: one["logprob"] for one in position["top_logprobs"]} for position in said]
        self.tokens = list(answer.get("tokens") or [position["id"] for position in said])
        self.read = (answer.get("timings") or {}).get("prompt_n")
        self.ended = answer.get("stop_type") in {"eos", "word"} or choice.get("finish_reason") == "stop"


class XllamacppTokenizer(Specials):
    """The tokenizer as the server answers for it."""

    def __init__(self, server: Server, said: dict[str, Any]) -> None:
        super().__init__(said)
        self._server = server

    def encode(self, text: str) -> list[int]:
        asked = {"content": text, "add_special": False, "parse_special": False}
        return list(self._server.post("/tokenize", asked)["tokens"])

    def decode(self, ids: Sequence[int]) -> str:
        return str(self._server.post("/detokenize", {"tokens": list(ids)})["content"])

    def render(self, messages: list[dict[str, Any]], **settings: Any) -> str:
        asked = {"messages": messages, "chat_template_kwargs": {**self.own_date(), **settings}}
        return self.with_beginning(str(self._server.post("/apply-template", asked)["prompt"]))


def _readable(token: str) -> bool:
    return token.lstrip("▁Ġ").isascii() and token.lstrip("▁Ġ").isprintable() and not token.startswith(("<", "[PAD"))


def _started(file: Path) -> tuple[Any, float]:
    """Load a file with its server; what llama.cpp says of a failure is only on stderr."""
    import xllamacpp

    capture, began = StderrCapture(), time.monotonic()
    try:
        with captured_stderr(capture):
            server = xllamacpp.Server(_parameters(xllamacpp, file))
    except (RuntimeError, ValueError, OSError) as error:
        raise ReportedError(f"{error} | {capture.tail()}") from error
    return server, time.monotonic() - began


def _parameters(xllamacpp: Any, file: Path) -> Any:
    """Say how to load: float32 throughout, one thread, nothing guessed. Releases differ in what they know."""
    parameters = xllamacpp.CommonParams()
    if hasattr(parameters.model, "path"):
        parameters.model.path = str(file)
    else:
        parameters.model = str(file)
    threads = int(os.environ.get("OMP_NUM_THREADS") or 1)
    for part in (parameters.cpuparams, parameters.cpuparams_batch):
        part.n_threads = threads
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
