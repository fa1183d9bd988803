"""Ollama: a model created from a GGUF in a server that the probe starts, asked over HTTP as a user asks it."""

from __future__ import annotations

import functools
import re
import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from probes.checkpoint import BadFileError, chat_template_of, optional_json, text_part
from probes.configuration import Effective, rope
from probes.faults import FaultError, phrases_in
from probes.runtimes import Adapter, UnavailableError
from probes.runtimes.converter import Converter
from probes.runtimes.ollama_server import CONTEXT, LoadRefusedError, Server, ServerEndedError, ServerError
from probes.served import Server as OpenAIServer
from probes.subject import Subject

_NAME = "probed"
_NAME_FROM_FILES = "probed-safetensors"
_LOCK = Path("settle-lock.txt")  # of the environment: it names the installed release
_ASKED = re.compile(r"^artefact ollama==(\S+) ", re.MULTILINE)
_MODEL_FILES = ("*.safetensors", "config.json", "generation_config.json", "tokenizer.json", "tokenizer.model",
              "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", "chat_template.jinja",
              "model.safetensors.index.json")  # fmt: skip
# key of a GGUF after its architecture -> the publisher's name. Only what a converter copies: it recounts heads and
# layers for latent attention, hybrids and extra predictions
_KEYS = {
    "embedding_length": "hidden_size",
    "attention.layer_norm_rms_epsilon": "rms_norm_eps",
    "rope.freq_base": "rope_theta",
}


class Attempt(NamedTuple):
    """How creating and loading went: ``error`` came ``at`` one of the two."""

    at: str
    error: Exception | None
    statuses: list[str]


