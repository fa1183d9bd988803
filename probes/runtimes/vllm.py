"""vLLM, from 0.10 on: its offline engine in the process that asks, eager, in float32 where it takes that."""

from __future__ import annotations

import contextlib
import gc
import importlib
import os
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from probes.checkpoint import read_config, text_part
from probes.runtimes import Generated, Plan, Trace, UnavailableError, imported_versions
from probes.runtimes.traces import PlainTrace, Tokenizer, TorchAdapter, perturbed
from probes.runtimes.vllm_errors import PHRASES, assertions_in_words, wants_bfloat16
from probes.runtimes.vllm_name import name_as_vllm
from probes.runtimes.vllm_server import NOTHING_BUT_TEXT, Understudy, become_server, serve
from probes.served import Server
from probes.subject import Subject

_CONTEXT = 1024  # tokens: longer than any prompt of the checks
_WHOLE_VOCABULARY = 4096  # up to here every log-probability is asked for, beyond it the likeliest
_LIKELIEST = 20  # vLLM's default maximum
_EMBEDDING = "VocabParallelEmbedding"
_FORCING = "probes.runtimes.vllm_forcing:Forcing"  # by name: some releases pickle what they are given
# what an engine and a server import when they are made
_LATER = """vllm.v1.engine.llm_engine vllm.v1.engine.core vllm.v1.executor.uniproc_executor vllm.v1.worker.cpu_worker
    vllm.model_executor.model_loader.default_loader vllm.model_executor.models.llama
    vllm.v1.attention.backends.cpu_attn vllm.v1.structured_output vllm.v1.engine.async_llm
    vllm.entrypoints.openai.api_server vllm.entrypoints.cli.main vllm.entrypoints.cli.serve""".split()  # noqa: SIM905 -- words


class Vllm(TorchAdapter):
    abilities = ("checkpoint", "tokens", "batches", "template", "comparison", "server", "token-bias")
    phrases = PHRASES

    def __init__(self, start_server: Callable[..., tuple[Server, float]] = serve) -> None:
        self._start_server = start_server
        self._model: VllmModel | None = None
        self._primed = False
        self._understudy: Understudy | None = None

    def load(self) -> dict[str, str]:
        scratch = Path(tempfile.gettempdir(), "probe-home")
        for name in ("HOME", "HF_HOME", "VLLM_CACHE_ROOT", "VLLM_CONFIG_ROOT", "XDG_CACHE_HOME"):
            os.environ[name] = str(scratch / name.lower())
        name_as_vllm(scratch / "names")
        import torch
        import vllm

        torch.set_num_threads(1)  # a thread pool does not survive a fork; children choose their own number
        # lazily resolved: a broken dependency shows here, as it does for every user
        for name in ("LLM", "SamplingParams", "ModelRegistry"):
            getattr(vllm, name)
        names = ("vllm", "torch", "transformers", "tokenizers", "safetensors", "huggingface_hub", "numpy", "xgrammar")
        return imported_versions(*names)

    def prime(self) -> None:
        """Import what an engine imports when it is made; making one here would leave threads that a fork loses."""
        for name in _LATER:
            with contextlib.suppress(ImportError):  # releases move their modules; then a subject's engine imports it
                importlib.import_module(name)
        self._primed = True

    def after_fork(self) -> None:
        if self._primed:  # else the server is started as users start it
            self._understudy = Understudy(_become_server)
        super().after_fork()

    def registered(self) -> int:
        from vllm import ModelRegistry

        return len(ModelRegistry.get_supported_archs())

    def config(self, folder: Path) -> Any:
        """Return which classes the model may run as; raises ValueError in vLLM's words without one.

        vLLM runs what is not in its table with the code of transformers, where that declares it.
        """
        from vllm import ModelRegistry

        written = read_config(folder)
        named = written.get("architectures") or []
        known = ModelRegistry.get_supported_archs()
        classes = [name for name in named if name in known]
        if classes or any(_delegable(name) for name in named):
            return {"architectures": named, "classes": classes}
        if written.get("auto_map"):
            raise ValueError(f"the model of {named} contains custom code, which is not run")
        raise ValueError(f"Model architectures {named} are not supported for now")

    def model(self, folder: Path, config: Any, config_json: dict[str, Any], attention: str) -> VllmModel:
        """Load with the one attention that vLLM chooses itself, whatever is asked."""
        del attention
        from vllm import LLM

        for name in config["classes"]:
            _register_here(name)
        context, width = sizes(config_json)
        limits = {"limit_mm_per_prompt": dict(NOTHING_BUT_TEXT)} if self._only_text(config_json) else {}

        def engine(dtype: str) -> Any:
            return LLM(
                model=str(folder), dtype=dtype, enforce_eager=True, seed=0, trust_remote_code=False,
                max_model_len=context, max_num_seqs=8, max_num_batched_tokens=context, max_logprobs=width,
                disable_log_stats=True, logits_processors=[_FORCING], **limits,
            )  # fmt: skip

        # what is not in its table runs with the code of transformers, and equals that for no other reason
        self._model = VllmModel(engine, width, classes=config["classes"])
        return self._model

    def _only_text(self, config_json: dict[str, Any]) -> bool:
        """Return whether a whole model is asked for text alone: vLLM looks for no processor then."""
        return self.text_only and "text_config" in config_json

    def tokenizer(self, folder: Path) -> VllmTokenizer:
        return VllmTokenizer(_tokenizer_of(folder), self._model)

    def serve(self, subject: Subject) -> tuple[Server, float]:
        """Start the server in processes of its own, which need the memory of the engine here."""
        if self._model is None or not self._model.answered:
            raise UnavailableError("the engine computes nothing, and a server would wait for the same engine")
        self._model.close()
        names, context = Path(os.environ["HOME"]).parent / "names", sizes(subject.config_json)[0]
        # the control's server is a fresh process, so that what breaks only those shows in every environment
        understudy = None if subject.control else self._understudy
        return self._start_server(
            subject.folder, names=names, context=context, understudy=understudy, classes=self._model.classes,
            text_only=self._only_text(subject.config_json), dtype=self._model.dtype,
        )  # fmt: skip


