"""Derives miniatures: shrinks a configuration, describes what a release instantiates, sets the spread of tensors."""

from __future__ import annotations

import csv
import json
import math
import re
import tomllib
from collections import Counter
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Protocol

from monitor.miniatures.manifest import Miniature, Tensor, json_text, load_template, tokens_from
from monitor.miniatures.shrink import shrink
from monitor.miniatures.size import too_large
from monitor.miniatures.unmeasured import form_of, unmeasured
from probes.wire import part_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

    from monitor.miniatures.tokenizer import Tokens

_EXPERT = re.compile(r"(?P<experts>.*\.experts)\.(?P<number>\d+)\.(?P<part>gate|up|down)_proj\.weight")
# Publishers keep these in float32; everything else of a checkpoint is bfloat16.
_FLOAT32 = re.compile(r"(correction_bias|A_log)$")
_EMBEDDING = re.compile(r"(embed_tokens|embed_in|wte|embedding|embeddings|lm_head|embed_out|output)\.weight$")
_AS_MEASURED = re.compile(r"(A_log|dt_bias|dt_proj\.bias|time_step|inv_freq|recurrent_param|\.decay|slope_rate)")
_CONVOLUTION = re.compile(r"conv")
_RANDOM_ENOUGH = 1e-4
_SANE = 100.0


class DeriveRun(Protocol):
    """Runs probes/derive.py in an environment of one release of transformers; ``folder`` is readable there."""

    def __call__(self, release: str, request: dict[str, Any], folder: Path) -> dict[str, Any]: ...


@dataclass(frozen=True, slots=True)
class MiniatureRecipe:
    slug: str
    architecture: str  # model type of what is instantiated
    tokens: Tokens
    template: str
    config: dict[str, Any] | None  # published, None: the architecture's defaults
    generation_config: dict[str, Any] | None
    origin: str
    preprocessor_config: dict[str, Any] | None = None
    gain: float = 1.0
    release: str = ""  # derive with this one: the first release does not save what it should
    uncounted: tuple[str, ...] = ()  # parts whose size is the release's own choice
    rename: tuple[tuple[str, str], ...] = ()  # what the release saves under other names than the publisher
    fused: bool = False  # published with all experts of a layer in one tensor, which the release saves one by one
    published_type: str = ""  # where no release knows the published model type: the tensors are another's
    alone: bool = False  # no release knows the architecture: the miniature is its configuration, without tensors
    published_names: bool = False  # the tensors' are known to be the publisher's
    added: Mapping[str, Any] = field(default_factory=dict)  # published keys that the architecture's defaults lack
    names: Mapping[int, str] = field(default_factory=dict)  # published tokens that may end generation, by id
    not_measured: Mapping[str, str] = field(default_factory=dict)  # by part
    form: Mapping[str, Any] | None = None  # of published weights, where the published configuration lacks it


@dataclass(frozen=True, slots=True)
class NotDerived:
    slug: str
    reason: str


def read_recipes(data: Path) -> list[MiniatureRecipe]:
    """Read ``recipes.toml`` and the published configurations it names."""
    table = tomllib.loads((data / "recipes.toml").read_text(encoding="utf-8"))
    forms = {name: json.loads(text) for name, text in table["forms"].items()}
    recipes = [_recipe(entry, table["tokens"], data) for entry in table["miniature"]]
    return [
        replace(recipe, form=forms[entry["form"]]) if "form" in entry else recipe
        for recipe, entry in zip(recipes, table["miniature"], strict=True)
    ]


def derive(
    recipes: Iterable[MiniatureRecipe], *, known: Mapping[str, str], run: DeriveRun, scratch: Path
) -> Iterator[Miniature | NotDerived]:
    """Derive each recipe with the first release that registers its architecture, release by release."""
    by_release: dict[str, list[MiniatureRecipe]] = {}
    for recipe in recipes:
        if recipe.alone:
            yield _configuration_alone(recipe)
            continue
        first = known[recipe.architecture].removeprefix("<=")
        by_release.setdefault(recipe.release or first, []).append(recipe)
    for release, group in by_release.items():
        yield from _derive_in(release, group, known=known, run=run, scratch=scratch / release)


def read_first_known(path: Path) -> dict[str, str]:
    """Return the first release of transformers that registers each architecture.

    It is ``<=4.49.0`` for an architecture of the oldest release that was read.
    """
    with path.open(encoding="utf-8", newline="") as file:
        return {row["model_type"]: row["release"] for row in csv.DictReader(file)}


