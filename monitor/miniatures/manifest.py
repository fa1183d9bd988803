"""A miniature as data: its configuration, special tokens, chat template and the tensors of its checkpoint."""

from __future__ import annotations

import csv
import io
import itertools
import json
import re
import tomllib
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from monitor.miniatures import flaws as flaws_text
from monitor.miniatures.tokenizer import Style, Tokens

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from importlib.resources.abc import Traversable
    from pathlib import Path

    from monitor.miniatures.flaws import Flaw

TEMPLATE = "chat_template.jinja"
HUB = "hub: "  # prefix of the origin of a miniature that was derived from a model on the hub
USERS_CONFIG = "a configuration of the user's own"

_INDEX = re.compile(r"(?<=\.)\d+(?=\.|$)")
_RANGES = re.compile(r"\{([\d,-]+)\}")


@dataclass(frozen=True, slots=True)
class Tensor:
    """One tensor: values are ``mean + std * normal``; of an integer tensor they are 0, 1, ... ``std`` in turn."""

    name: str
    shape: tuple[int, ...]
    dtype: str  # as safetensors spells it
    mean: float
    std: float


@dataclass(frozen=True, slots=True)
class Miniature:
    slug: str
    architecture: str
    config: dict[str, Any]
    tokens: Tokens
    tensors: tuple[Tensor, ...]
    template: str | None = None
    generation_config: dict[str, Any] | None = None
    preprocessor_config: dict[str, Any] | None = None  # where a runtime needs it for text, too
    parts: dict[str, int] = field(default_factory=dict)  # parameters by part, what a complete load has
    origin: str = ""
    derived_with: str = ""  # release of transformers whose tensor names these are
    first_known: str = ""  # first release that registers the architecture, "<=4.49.0" for the oldest
    qualified: str = ""  # release in which every check passed, "" when none did yet
    published_names: bool = False  # of the tensors, and not only what a release saves them as
    not_measured: dict[str, str] = field(default_factory=dict)  # sentence by part of the model that it leaves out
    flaws: tuple[Flaw, ...] = ()  # of the model's published templates and stop tokens
    form: dict[str, Any] | None = None  # what the published config.json says in addition of weights with fewer bits

    @property
    def alone(self) -> bool:
        """Whether it is a configuration without a checkpoint: no release was known that could have made one."""
        return not self.tensors

    @property
    def untrusted(self) -> bool:
        """Whether its template is another's."""
        return self.origin.startswith((HUB, USERS_CONFIG))


def data_folder() -> Traversable:
    return files("monitor") / "data"


@cache
def miniature_slugs() -> tuple[str, ...]:
    return tuple(sorted(entry.name for entry in (data_folder() / "miniatures").iterdir() if entry.is_dir()))


@cache
def load_miniature(slug: str) -> Miniature:
    """Read one miniature of the project; KeyError when there is none of that slug."""
    if slug not in miniature_slugs():
        raise KeyError(slug)
    return read_miniature(data_folder() / "miniatures" / slug)


def read_miniature(folder: Traversable) -> Miniature:
    """Read a miniature's folder: one of the project, or a derived one."""
    about = tomllib.loads((folder / "miniature.toml").read_text(encoding="utf-8"))
    template = folder / TEMPLATE
    return Miniature(
        slug=folder.name,
        architecture=about["architecture"],
        config=json.loads((folder / "config.json").read_text(encoding="utf-8")),
        tokens=tokens_from(about["tokens"]),
        tensors=tuple(parse_tensors((folder / "tensors.csv").read_text(encoding="utf-8"))),
        template=template.read_text(encoding="utf-8") if template.is_file() else load_template(about["template"]),
        generation_config=_optional(folder / "generation_config.json"),
        preprocessor_config=_optional(folder / "preprocessor_config.json"),
        parts=about["parts"],
        origin=about["origin"],
        derived_with=about["derived_with"],
        first_known=about["first_known"],
        qualified=about["qualified"],
        published_names=about.get("published_names", False),
        not_measured=about.get("not_measured", {}),
        flaws=flaws_text.from_text(about.get("flaws", "[]")),
        form=json.loads(about.get("form", "null")),
    )


def _optional(file: Traversable) -> dict[str, Any] | None:
    return json.loads(file.read_text(encoding="utf-8")) if file.is_file() else None


@cache
def whole_origins() -> frozenset[str]:
    """Return the complete published files: one that was put together from literals may lack any key."""
    rows = csv.DictReader(io.StringIO((data_folder() / "ORIGIN.csv").read_text(encoding="utf-8")))
    return frozenset(row["file"] for row in rows if row["extent"].startswith("whole"))


def write_folder(miniature: Miniature, folder: Path, *, template: str) -> None:
    """Write what ``read_miniature`` reads; ``template`` names one of the project, "" is the miniature's or none."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json_text(miniature.config), encoding="utf-8")
    for name in ("generation_config", "preprocessor_config"):
        if (values := getattr(miniature, name)) is not None:
            (folder / f"{name}.json").write_text(json_text(values), encoding="utf-8")
    if not template and miniature.template is not None:
        (folder / TEMPLATE).write_text(miniature.template, encoding="utf-8")
    (folder / "tensors.csv").write_text(format_tensors(miniature.tensors), encoding="utf-8")
    (folder / "miniature.toml").write_text(_about(miniature, template), encoding="utf-8")


def load_template(name: str) -> str | None:
    """Return one of the project's templates; None for "", a model that has none."""
    if not name:
        return None
    return (data_folder() / "templates" / f"{name}.jinja").read_text(encoding="utf-8")


