"""Hugging Face transformers, from 4.49 on: float32, on the CPU, never remote code, never pickle."""

from __future__ import annotations

import functools
import os
import random
import re
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from probes.checkpoint import makes_text, read_config
from probes.configuration import ROPE, Effective
from probes.runtimes import (
    Generated,
    Loading,
    Pictured,
    Plan,
    Trace,
    UnavailableError,
    imported_versions,
    processing,
    rebuilding,
    tensors,
    ways,
)
from probes.runtimes.auto_classes import auto_class
from probes.runtimes.traces import Forced, Tokenizer, TorchAdapter, TorchTrace, perturbed

if TYPE_CHECKING:
    from probes.pictures import Picture
    from probes.subject import Subject

_QUIET = {
    "HF_HUB_OFFLINE": "1",
    "TRANSFORMERS_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "TRANSFORMERS_NO_ADVISORY_WARNINGS": "1",
    "TOKENIZERS_PARALLELISM": "false",
}
_ABSENT = object()
_WORD = re.compile(r"[A-Za-z_]\w*")


class Transformers(TorchAdapter):
    loads_forms = True
    abilities: tuple[str, ...] = (
        "checkpoint", "configuration", "tensors", "tokens", "batches", "attentions", "template", "reference",
        "vectors", "rebuilds", "images", "ways",
    )  # fmt: skip

    def load(self) -> dict[str, str]:
        scratch = Path(tempfile.gettempdir(), "probe-home")
        os.environ.update(_QUIET)
        for name in ("HF_HOME", "TORCHINDUCTOR_CACHE_DIR", "XDG_CACHE_HOME"):
            os.environ.setdefault(name, str(scratch / name.lower()))
        import torch
        import transformers

        torch.set_num_threads(1)  # a thread pool does not survive a fork; children choose their own number
        torch.use_deterministic_algorithms(True, warn_only=True)
        torch.utils.deterministic.fill_uninitialized_memory = False  # as users have it
        # lazily resolved: a broken dependency shows here, as it does for every user
        for name in ("AutoConfig", "AutoTokenizer", "AutoModelForCausalLM", "AutoModelForImageTextToText"):
            getattr(transformers, name)
        names = ("torch", "transformers", "tokenizers", "safetensors", "huggingface_hub", "numpy", "accelerate")
        return imported_versions(*names)

    def prime(self) -> None:
        import transformers

        config = transformers.LlamaConfig(
            vocab_size=64, hidden_size=32, intermediate_size=32, num_hidden_layers=1, num_attention_heads=2,
            num_key_value_heads=2, max_position_embeddings=64, pad_token_id=0, bos_token_id=1, eos_token_id=2,
        )  # fmt: skip
        with tempfile.TemporaryDirectory() as folder:
            transformers.LlamaForCausalLM(config).save_pretrained(folder)
            self.prime_with(Path(folder), self.config(Path(folder)), {"architectures": ["LlamaForCausalLM"]})

    def prime_with(self, folder: Path, config: Any, config_json: dict[str, Any]) -> None:
        """Do once with a small model what the checks do."""
        import torch

        self.effective(config, config_json)
        for attention in ("eager", "sdpa"):
            model = self.model(folder, config, config_json, attention)
        model.generate([[3, 4], [5]], 2, Plan(forced=((6, 7), (6, 7))))
        torch.isin(torch.arange(4), torch.arange(2)).all()
        self._prime_tokenizer(folder)

    def _prime_tokenizer(self, folder: Path) -> None:
        import tokenizers

        words = {"<unk>": 0, "a": 1}
        tokenizers.Tokenizer(tokenizers.models.WordLevel(words)).save(str(folder / "tokenizer.json"))
        (folder / "tokenizer_config.json").write_text(
            '{"tokenizer_class": "PreTrainedTokenizerFast", "unk_token": "<unk>", "chat_template": "{{ messages }}"}'
        )
        tokenizer = self.tokenizer(folder)
        tokenizer.render([{"role": "user", "content": "a"}])
        tokenizer.decode(tokenizer.encode("a"))

    def seed(self, seed: int) -> None:
        import torch

        random.seed(seed)
        torch.manual_seed(seed)
        if "numpy" in sys.modules:
            sys.modules["numpy"].random.seed(seed)

    def registered(self) -> int:
        from transformers.models.auto.configuration_auto import CONFIG_MAPPING

        return len(list(CONFIG_MAPPING.keys()))

    def knows(self, model_type: str) -> bool:
        from transformers.models.auto.configuration_auto import CONFIG_MAPPING

        return model_type in CONFIG_MAPPING

    def config(self, folder: Path) -> Any:
        import transformers

        return transformers.AutoConfig.from_pretrained(folder, trust_remote_code=False, local_files_only=True)

    def effective(self, config: Any, config_json: dict[str, Any]) -> Effective:
        read = _words_of(type(config).__module__) | set(getattr(config, "attribute_map", None) or ())
        values, parts = {}, {}
        for key in {*config_json, *ROPE, "layer_types"}:
            value = _value(config, key)
            if value is _ABSENT:
                continue
            if isinstance(config_json.get(key), dict) and hasattr(value, "to_dict"):
                parts[key] = self.effective(value, config_json[key])
            else:
                values[key] = value
        return Effective(values, read, parts, rebuilding.defaults(type(config)))

    def model(
        self, folder: Path, config: Any, config_json: dict[str, Any], attention: str, **options: Any
    ) -> TransformersModel:
        model = self._loaded(folder, config, config_json, attention, "float32", **options)
        # tensors that the runtime keeps in another type, such as a scale, become float32 too
        model.module.float()
        return model

    def halved(self, folder: Path, config: Any, config_json: dict[str, Any]) -> TransformersModel:
        return self._loaded(folder, config, config_json, "", "bfloat16")

    def _loaded(
        self, folder: Path, config: Any, config_json: dict[str, Any], attention: str, dtype: str, **options: Any
    ) -> TransformersModel:
        import torch
        import transformers

        named = "dtype" if int(transformers.__version__.split(".")[0]) >= 5 else "torch_dtype"  # noqa: PLR2004 -- renamed
        try:
            model, info = auto_class(config, config_json).from_pretrained(
                folder,
                attn_implementation=attention or None,
                trust_remote_code=False,
                use_safetensors=True,
                local_files_only=True,
                output_loading_info=True,
                **{named: getattr(torch, dtype), **options},
            )
        except ValueError as error:
            if "does not support an attention implementation" in str(error):
                raise UnavailableError(str(error)) from error
            raise
        return TransformersModel(model.eval(), info, folder, embeds=not makes_text(config_json))

    def form(self, folder: Path, subject: Subject) -> TransformersModel:  # noqa: ARG002 -- the folder says it all
        import transformers

        config_json = read_config(folder)
        options: dict[str, Any] = {}
        named = getattr(transformers, "Mxfp4Config", None)
        if named is not None and config_json.get("quantization_config", {}).get("quant_method") == "mxfp4":
            options["quantization_config"] = named(dequantize=True)  # as its documentation says for a processor
        return self.model(folder, self.config(folder), config_json, "eager", **options)

    def attentions(self, model: TransformersModel) -> tuple[str, ...]:
        return ("sdpa",) if getattr(model.module, "_supports_sdpa", False) else ()

    def tokenizer(self, folder: Path) -> TransformersTokenizer:
        import transformers

        return TransformersTokenizer(
            transformers.AutoTokenizer.from_pretrained(folder, trust_remote_code=False, local_files_only=True)
        )


