"""llama.cpp's converter, out of the sources in the environment: its architectures, and a checkpoint as GGUF."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from probes.checkpoint import optional_json, read_config, text_part
from probes.faults import FaultError

_SCRIPT = "convert_hf_to_gguf.py"
_REQUIREMENTS = "requirements/requirements-convert_legacy_llama.txt", "requirements/requirements-convert_hf_to_gguf.txt"
# what the byte-level tokenizers of our miniatures cut like, by what only their pattern has
_CUT_LIKE = (("\\p{M}", "qwen35"), ("\\p{L}", "qwen2"))
_PIECES = tuple(
    f"tokenizer.ggml.{key}" for key in ("model", "pre", "tokens", "scores", "token_type", "merges", "add_space_prefix")
)


class NotSupportedError(Exception):
    """The converter has no class for the architecture."""


class Converter:
    """Imported once; a conversion changes its classes, so each belongs into a process of its own."""

    def __init__(self, prefix: str = sys.prefix) -> None:
        self._sources = Path(prefix, "share", "sources")
        self._root = Path()
        self._module: Any = None  # where its classes live: one file, or a package since the middle of 2026
        self._find: Callable[[str], Any]

    def load(self) -> dict[str, str]:
        """Import the converter with everything it imports lazily; return the versions of what it stands on."""
        places = sorted(self._sources.rglob(_SCRIPT))
        if not places:
            raise RuntimeError(f"the environment's sources hold no {_SCRIPT}")
        self._root = places[0].parent
        # its gguf package belongs to it; an installed one may be of another day
        sys.path[:0] = [str(self._root), str(self._root / "gguf-py")]
        try:
            import convert_hf_to_gguf as script  # type: ignore[import-not-found, unused-ignore]
        except ModuleNotFoundError as error:
            message = f"the converter asks for {error.name}, which is not installed"
            raise FaultError("infra-recipe", message) from None
        import torch
        import transformers

        for name in ("AutoConfig", "AutoTokenizer", "PreTrainedTokenizerFast"):
            getattr(transformers, name)
        torch.set_num_threads(1)  # a thread pool does not survive a fork
        logging.getLogger().setLevel(logging.WARNING)
        package = sys.modules.get("conversion")
        if package is not None:
            package.load_all_models()
            self._module, self._find = sys.modules["conversion.base"], package.get_model_class
        else:
            self._module, self._find = script, _base(script).from_model_architecture
        return {"torch": torch.__version__, "transformers": transformers.__version__}

    def registered(self) -> int:
        known = _base(self._module)._model_classes  # noqa: SLF001 -- the registry itself; nothing else has its size
        kinds = [names for names in known.values() if isinstance(names, dict)]
        return len(kinds[0] if kinds else known)

    def class_of(self, folder: Path) -> Any:
        """Return the class for the text part of a checkpoint; raises NotSupportedError where there is none."""
        name = self._architecture(read_config(folder))
        try:
            return self._find(name)
        except NotImplementedError as error:
            raise NotSupportedError(f"the converter has no class for {name}") from error

    def _architecture(self, config_json: dict[str, Any]) -> str:
        asked = getattr(self._module, "get_model_architecture", None)
        kinds = getattr(self._module, "ModelType", None)
        if asked is not None and kinds is not None:
            return str(asked(config_json, kinds.TEXT))
        return str((config_json.get("architectures") or [""])[0])

    def convert(self, folder: Path, target: Path, *, kind: str = "f32", synthetic: bool = False) -> dict[str, Any]:
        """Write the checkpoint as GGUF, and return its class, size and tokenizer.

        The converter cannot recognise a ``synthetic`` tokenizer, of a miniature: it gets a description, as its own
        update script gives it of published ones.
        """
        import gguf  # type: ignore[import-not-found, unused-ignore]
        import torch

        model_class = self.class_of(folder)
        description = "recognised by the converter itself"
        if synthetic and getattr(model_class, "supports_mtp_export", False):
            model_class.no_mtp = True  # the heads for several tokens are no part of a miniature
        types = gguf.LlamaFileType
        wanted = {"f32": types.ALL_F32, "q8_0": types.MOSTLY_Q8_0}[kind]
        with torch.inference_mode():
            model = model_class(folder, wanted, target)
            if synthetic:
                base = getattr(self._module, "TextModel", None) or self._module.Model
                description = _describe_tokenizer(getattr(model, "impl", model), base)
            model.write()
        return {"class": model_class.__name__, "bytes": target.stat().st_size, "tokenizer": description}

    def out_of_range(self) -> str:
        """Return which range of transformers the converter asks for where the installed one is outside: our recipe."""
        import packaging.requirements
        import transformers

        for name in _REQUIREMENTS:
            file = self._root / name
            for line in file.read_text(encoding="utf-8").splitlines() if file.is_file() else ():
                if line.startswith("transformers"):
                    asked = packaging.requirements.Requirement(line.partition("#")[0].strip())
                    if not asked.specifier.contains(transformers.__version__, prereleases=True):
                        return f"the converter asks for {asked}, and {transformers.__version__} is installed"
        return ""

    def read(self, file: Path) -> dict[str, Any]:
        """Return a GGUF file's metadata: single values, short lists and the tokens."""
        from gguf.gguf_reader import GGUFReader  # type: ignore[import-not-found, unused-ignore]

        return {name: _value(field) for name, field in GGUFReader(str(file)).fields.items()}