class Ollama(Adapter):
    abilities = ("text", "configuration", "template", "server")  # its server takes no bias for a token
    # a cause comes before the wrapping that most failures share; the converter's errors come first
    phrases = phrases_in("""
        needs-newer: requires a newer version of ollama | pull model manifest: 412 | (status 412)
        infra-recipe: binary not found (checked | digest mismatch | cannot open shared object file
        infra-memory: out-of-memory | out of memory | more system memory | unable to allocate | failed to allocate
        infra-memory: cannot allocate memory | bad_alloc | signal: killed | signal: sigkill
        infra-disk: no space left on device
        unknown-architecture: unknown model architecture | unsupported architecture | unknown architecture
        unknown-architecture: model not supported
        unsupported-on-platform: requires mlx support | illegal instruction | signal: sigill
        load-error: missing tensor | wrong number of tensors | check_tensor_dims | key not found in model
        load-error: unknown pre-tokenizer | not within the file bounds | error loading model
        infra-time: timed out waiting for
        runner-crashed: process has terminated | serverendederror | core dumped | panic: | ggml_assert
        load-error: loadrefusederror
        server-error: servererror: /v1/
        unclassified: servererror
    """)

    def __init__(self) -> None:
        self._running: Server | None = None
        self._scratch = Path(tempfile.gettempdir())
        self._converter: Converter | None = None
        self._no_converter = "no converter has been loaded"
        self._gguf = Path()

    def load(self) -> dict[str, str]:
        """Start the server once, and check that it is the release that was asked for; import the converter, if any."""
        self._scratch = Path(tempfile.mkdtemp(prefix="ollama-"))
        server = self.server
        answer = server.version()
        server.stop()
        lock = Path(sys.prefix) / _LOCK
        asked = _ASKED.search(lock.read_text(encoding="utf-8")) if lock.is_file() else None
        if asked and _plain(answer) != _plain(asked[1]):
            raise FaultError("infra-recipe", f"the server is version {answer!r}, and {asked[1]} was asked for")
        converter = Converter()
        try:
            versions = converter.load()
        except (ImportError, RuntimeError) as error:
            # the repository may have a GGUF; where it has none, the reason is given
            self._no_converter = f"{type(error).__name__}: {error}"
            return {"ollama": answer}
        self._converter = converter
        return {"ollama": answer, **versions}

    def after_fork(self) -> None:
        """Delete what the subject before left behind: its files lie in memory."""
        shutil.rmtree(self._scratch, ignore_errors=True)
        self._scratch.mkdir()

    @property
    def server(self) -> Server:
        """Return a running server: a new one where a check has ended the last."""
        if self._running is None or not self._running.running:
            self._running = Server(Path(sys.prefix) / "bin" / "ollama", self._scratch)
        return self._running

    def gguf(self, folder: Path, *, synthetic: bool) -> Path:
        """Return the publisher's GGUF, which is what its users get, or one that the converter makes.

        The converter cannot recognise a ``synthetic`` tokenizer, of a miniature, by itself.
        """
        brought = sorted(folder.glob("*.gguf"))
        if len(brought) > 1:
            raise BadFileError(f"the folder holds {len(brought)} GGUF files, and only one is expected")
        self._gguf = brought[0] if brought else self._made_gguf(folder, synthetic=synthetic)
        return self._gguf

    def _made_gguf(self, folder: Path, *, synthetic: bool) -> Path:
        if self._converter is None:
            reason = f"the folder holds no GGUF, and none can be made here: {self._no_converter}"
            raise FaultError("infra-recipe", reason)
        try:
            self._converter.convert(folder, self._scratch / "model.gguf", synthetic=synthetic)
        except (FaultError, MemoryError, OSError):
            raise
        except Exception as error:
            if unfit := self._converter.out_of_range():
                raise FaultError("infra-recipe", f"{unfit}: {error}") from error
            raise FaultError("gguf-not-made", f"{type(error).__name__}: {error}") from error
        return self._scratch / "model.gguf"

    @functools.cached_property
    def attempt(self) -> Attempt:
        """Create a model from the GGUF and load it, once for all checks that ask how that went."""
        statuses: list[str] = []
        try:
            statuses = self.server.create(_NAME, {"model.gguf": self._gguf})
        except (ServerError, ServerEndedError) as error:
            return Attempt("create", error, statuses)
        try:
            # an empty prompt loads and does nothing else
            self.server.ask("/api/generate", {"model": _NAME, "prompt": ""}, error=LoadRefusedError)
        except (ServerError, ServerEndedError) as error:
            return Attempt("load", error, statuses)
        return Attempt("", None, statuses)

    def create_from_safetensors(self, folder: Path) -> list[str]:
        """Create a model from the checkpoint itself, by Ollama's own converter."""
        files = {path.name: path for pattern in _MODEL_FILES for path in sorted(folder.glob(pattern))}
        return self.server.create(_NAME_FROM_FILES, files)

    def model(self, _folder: Path, _config: Any, _config_json: dict[str, Any], _attention: str) -> ServedModel:
        if self.attempt.error is not None:
            raise self.attempt.error
        return ServedModel(self)

    def tokenizer(self, folder: Path) -> Template:
        return Template(self, folder)

    def serve(self, _subject: Subject) -> tuple[OpenAIServer, float]:
        """Return the same server by its other interface, which takes no bias for a token."""
        return OpenAIServer(self.server.address, f"{_NAME}:latest", biases=False), self.server.ready_s

    def effective(self, _config: Any, config_json: dict[str, Any]) -> Effective:
        """Return what Ollama shows of the model under the publisher's names."""
        shown = ServedModel(self).shown
        architecture = shown.get("general.architecture")
        text = text_part(config_json)
        values = {
            word: _seven_digits(shown[f"{architecture}.{key}"])
            for key, word in _KEYS.items()
            if f"{architecture}.{key}" in shown and (word != "rope_theta" or _has_single_theta(text))
        }
        inner = Effective(values, frozenset(text), {})
        return Effective({}, frozenset(config_json), {"text_config": inner}) if text is not config_json else inner


