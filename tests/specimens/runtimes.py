"""A runtime in plain Python with one defect each: a tiny language model behind the seam that adapters fill."""

from __future__ import annotations

import functools
import json
import math
import random
from typing import TYPE_CHECKING, Any

from probes.checkpoint import read_config
from probes.configuration import Effective
from probes.runtimes import Generated, Loading, Pictured, Plan, UnavailableError
from probes.runtimes.traces import PlainTrace

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from probes.pictures import Picture

VOCABULARY = 64


class PanicException(BaseException):
    """As pyo3 names what a panic in Rust becomes."""


def plain(rows: list[list[float]]) -> PlainTrace:
    return PlainTrace([dict(enumerate(row)) for row in rows])


@functools.cache  # the checks ask one prompt in many ways, and drawing its row is most of what a model costs
def _row_after(seen: tuple[int, ...], values: str) -> tuple[float, ...]:
    source = random.Random(repr(seen) + values)  # noqa: S311 -- a language model, not a secret
    return tuple(source.gauss(0, 1) for _ in range(VOCABULARY))


class PlainModel:
    """Attends to the last ``window`` tokens; a defect is a word that one of the methods listens to."""

    independent = True

    def __init__(self, defect: str, attention: str, window: int = 16, values: str = "") -> None:
        self.defect = defect
        self.values = values
        self.attention = "eager" if defect == "deaf to attention" else "" if defect == "silent" else attention
        self.window = window
        self.coarse = "in bfloat16 alone" if defect == "coarse" else ""
        self.calls = 0

    def _logits(self, tokens: Sequence[int], *, window: int | None = None) -> list[float]:
        seen = tuple(tokens[-(window or self.window) :])
        if self.defect == "flat":
            return [0.0] * VOCABULARY
        if self.defect == "deaf":
            seen = ()
        if self.defect == "nan":
            return [math.nan] * VOCABULARY
        if self.defect == "attention" and self.attention == "sdpa":
            seen = seen[1:]
        return list(_row_after(seen, self.values))

    def forward(self, row: Sequence[int]) -> PlainTrace:
        if self.defect == "no numbers":
            raise UnavailableError("this release tells no log-probabilities")
        return plain([self._logits(row[: place + 1]) for place in range(len(row))])

    def perturb(self, row: Sequence[int]) -> PlainTrace:
        moved = {"trembling": 1e-3, "shaking": 1e-1}.get(self.defect, 1e-7)
        source = random.Random(0)  # noqa: S311 -- noise, not a secret
        still = self.forward(row).rows
        return plain([[value + source.uniform(-moved, moved) for value in each.values()] for each in still])

    def generate(self, rows: Sequence[Sequence[int]], steps: int, plan: Plan) -> list[Generated]:
        self.calls += 1
        width = max(map(len, rows))
        answers = []
        for place, row in enumerate(rows):
            padding = [0] * (width - len(row)) if self.defect == "batch" else []
            answers.append(self._row([*padding, *row], steps, plan, plan.forced[place] if plan.forced else ()))
        return answers

    def _row(self, row: list[int], steps: int, plan: Plan, forced: tuple[int, ...]) -> Generated:
        window = self.window + 4 if self.defect == "cache" and plan.cache else None
        eos = set(plan.eos if plan.eos is not None else () if self.defect == "stop" else (2,))
        text, logits, made = list(row), [], []
        for step in range(steps):
            values = self._logits(text, window=window)
            if self.defect in {"imprecise", "trembling", "shaking", "coarse", "always cached"} and plan.cache:
                values = [values[0] + 2e-3, *values[1:]]
            if self.defect == "restless" and self.calls % 2:
                values = values[::-1]
            token = forced[step] if forced else max(range(VOCABULARY), key=values.__getitem__)
            logits.append(values)
            made.append(token)
            text.append(token)
            if token in eos and not plan.full_length:
                break
        cached = {"never cached": False, "always cached": True}.get(self.defect, plan.cache)
        return Generated(made, plain(logits), cached)

    def vectors(self, rows: Sequence[Sequence[int]]) -> list[PlainTrace]:
        width = max(map(len, rows)) if self.defect == "batch" else 0
        return [plain(self._vectors([*row, *[0] * (width - len(row))])[: len(row)]) for row in rows]

    def _vectors(self, row: list[int]) -> list[list[float]]:
        return [self._logits(row[: place + 1] if self.defect == "causal" else row[place:]) for place in range(len(row))]

    def scores(self, rows: Sequence[Sequence[int]]) -> list[list[float]]:
        width = max(map(len, rows)) if self.defect == "batch" else 0
        labels = 2 if self.defect == "labels" else 1
        padded = [[*row, *[0] * (width - len(row))] for row in rows]
        return [[1.0] if self.defect == "scores" else self._logits(row)[:labels] for row in padded]

    def pictured(self, words: Sequence[str], pictures: Sequence[Picture], forced: Sequence[int] = ()) -> Pictured:
        if self.defect == "no processor":
            raise UnavailableError("the processor cannot be made here: it requires a library")
        if self.defect == "one image at most" and len(pictures) > 1:
            raise ValueError("a prompt may have one image")
        if self.defect == "swaps images":
            pictures = pictures[::-1]
        ids, seen = _with_pictures(words, pictures, self.defect)
        if self.defect == "text beside" and not pictures:
            seen = [*seen[:-1], 63]
        text = [*seen, *(63 - token for token in forced)] if self.defect == "cache beside" else [*seen, *forced]
        places = range(len(seen) - 1, len(text) - 1) if forced else range(len(text))
        return Pictured(ids, plain([self._logits(text[: place + 1]) for place in places]))

    def ways(self) -> PlainWays:
        return PlainWays(self)

    def rebuilt(self, config: Any) -> PlainModel:
        if self.defect == "one of a kind":
            raise TypeError("a model is made only once")
        window = self.window if self.defect == "deaf to the window" else _window(config["values"], self.defect)
        moved = "moved" if self.defect == "made otherwise" else ""
        return PlainModel(self.defect, self.attention, window, _values(config["values"], self.defect) + moved)

    def loading(self, *, values: bool) -> Loading:
        said: dict[str, list[str]] = {"missing": [], "unexpected": [], "mismatched": [], "lost": [], "invented": []}
        if self.defect in said:
            said[self.defect] = ["model.layers.0.down_proj.weight"]
        if not values:
            said.update(lost=[], invented=[])
        return Loading(**said, counts={"in_files": 2} if values else {})

    def parts(self) -> dict[str, int]:
        if self.defect == "huge":
            return {"language": 1 << 60}
        return {"language": 1000} if self.defect == "part" else {"language": 1000, "vision": 500}

    def save(self, folder: Path) -> None:
        (folder / "config.json").write_text("{}", encoding="utf-8")