class TransformersModel:
    independent = False

    def __init__(self, module: Any, info: dict[str, Any], folder: Path, *, embeds: bool = False) -> None:
        self.module = module
        self._text = _text_module(module)
        self._embeds = embeds  # its answers are vectors; they are compared as logits are
        self._body = module.base_model if embeds else module  # what makes them, without the head for scores
        self._info = info
        self._folder = folder
        self._processor: Any = None
        generation = getattr(module, "generation_config", None)  # a model without a head has none
        eos = getattr(generation, "eos_token_id", None)
        pad = getattr(generation, "pad_token_id", None)
        self.eos = [] if eos is None else list(eos) if isinstance(eos, (list, tuple)) else [int(eos)]
        self._pad = next((item for item in (pad, *self.eos) if isinstance(item, int) and item >= 0), 0)

    @property
    def attention(self) -> str:
        config = self.module.config
        inner = getattr(config, "text_config", None) or config
        return str(getattr(inner, "_attn_implementation", "") or "")

    def forward(self, row: Sequence[int]) -> Trace:
        import torch

        ids = torch.tensor([list(row)])
        with torch.inference_mode():
            if self._embeds:
                return TorchTrace(self._body(input_ids=ids, attention_mask=torch.ones_like(ids)).last_hidden_state[0])
            logits = self._text(input_ids=ids, attention_mask=torch.ones_like(ids), use_cache=False).logits
        return TorchTrace(logits[0])

    def vectors(self, rows: Sequence[Sequence[int]]) -> list[Trace]:
        answer = self._padded(self._body, rows).last_hidden_state
        return [TorchTrace(answer[index, : len(row)]) for index, row in enumerate(rows)]

    def scores(self, rows: Sequence[Sequence[int]]) -> list[list[float]]:
        return [list(map(float, row)) for row in self._padded(self.module, rows).logits]

    def _padded(self, module: Any, rows: Sequence[Sequence[int]]) -> Any:
        import torch

        width = max(map(len, rows))
        ids = torch.tensor([list(row) + [self._pad] * (width - len(row)) for row in rows])
        mask = torch.tensor([[1] * len(row) + [0] * (width - len(row)) for row in rows])
        with torch.inference_mode():
            return module(input_ids=ids, attention_mask=mask)

    def perturb(self, row: Sequence[int]) -> Trace:
        with perturbed([self._text.get_input_embeddings()]):
            return self.forward(row)

    def generate(self, rows: Sequence[Sequence[int]], steps: int, plan: Plan) -> list[Generated]:
        import torch

        if self._embeds:
            raise UnavailableError("the model makes no text")
        width = max(map(len, rows))
        ids = torch.tensor([[self._pad] * (width - len(row)) + list(row) for row in rows])
        mask = torch.tensor([[0] * (width - len(row)) + [1] * len(row) for row in rows])
        options: dict[str, Any] = {"pad_token_id": self._pad, "use_cache": plan.cache}
        if plan.eos is not None:
            options["eos_token_id"] = list(plan.eos)
        if plan.full_length:
            options["min_new_tokens"] = steps
        if plan.forced:
            options["logits_processor"] = [Forced(plan.forced, width)]
        widths: list[int] = []
        hook = self._text.register_forward_pre_hook(functools.partial(_note_width, widths), with_kwargs=True)
        try:
            with torch.inference_mode():
                answer = self._text.generate(
                    input_ids=ids, attention_mask=mask, max_new_tokens=steps, do_sample=False, num_beams=1,
                    return_dict_in_generate=True, output_logits=True, **options,
                )  # fmt: skip
        finally:
            hook.remove()
        cached = all(each == 1 for each in widths[1:]) if len(widths) > 1 else None
        logits = torch.stack(list(answer.logits), dim=1)
        tokens = answer.sequences[:, width:].tolist()
        return [Generated(row, TorchTrace(logits[index]), cached) for index, row in enumerate(tokens)]

    def pictured(self, words: Sequence[str], pictures: Sequence[Picture], forced: Sequence[int] = ()) -> Pictured:
        self._processor = self._processor or processing.processor(self._folder)
        return processing.pictured(self.module, self._processor, words, pictures, forced)

    def ways(self) -> ways.TransformersWays:
        if self._embeds:
            raise UnavailableError("an embedding model generates no text")
        return ways.TransformersWays(self._text, self._pad)

    def rebuilt(self, config: Any) -> TransformersModel:
        module = rebuilding.rebuilt(self.module, config)
        return TransformersModel(module, self._info, self._folder, embeds=self._embeds)

    def loading(self, *, values: bool) -> Loading:
        reported = tensors.reported(self._info)
        return tensors.loading(self.module, reported, self._folder) if values else reported

    def parts(self) -> dict[str, int]:
        return tensors.parts(self.module)

    def save(self, folder: Path) -> None:
        self.module.save_pretrained(folder)