def count_parts(tensors: Iterable[Tensor]) -> dict[str, int]:
    parts: Counter[str] = Counter()
    for tensor in tensors:
        # one publisher writes "head"; in the loaded model it is lm_head
        name = "lm_head.weight" if tensor.name == "head.weight" else tensor.name
        parts[part_of(name)] += math.prod(tensor.shape)
    return dict(sorted(parts.items()))


def _recipe(entry: dict[str, Any], tokens: dict[str, Any], data: Path) -> MiniatureRecipe:
    config, generation, preprocessor = None, None, None
    if "published" in entry:
        config = _published(data, entry["published"])
        generation = _published(data, f"{entry['published']}.generation_config")
        preprocessor = None if "part" in entry else _published(data, f"{entry['published']}.preprocessor_config")
        config = {**config[entry["part"]]} if "part" in entry else config
        config = {key: value for key, value in config.items() if key not in entry.get("drop", ())}
        config |= entry.get("set", {})
        generation = entry.get("generation_config", generation)
        if "class" in entry:
            config["architectures"] = [entry["class"]]
    origin = f"published/{entry['published']}.json" if config else "the architecture's defaults"
    return MiniatureRecipe(
        slug=entry["slug"],
        architecture=config["model_type"] if config else entry["architecture"],
        tokens=tokens_from(tokens[entry["tokens"]]),
        template=entry["template"],
        config=config,
        generation_config=generation,
        preprocessor_config=preprocessor,
        origin=f"{origin} ({entry['part']})" if "part" in entry else origin,
        gain=entry.get("gain", 1.0),
        release=entry.get("derive_with", ""),
        uncounted=tuple(entry.get("uncounted", ())),
        rename=tuple((old, new) for old, new in entry.get("rename", ())),
        fused=entry.get("fused", False),
        published_type=entry.get("published_type", ""),
        alone=entry.get("alone", False),
        published_names=entry.get("published_names", False),
        added={} if config else entry.get("set", {}),
        not_measured=entry.get("not_measured", {}),
    )


def _published(data: Path, name: str) -> Any:
    """Return what a file of published/ holds, None without one."""
    file = data / "published" / f"{name}.json"
    return json.loads(file.read_text(encoding="utf-8")) if file.is_file() else None


def _configuration_alone(recipe: MiniatureRecipe) -> Miniature:
    config, tokens = shrink(recipe.config or {}, recipe.tokens)
    return Miniature(
        slug=recipe.slug,
        architecture=recipe.architecture,
        config=config,
        tokens=tokens,
        tensors=(),
        template=load_template(recipe.template),
        origin=recipe.origin,
        not_measured=unmeasured(recipe.config or {}),
    )


def _derive_in(
    release: str, recipes: list[MiniatureRecipe], *, known: Mapping[str, str], run: DeriveRun, scratch: Path
) -> Iterator[Miniature | NotDerived]:
    scratch.mkdir(parents=True, exist_ok=True)
    wanted = [recipe.architecture for recipe in recipes if recipe.config is None]
    defaults = run(release, {"defaults": wanted}, scratch)["defaults"] if wanted else {}
    small: dict[str, tuple[dict[str, Any], Tokens]] = {}
    for recipe in recipes:
        config = recipe.config or defaults[recipe.architecture]
        if "error" in config:
            yield NotDerived(recipe.slug, config["error"])
            continue
        if recipe.config is None:
            config = {**config, **_named_ends(config), **recipe.added}
        small_config, tokens = shrink(config, recipe.tokens, names=recipe.names)
        if reason := too_large(small_config):
            yield NotDerived(recipe.slug, reason)
            continue
        small[recipe.slug] = small_config, tokens
        (scratch / recipe.slug).mkdir(exist_ok=True)
        (scratch / recipe.slug / "config.json").write_text(json_text(small[recipe.slug][0]), encoding="utf-8")
    subjects = [{"slug": slug, "path": str(scratch / slug)} for slug in small]
    answer = run(release, {"subjects": subjects}, scratch)
    for recipe in recipes:
        if recipe.slug in small:
            config, tokens = small[recipe.slug]
            yield _miniature(
                recipe, config, tokens, answer["subjects"][recipe.slug], release, known[recipe.architecture]
            )


def _named_ends(config: dict[str, Any]) -> dict[str, int]:
    """Give an architecture's defaults the special tokens that a published model would name; the ids come later."""
    return {key: 0 for key in ("bos_token_id", "eos_token_id") if config.get(key) is None}