class ServedModel:
    """The created model; Ollama neither takes nor returns token ids."""

    def __init__(self, runtime: Ollama) -> None:
        self._runtime = runtime

    @property
    def version(self) -> str:
        return self._runtime.server.version()

    @functools.cached_property
    def _shows(self) -> dict[str, Any]:
        return self._runtime.server.ask("/api/show", {"model": _NAME})

    @property
    def shown(self) -> dict[str, Any]:
        answer = self._shows.get("model_info")
        return answer if isinstance(answer, dict) else {}

    @property
    def capabilities(self) -> list[str]:
        return [str(capability) for capability in self._shows.get("capabilities") or ()]

    def generate(self, prompt: str, steps: int, **more: Any) -> dict[str, Any]:
        return self._runtime.server.ask("/api/generate", {**_request(steps, more), "prompt": prompt, "raw": True})

    def chat(self, messages: Sequence[dict[str, Any]], steps: int, **more: Any) -> dict[str, Any]:
        return self._runtime.server.ask("/api/chat", {**_request(steps, more), "messages": list(messages)})

    def chat_streamed(self, messages: Sequence[dict[str, Any]], steps: int, **more: Any) -> list[dict[str, Any]]:
        return self._runtime.server.stream("/api/chat", {**_request(steps, more), "messages": list(messages)})

    def rendered(self, messages: Sequence[dict[str, Any]], **more: Any) -> str:
        """Return the prompt that a chat would become; nothing is run."""
        answer = self.chat(messages, 1, _debug_render_only=True, **more)
        debug = answer.get("_debug_info")
        if not isinstance(debug, dict) or "rendered_template" not in debug:
            raise UnavailableError("this release shows no rendered prompt")
        return str(debug["rendered_template"])

    def embed(self, texts: Sequence[str]) -> list[list[float]]:
        answer = self._runtime.server.ask("/api/embed", {"model": _NAME, "input": list(texts)})
        return list(answer.get("embeddings") or ())


class Template:
    """The chat template as Ollama renders it."""

    def __init__(self, runtime: Ollama, folder: Path) -> None:
        self._model = ServedModel(runtime)
        self._folder = folder

    has_template = True  # a template that Ollama did not take over shows in the rendering

    def render(self, messages: list[dict[str, Any]]) -> str:
        """Return the rendering, with the beginning that the model's own template writes and the tokenizer adds here."""
        rendered = self._model.rendered(messages)
        config_json = optional_json(self._folder, "tokenizer_config.json")
        bos = config_json.get("bos_token")
        bos = bos.get("content") if isinstance(bos, dict) else bos
        written = isinstance(bos, str) and bos and "bos_token" in chat_template_of(self._folder)
        adds = self._model.shown.get("tokenizer.ggml.add_bos_token") is True
        return f"{bos}{rendered}" if written and adds and not rendered.startswith(str(bos)) else rendered


def _request(steps: int, more: dict[str, Any]) -> dict[str, Any]:
    options = {"temperature": 0, "seed": 1, "num_predict": steps, "num_ctx": CONTEXT, "num_gpu": 0, "num_thread": 1}
    return {"model": _NAME, **more, "options": {**options, **more.get("options", {})}}


def _plain(version: str) -> str:
    """Return one spelling of a version: v0.33.0-rc2 is 0.33.0rc2."""
    return re.sub(r"[^0-9a-z.]", "", version.lower().removeprefix("v"))


def _seven_digits(value: Any) -> Any:
    """Cut a float32, which is printed with the digits of a double, to its own digits."""
    return float(f"{value:.7g}") if isinstance(value, float) else value


def _has_single_theta(config_json: dict[str, Any]) -> bool:
    """Return whether a single number gives the positions: kinds of layers and scalings have other keys."""
    answer = rope(config_json)
    return set(answer) == {""} and set(answer[""]) == {"rope_theta"}


ADAPTER = Ollama