class VllmModel:
    attention = ""

    def __init__(self, engine: Callable[[str], Any], width: int, *, classes: Sequence[str]) -> None:
        self.classes = classes  # of its own table that the model runs as
        self.independent = bool(classes)
        self._make = engine  # one by its dtype
        self._width = width
        self.answered = False
        self.dtype, self.coarse = "float32", ""
        if not self._taken(self._load):
            self._load_in_bfloat16()

    def _load(self) -> None:
        with assertions_in_words():
            self._engine = self._make(self.dtype)
        try:
            self.module = self._engine.apply_model(lambda module: module)[0]
        except (AttributeError, TypeError, ValueError):  # its class is only shown in a message
            self.module = self._engine

    def _load_in_bfloat16(self) -> None:
        """Load as users do: what is published is bfloat16, and some kernels of vLLM compute in nothing else."""
        self.close()
        self.dtype, self.coarse = "bfloat16", "vLLM computes this model in bfloat16 alone"
        self._load()

    def forward(self, row: Sequence[int]) -> Trace:
        """Ask for the log-probabilities of the prompt, which vLLM computes, and of one token after it."""
        (answer,) = self._ask([row], [self._params(1, ignore_eos=True, prompt_logprobs=self._width)])
        before = [_row(position) for position in answer.prompt_logprobs[1:]]
        return PlainTrace([*before, _row(answer.outputs[0].logprobs[0])])

    def perturb(self, row: Sequence[int]) -> Trace:
        import torch

        modules = self.module.modules() if isinstance(self.module, torch.nn.Module) else ()
        embeddings = [module for module in modules if type(module).__name__ == _EMBEDDING]
        if not embeddings:
            raise UnavailableError("the model has no embedding by the name that vLLM gives it")
        with perturbed(embeddings):
            return self.forward(row)

    def generate(self, rows: Sequence[Sequence[int]], steps: int, plan: Plan) -> list[Generated]:
        if not plan.cache:
            return [self._without_cache(row, steps, forced) for row, forced in zip(rows, plan.forced)]
        options: dict[str, Any] = {"ignore_eos": plan.full_length}
        if plan.eos is not None:
            options["stop_token_ids"] = list(plan.eos)
        each = [
            self._params(steps, **options, **({"extra_args": {"forced": list(row)}} if row else {}))
            for row in (plan.forced or ((),) * len(rows))
        ]
        generated = []
        for answer in self._ask(rows, each):
            tokens = list(answer.outputs[0].token_ids)
            trace = PlainTrace([_row(position) for position in answer.outputs[0].logprobs])
            # an engine with a paged cache never computes again what it has generated
            generated.append(Generated(tokens, trace, True if len(tokens) > 1 else None))
        return generated

    def _without_cache(self, row: Sequence[int], steps: int, forced: Sequence[int]) -> Generated:
        """Generate without the cache: each step is a prompt of its own, computed again."""
        rows = []
        for step in range(steps):
            trace = self.forward([*row, *forced[:step]])
            rows.append(trace[len(trace) - 1 :].rows[0])  # type: ignore[attr-defined]
        return Generated(list(forced[:steps]), PlainTrace(rows), cached=False)

    def _params(self, steps: int, **options: Any) -> Any:
        from vllm import SamplingParams

        return SamplingParams(temperature=0.0, max_tokens=steps, logprobs=self._width, detokenize=False, **options)

    def _ask(self, rows: Sequence[Sequence[int]], params: list[Any]) -> list[Any]:
        answers: list[Any] = []
        if not self._taken(lambda: answers.extend(self._generated(rows, params))):
            self._load_in_bfloat16()
            answers = self._generated(rows, params)
        self.answered = True
        return answers

    def _taken(self, ask: Callable[[], None]) -> bool:
        """Return whether vLLM does what is asked in this type; it raises whatever else is wrong."""
        try:
            ask()
        except Exception as error:
            if self.coarse or not wants_bfloat16(error):
                raise
            return False  # out of here the error is let go, and with its frames the engine
        return True

    def _generated(self, rows: Sequence[Sequence[int]], params: list[Any]) -> list[Any]:
        prompts = [{"prompt_token_ids": list(row)} for row in rows]
        with assertions_in_words():
            return list(self._engine.generate(prompts, params, use_tqdm=False))

    def chat(self, messages: list[dict[str, Any]]) -> Any:
        """Return how a chat went through an engine that computes."""
        if not self.answered:
            raise UnavailableError("the engine computes nothing, and a chat is rendered on its way through it")
        return self._engine.chat(messages, self._params(1), use_tqdm=False)[0]

    def close(self) -> None:
        self._engine = self.module = None
        gc.collect()