def _miniature(  # noqa: PLR0917 -- all of it is one value's fields
    recipe: MiniatureRecipe, config: dict[str, Any], tokens: Tokens, described: dict[str, Any], release: str, first: str
) -> Miniature | NotDerived:
    if "error" in described:
        return NotDerived(recipe.slug, described["error"])
    measured = [
        Tensor(
            _renamed(name, recipe.rename),
            tuple(shape),
            dtype,
            mean if mean is not None else 1e9,
            std if std is not None else 1.0,
        )
        for name, shape, dtype, mean, std in described["tensors"]
        if 0 not in shape  # a mixture without experts: no published file has tensors of nothing
    ]
    tensors = tuple(scaled(tensor, recipe.gain) for tensor in (_fused(measured) if recipe.fused else measured))
    parts = {part: count for part, count in count_parts(tensors).items() if part not in recipe.uncounted}
    generation = recipe.generation_config
    if recipe.published_type:
        config = {**config, "model_type": recipe.published_type}
    return Miniature(
        slug=recipe.slug,
        architecture=recipe.published_type or recipe.architecture,
        config=config,
        tokens=tokens,
        tensors=tensors,
        template=load_template(recipe.template),
        generation_config=shrink(generation, recipe.tokens, names=recipe.names)[0] if generation else None,
        preprocessor_config=recipe.preprocessor_config,
        parts=parts,
        origin=recipe.origin,
        derived_with=release,
        first_known="" if recipe.published_type else first,
        published_names=recipe.published_names,
        not_measured={**unmeasured(recipe.config or {}), **recipe.not_measured},
        form=dict(recipe.form) if recipe.form else form_of(recipe.config or {}),
    )


def _renamed(name: str, rules: Iterable[tuple[str, str]]) -> str:
    for old, new in rules:
        name = re.sub(old, new, name)
    return name


def _fused(tensors: Iterable[Tensor]) -> list[Tensor]:
    """Stack the experts' gate above up, and their downs, as (experts, out, in)."""
    fused: dict[str, Tensor] = {}
    for tensor in tensors:
        match = _EXPERT.fullmatch(tensor.name)
        if match is None:
            fused[tensor.name] = tensor
            continue
        out, width = tensor.shape
        down = match["part"] == "down"
        name = f"{match['experts']}.{'down_proj' if down else 'gate_up_proj'}"
        count = max(int(match["number"]) + 1, fused[name].shape[0] if name in fused else 0)
        fused[name] = replace(tensor, name=name, shape=(count, out if down else 2 * out, width))
    return list(fused.values())


def scaled(tensor: Tensor, gain: float) -> Tensor:
    """Replace the measured initial mean and spread; ``gain`` is for models that scale their logits down."""
    if tensor.name.endswith("tid2eid"):  # which experts a token goes to: each of four in turn
        return replace(tensor, std=3.0)
    if not tensor.dtype.startswith(("F", "BF")):
        return tensor
    dtype = "F32" if _FLOAT32.search(tensor.name) else "BF16"
    mean, std = _spread(tensor, gain)
    return replace(tensor, dtype=dtype, mean=float(f"{mean:.3g}"), std=float(f"{std:.3g}"))


def _spread(tensor: Tensor, gain: float) -> tuple[float, float]:
    name, shape = tensor.name, tensor.shape
    mean = tensor.mean if math.isfinite(tensor.mean) else 0.0
    std = tensor.std if math.isfinite(tensor.std) else 0.02
    if name.endswith(("put_max", "put_min")):  # bounds of clipped layers, infinite before training
        return 10.0 if name.endswith("max") else -10.0, 0.0
    if abs(mean) > _SANE:  # uninitialised memory, which is another at every derivation
        mean, std = 0.0, 0.02
    if _AS_MEASURED.search(name):
        return mean, std
    if len(shape) <= 1 or shape[-1] == 1:
        return _vector(name, mean, std)
    return 0.0, _matrix(name, shape, gain)


def _matrix(name: str, shape: tuple[int, ...], gain: float) -> float:
    """Keep the size of what passes through: one over the root of how many values each output adds up."""
    if _EMBEDDING.search(name):
        return 2 * gain / math.sqrt(shape[-1])
    if _CONVOLUTION.search(name):
        return 1 / math.sqrt(math.prod(shape[1:]))
    # stacked experts are published as (experts, in, out), everything else as (..., out, in)
    stacked = len(shape) > len(("out", "in")) and name.endswith(("gate_up_proj", "down_proj"))
    return 1 / math.sqrt(shape[-2] if stacked else shape[-1])


def _vector(name: str, mean: float, std: float) -> tuple[float, float]:
    if "sink" in name:
        return 0.0, 0.5
    if name.endswith("bias"):
        return (mean if std < _RANDOM_ENOUGH else 0.0), 0.02
    if std < _RANDOM_ENOUGH:  # a norm's weight, or a scale: constant at the start
        return mean, 0.1
    return mean, std