def _with_pictures(words: Sequence[str], pictures: Sequence[Picture], defect: str) -> tuple[list[int], list[int]]:
    """Return the tokens of a prompt, and what stands in their places: for a picture, something of its own."""
    ids: list[int] = []
    seen: list[int] = []
    heard = {"deaf to images": 0, "deaf to the second": 1}.get(defect, len(pictures))
    for place, word in enumerate(words):
        letters = [ord(letter) % VOCABULARY for letter in word]
        ids += letters
        seen += letters
        if place < len(pictures):
            ids.append(VOCABULARY - 1)
            seen.append(sum(pictures[place].rgb) % VOCABULARY if place < heard else VOCABULARY - 1)
    return ids, seen


class PlainWays:
    """The same model asked in other ways, of which one kind of cache is refused, as on a machine without its device."""

    kinds = ("dynamic", "static", "offloaded")

    def __init__(self, model: PlainModel) -> None:
        self._model = model
        self._defect = model.defect

    def continued(self, row: Sequence[int], cuts: Sequence[int]) -> PlainTrace:
        logits = []
        for start, stop in zip(cuts, (*cuts[1:], len(row)), strict=True):
            forgotten = start if self._defect == "pieces" and stop - start > 1 else 0
            logits += [self._model._logits(row[forgotten : place + 1]) for place in range(start, stop)]
        return plain(logits)

    def padded(self, rows: Sequence[Sequence[int]]) -> list[PlainTrace]:
        width = max(map(len, rows))
        padding = [width - len(row) if self._defect == "padding after" else 0 for row in rows]
        return [self._model.forward([0] * more + list(row))[more:] for more, row in zip(padding, rows, strict=True)]  # type: ignore[misc]

    def left_padded(self, row: Sequence[int], padding: int, forced: Sequence[int]) -> PlainTrace:
        return self._along([0] * padding * (self._defect == "padding before") + list(row), forced)

    def cached_as(self, kind: str, row: Sequence[int], forced: Sequence[int]) -> PlainTrace:
        if kind == "offloaded" or self._defect == "no kinds":
            raise ValueError(f"no {kind} cache in /opt/runtime/cache.py")
        return self._along(row, forced, window=4 if self._defect == "static cache" and kind == "static" else None)

    def looked_up(self, row: Sequence[int], forced: Sequence[int]) -> PlainTrace:
        return self._along(row, forced, window=4 if self._defect == "proposals" else None)

    def assisted(self, row: Sequence[int], forced: Sequence[int]) -> PlainTrace:
        return self._along(row, forced)

    def _along(self, row: Sequence[int], forced: Sequence[int], window: int | None = None) -> PlainTrace:
        text = [*row, *forced]
        places = range(len(row) - 1, len(text) - 1)
        return plain([self._model._logits(text[: place + 1], window=window) for place in places])


def _window(values: dict[str, Any], defect: str) -> int:
    off = values.get("use_sliding_window") is False and defect != "hears what is off"
    return 16 if off else values.get("sliding_window") or 16