def _base(module: Any) -> Any:
    return getattr(module, "ModelBase", None) or module.Model


def _describe_tokenizer(model: Any, base: Any) -> str:
    """Give the converter the description of a synthetic tokenizer, and return it."""
    cutting = json.dumps(optional_json(model.dir_model, "tokenizer.json").get("pre_tokenizer"))
    like = next((name for sign, name in _CUT_LIKE if json.dumps(sign)[1:-1] in cutting), "")
    if like:
        base.get_vocab_base_pre = lambda _model, _tokenizer: like
        return f"cut like {like}"
    # SentencePiece in all but the file that holds it
    set_vocab, base.get_vocab_base_pre = model.set_vocab, lambda _model, _tokenizer: "default"
    model.set_vocab = lambda: _set_vocabulary(model, set_vocab)
    return "given as pieces"


def _set_vocabulary(model: Any, set_vocab: Callable[[], None]) -> None:
    """Let the model's class write special tokens and templates, and write the pieces in its place."""
    import gguf

    entries: dict[str, Any] = model.gguf_writer.kv_data[0]
    before = set(entries)
    try:
        set_vocab()
        gone = _PIECES
    except Exception as error:  # noqa: BLE001 -- it looked for the file that a miniature does not have
        logging.getLogger(__name__).warning("the miniature's own pieces in place of its vocabulary: %s", error)
        gone = tuple(set(entries) - before)
    for key in gone:
        entries.pop(key, None)
    _write_pieces(model)
    if gone is not _PIECES:
        gguf.SpecialVocab(model.dir_model).add_to_gguf(model.gguf_writer)
        # the class names every token that ends a text, not only the first
        for key, index in zip(("eot", "eom"), _ends(model.dir_model)[1:]):
            model.gguf_writer.add_uint32(f"tokenizer.ggml.{key}_token_id", index)


def _ends(folder: Path) -> list[int]:
    config_json = read_config(folder)
    for source in (optional_json(folder, "generation_config.json"), config_json, text_part(config_json)):
        if isinstance(source.get("eos_token_id"), list):
            return list(source["eos_token_id"])
    return []


def _write_pieces(model: Any) -> None:
    """Write tokens with scores: the earlier merge is the better one."""
    import gguf

    written = optional_json(model.dir_model, "tokenizer.json")
    words: dict[str, int] = written["model"]["vocab"]
    ranks = {"".join(pair.split(" ")): rank for rank, pair in enumerate(written["model"]["merges"], start=1)}
    special = {token["id"] for token in written["added_tokens"]}
    size = max(model.hparams.get("vocab_size") or 0, len(words))
    tokens = [f"[PAD{index}]".encode() for index in range(size)]
    kinds = [gguf.TokenType.UNUSED] * size
    scores = [0.0] * size
    for word, index in words.items():
        tokens[index] = word.encode()
        scores[index] = -float(ranks.get(word, 0))
        if word == "<unk>":
            kinds[index] = gguf.TokenType.UNKNOWN
        elif index in special:
            kinds[index] = gguf.TokenType.CONTROL
        elif not word.startswith("<unused"):
            kinds[index] = gguf.TokenType.NORMAL
    writer = model.gguf_writer
    writer.add_tokenizer_model("llama")
    writer.add_tokenizer_pre("default")
    writer.add_token_list(tokens)
    writer.add_token_scores(scores)
    writer.add_token_types(kinds)
    writer.add_add_space_prefix(False)


def _value(field: Any) -> Any:
    """Return one entry of a GGUF file as Python has it."""
    from gguf import GGUFValueType

    texts = field.types[-1] == GGUFValueType.STRING
    values = [bytes(field.parts[index]).decode("utf-8", "replace") if texts else field.parts[index][0].item()
              for index in field.data]  # fmt: skip
    return values if field.types[0] == GGUFValueType.ARRAY else values[0]