class VllmTokenizer(Tokenizer):
    def __init__(self, tokenizer: Any, model: VllmModel | None) -> None:
        super().__init__(tokenizer)
        self._model = model

    def render(self, messages: list[dict[str, Any]]) -> str:
        """Return what a chat becomes on its way into the engine: as text where vLLM keeps it, else from its tokens."""
        if self._model is None:
            raise UnavailableError("no engine was loaded, and a chat is rendered on its way through it")
        answer = self._model.chat(messages)
        return answer.prompt if isinstance(answer.prompt, str) else self.decode(answer.prompt_token_ids)


def sizes(config_json: dict[str, Any]) -> tuple[int, int]:
    """Return how many tokens are asked of a context, and of how many tokens the log-probability is asked."""
    text = text_part(config_json)
    longest = text.get("max_position_embeddings")
    vocabulary = text.get("vocab_size") or config_json.get("vocab_size") or 0
    context = min(_CONTEXT, longest) if isinstance(longest, int) and longest > 0 else _CONTEXT
    return context, vocabulary if 0 < vocabulary <= _WHOLE_VOCABULARY else _LIKELIEST


def _delegable(architecture: str) -> bool:
    """Return whether transformers has the class in a form that vLLM can run."""
    import transformers

    known = getattr(transformers, architecture, None)
    compatible = getattr(known, "is_backend_compatible", None)
    return bool(compatible()) if callable(compatible) else bool(getattr(known, "_supports_attention_backend", False))


def _register_here(architecture: str) -> None:
    """Import the class in this process: vLLM would inspect it in another one, which imports all of it again.

    There a failure's cause is only in the log; here it is the exception.
    """
    from vllm import ModelRegistry

    ModelRegistry.register_model(architecture, ModelRegistry.models[architecture].load_model_cls())


def _become_server(request: dict[str, Any]) -> None:
    for name in request["classes"]:
        _register_here(name)
    become_server(request)


def _tokenizer_of(folder: Path) -> Any:
    """Call vLLM's own function, wherever this release has it."""
    for name in ("vllm.tokenizers", "vllm.transformers_utils.tokenizer"):
        try:
            get_tokenizer = importlib.import_module(name).get_tokenizer
        except (ImportError, AttributeError):
            continue
        return get_tokenizer(str(folder), trust_remote_code=False)
    raise UnavailableError("this release has no function of its own that makes a tokenizer")


def _row(position: Any) -> dict[int, float]:
    return {int(name): float(entry.logprob) for name, entry in position.items()}


ADAPTER = Vllm