def _values(values: dict[str, Any], defect: str) -> str:
    """Return what the model computes with, besides its window."""
    part = values.get("partial_rotary_factor")
    if part is None and defect != "deaf to rotary_dim" and "rotary_dim" in values:
        part = values["rotary_dim"] / values["head_dim"]
    noise = values.get("attention_dropout") if defect == "drops out" else 0
    nested = values.get("rope_parameters", {}).get("rope_theta")
    theta = values.get("rope_theta", 0.0 if defect == "reads one spelling" else nested)
    return "" if defect == "theta" else repr((theta, part or 1.0, noise))


class PlainTokenizer:
    def __init__(self, defect: str) -> None:
        self.defect = defect
        self.has_template = defect != "no template"

    def encode(self, text: str) -> list[int]:
        return [ord(character) for character in text]

    def decode(self, ids: Sequence[int]) -> str:
        text = "".join(map(chr, ids))
        return " ".join(text.split()) if self.defect == "spaces" else text

    def specials(self) -> dict[str, Any]:
        eos = 3 if self.defect == "eos" else 2
        tokens = {"bos_token": "<s>", "eos_token": "</s>", "pad_token": None}
        return {"class": "PlainTokenizer", "bos": 1, "eos": eos, "pad": None, **tokens}

    def render(self, messages: list[dict[str, Any]]) -> str:
        end = "" if self.defect == "template" else "\nassistant:"
        return "".join(f"{message['role']}: {message['content']}" for message in messages) + end


class PlainRuntime:
    abilities = ("images", "vectors")
    phrases: tuple[tuple[str, tuple[str, ...]], ...] = ()
    rounding = 1e-4
    loads_forms = True

    def __init__(self, defect: str = "") -> None:
        self.defect = defect
        self.reloads = 0

    def load(self) -> dict[str, str]:
        return {"plain": "1"}

    def prime(self) -> None:
        self.seed(0)

    def after_fork(self) -> None:
        self.seed(0)

    def seed(self, seed: int) -> None:
        random.seed(seed)

    def registered(self) -> int:
        return 1

    def knows(self, model_type: str) -> bool:
        return model_type == "llama"

    def config(self, folder: Path) -> Any:
        if not (folder / "model.safetensors").exists():
            self.reloads += 1
        file = folder / "config.json"
        values = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
        return {"folder": folder.name, "reloads": self.reloads, "values": values}

    def effective(self, config: Any, config_json: dict[str, Any]) -> Effective:
        if self.defect == "reads nothing":
            return Effective({}, frozenset(config_json), {})
        values = dict(config_json)
        if self.defect == "theta":
            values["rope_theta"] = 10000.0
        if self.defect == "reload config" and config["reloads"]:
            values["sliding_window"] = None
        if self.defect == "bookkeeping":
            values["_attn_implementation_autoset"] = bool(config["reloads"])
        if self.defect == "reads one spelling":
            values["rope_parameters"] = {"rope_type": "default", "rope_theta": config_json["rope_theta"]}
        return Effective(values, frozenset(config_json), {}, {"rope_theta": 10000.0, "sliding_window": 4096})

    def model(self, folder: Path, config: Any, config_json: dict[str, Any], attention: str) -> PlainModel:
        if not folder.is_dir():
            raise FileNotFoundError(folder)
        if self.defect == "no class" or (self.defect == "no sdpa" and attention == "sdpa"):
            raise UnavailableError("there is no such class")
        if self.defect == "load":
            raise KeyError("model.embed")
        if self.defect == "panic":
            raise PanicException("called `Option::unwrap()` on a `None` value")
        if not attention:
            attention = "eager" if self.defect in {"eager only", "no sdpa"} else "sdpa"
        window = _window(config_json, self.defect) + (config["reloads"] if self.defect == "reload" else 0)
        return PlainModel(self.defect, attention, window, _values(config_json, self.defect))

    def halved(self, folder: Path, config: Any, config_json: dict[str, Any]) -> PlainModel:
        if self.defect == "no half":
            raise RuntimeError("\"scan_cpu\" not implemented for 'BFloat16'")
        model = self.model(folder, config, config_json, "")
        model.defect = "nan" if self.defect == "half" else self.defect
        return model

    def form(self, folder: Path, subject: Any) -> PlainModel:
        published = "quantization_config" in read_config(folder)
        if published and self.defect == "refuses the form":
            raise NotImplementedError("this quantization is not supported")
        if published and self.defect == "breaks on the form":
            raise ValueError("the weight is not divisible by its scales")
        values = "moved" if published and self.defect == "misreads the form" else ""
        return PlainModel(self.defect, "eager", values=_values(subject.config_json, self.defect) + values)

    def attentions(self, model: PlainModel) -> tuple[str, ...]:
        return () if model.defect == "eager only" else ("sdpa",)

    def tokenizer(self, folder: Path) -> PlainTokenizer:
        if self.defect == "tokenizer":
            raise ValueError(f"no tokenizer in {folder}")
        return PlainTokenizer(self.defect)