class TransformersTokenizer(Tokenizer):
    def decode(self, ids: Sequence[int]) -> str:
        text = self._tokenizer.decode(list(ids), skip_special_tokens=False, clean_up_tokenization_spaces=False)
        return str(text)

    def render(self, messages: list[dict[str, Any]]) -> str:
        text = self._tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
        return str(text)


def _text_module(module: Any) -> Any:
    """Return the part for text of a model that has no forward pass as a whole, such as Qwen 3 Omni."""
    import torch

    part = getattr(module, "thinker", None)
    has_none = isinstance(module, torch.nn.Module) and type(module).forward is torch.nn.Module.forward
    return part if part is not None and has_none else module


def _note_width(widths: list[int], _module: Any, arguments: tuple[Any, ...], named: dict[str, Any]) -> None:
    """Note how many tokens one step is given: with a cache the new one, without one all of them.

    Models name their caches differently; this holds for all.
    """
    inputs = (*arguments[:1], named.get("input_ids"), named.get("inputs_embeds"))
    widths += [int(given.shape[1]) for given in inputs if given is not None][:1]


def _value(config: Any, key: str) -> Any:
    try:
        return getattr(config, key, _ABSENT)
    except Exception:  # noqa: BLE001 -- newer releases raise, in a class of their own, for a value that layers override
        return config.to_dict().get(key, _ABSENT)


@functools.cache
def _words_of(module: str) -> frozenset[str]:
    """Return every word in the code of the architecture, which shows whether it can read a key at all."""
    architecture = Path(str(sys.modules[module].__file__)).parent
    words: set[str] = set()
    for path in [*architecture.glob("configuration_*.py"), *architecture.glob("modeling_*.py")]:
        words |= _words_in(path)
    takes_parameters = "rope_parameters" in words
    for name in ("modeling_rope_utils.py", "configuration_utils.py"):
        words |= _words_in(architecture.parent.parent / name)
    return frozenset(words if takes_parameters else words - {"rope_parameters"})


@functools.cache
def _words_in(path: Path) -> frozenset[str]:
    return frozenset(_WORD.findall(path.read_text(encoding="utf-8"))) if path.is_file() else frozenset()


ADAPTER = Transformers