def tokens_from(table: dict[str, Any]) -> Tokens:
    return Tokens(
        bos=table.get("bos"),
        eos=tuple(table["eos"]),
        pad=table["pad"],
        extra=tuple(table.get("extra", ())),
        style=Style(table.get("style", Style.METASPACE)),
    )


def parse_tensors(text: str) -> list[Tensor]:
    tensors: list[Tensor] = []
    for row in csv.DictReader(io.StringIO(text)):
        shape = tuple(int(size) for size in row["shape"].split("x") if size)
        mean, std = float(row["mean"]), float(row["std"])
        tensors.extend(Tensor(name, shape, row["dtype"], mean, std) for name in expand(row["name"]))
    return sorted(tensors, key=lambda tensor: tensor.name)


def format_tensors(tensors: Iterable[Tensor]) -> str:
    """Write tensors as few rows as possible: layers and experts that are alike share a row with index ranges."""
    alike: dict[tuple[str, Tensor], set[tuple[int, ...]]] = {}
    for tensor in tensors:
        pattern = _INDEX.sub("#", tensor.name)
        shape_only = Tensor("", tensor.shape, tensor.dtype, tensor.mean, tensor.std)
        alike.setdefault((pattern, shape_only), set()).add(tuple(map(int, _INDEX.findall(tensor.name))))
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(["name", "shape", "dtype", "mean", "std"])
    rows = []
    for (pattern, tensor), indices in alike.items():
        for ranges in _products(indices):
            name = pattern
            for values in ranges:
                name = name.replace("#", _spelled(values), 1)
            shape = "x".join(map(str, tensor.shape))
            rows.append([name, shape, tensor.dtype, f"{tensor.mean:.6g}", f"{tensor.std:.6g}"])
    writer.writerows(sorted(rows))
    return out.getvalue()


def expand(pattern: str) -> list[str]:
    """``a.{0-1}.b`` is ``a.0.b`` and ``a.1.b``; several ranges make all combinations."""
    pieces = _RANGES.split(pattern)
    choices = [[piece] if place % 2 == 0 else _indices(piece) for place, piece in enumerate(pieces)]
    return ["".join(combination) for combination in itertools.product(*choices)]


def _indices(text: str) -> list[str]:
    indices = []
    for part in text.split(","):
        first, _, last = part.partition("-")
        indices += [str(index) for index in range(int(first), int(last or first) + 1)]
    return indices


def _spelled(values: Sequence[int]) -> str:
    if len(values) == 1:
        return str(values[0])
    runs = []
    for _, run in itertools.groupby(enumerate(values), key=lambda pair: pair[1] - pair[0]):
        members = [value for _, value in run]
        runs.append(str(members[0]) if len(members) == 1 else f"{members[0]}-{members[-1]}")
    return "{" + ",".join(runs) + "}"


def _products(indices: set[tuple[int, ...]]) -> list[list[list[int]]]:
    """Cut a set of index tuples into full products, merging first indices that have the same rest."""
    if indices == {()}:
        return [[]]
    rests: dict[int, set[tuple[int, ...]]] = {}
    for first, *rest in indices:
        rests.setdefault(first, set()).add(tuple(rest))
    merged: dict[frozenset[tuple[int, ...]], list[int]] = {}
    for first in sorted(rests):
        merged.setdefault(frozenset(rests[first]), []).append(first)
    return [[firsts, *product] for alike, firsts in merged.items() for product in _products(set(alike))]


def _about(miniature: Miniature, template: str) -> str:
    """Write the provenance as TOML; JSON's strings, numbers and lists of strings are TOML's."""
    tokens = miniature.tokens
    names = ("architecture", "origin", "derived_with", "first_known", "qualified")
    lines = [
        *(f"{name} = {json.dumps(getattr(miniature, name))}" for name in names),
        f"template = {json.dumps(template)}",
        *(["published_names = true"] if miniature.published_names else []),
        *([f"form = {json.dumps(json.dumps(miniature.form, sort_keys=True))}"] if miniature.form else []),
        *([f"flaws = {json.dumps(flaws_text.as_text(miniature.flaws))}"] if miniature.flaws else []),
        "",
        "[tokens]",
        *([f"bos = {json.dumps(tokens.bos, ensure_ascii=False)}"] if tokens.bos is not None else []),
        f"eos = {json.dumps(tokens.eos, ensure_ascii=False)}",
        *([f"style = {json.dumps(tokens.style)}"] if tokens.style is not Style.METASPACE else []),
        f"pad = {json.dumps(tokens.pad, ensure_ascii=False)}",
        f"extra = {json.dumps(tokens.extra, ensure_ascii=False)}",
        "",
        "[parts]",
        *(f"{part} = {count}" for part, count in miniature.parts.items()),
    ]
    if miniature.not_measured:
        sentences = miniature.not_measured.items()
        lines += ["", "[not_measured]", *(f"{part} = {json.dumps(text)}" for part, text in sentences)]
    return "\n".join(lines) + "\n"


def json_text(value: dict[str, Any]) -> str:
    return json.dumps(value, indent=1, ensure_ascii=False) + "\n"
