"""The layout of a checkpoint: the names of its tensors without numbers, types and shapes; two are compared; pure."""

from __future__ import annotations

import itertools
import re
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

    from monitor.miniatures.manifest import Miniature

_NUMBER = re.compile(r"(?:(?<=\.)|^)\d+(?=\.|$)")
_MOST_KINDS = 20_000  # of names, types and shapes; a checkpoint of experts has some hundreds
_SHOWN = 4
_DIGITS = 9
_MOST_SIZES = 4  # whose orders are tried

# what formats with fewer bits add to a weight, and what they call the weight itself
_ADDED = re.compile(
    r"(.*[._])?(weight_scale|weight_scale_inv|weight_scale_2|weight_global_scale|weight_shape|weight_zero_point|weight_g_idx"
    r"|input_scale|input_global_scale|input_zero_point|output_scale|k_scale|v_scale|scale_inv|qzeros|scales|g_idx)"
)
_PACKED = re.compile(r"(?P<name>.*)(?P<how>\.weight_packed|\.qweight|_blocks)")
_PACKED_NAME = {".weight_packed": ".weight", ".qweight": ".weight", "_blocks": ""}
_MADE_UP = re.compile(r".*\brotary_emb\.inv_freq")  # computed; old files hold it by accident
_HEADS = re.compile(r"(model\.)?(mtp|nextn|eagle)\b.*")


@dataclass(frozen=True, slots=True)
class TensorKind:
    """Tensors that are alike but for the numbers in their names."""

    name: str  # with # for each number
    dtype: str
    shape: tuple[int, ...]


@dataclass
class Layout:
    """How many tensors there are of each kind, and the lowest layer with a name."""

    counts: Counter[TensorKind] = field(default_factory=Counter)
    lowest: dict[str, int] = field(default_factory=dict)

    def add(self, kind: TensorKind, count: int, lowest: int) -> None:
        """Raise ValueError where there are too many kinds."""
        self.counts[kind] += count
        self.lowest[kind.name] = min(lowest, self.lowest.get(kind.name, lowest))
        if len(self.counts) > _MOST_KINDS:
            raise ValueError(f"it has more than {_MOST_KINDS} kinds of tensors")

    def names(self) -> Counter[str]:
        names: Counter[str] = Counter()
        for kind, count in self.counts.items():
            names[kind.name] += count
        return names

    def shapes(self) -> dict[str, set[tuple[int, ...]]]:
        shapes: dict[str, set[tuple[int, ...]]] = defaultdict(set)
        for kind in self.counts:
            shapes[kind.name].add(kind.shape)
        return shapes


def layout_of(tensors: Iterable[tuple[str, str, tuple[int, ...]]]) -> Layout:
    """Return the layout of tensors, each a name, type and shape. Raises ValueError where it has too many kinds."""
    layout = Layout()
    for name, dtype, shape in tensors:
        first = _NUMBER.search(name)
        layer = int(first[0]) if first and len(first[0]) <= _DIGITS else 0
        layout.add(TensorKind(_NUMBER.sub("#", name), dtype, shape), 1, layer)
    return layout


def merged(layouts: Iterable[Layout]) -> Layout:
    """Return the layout of several files together. Raises ValueError where it has too many kinds."""
    whole = Layout()
    for layout in layouts:
        for kind, count in layout.counts.items():
            whole.add(kind, count, layout.lowest[kind.name])
    return whole


def republished(before: Layout, after: Layout) -> list[str]:
    """Return, a sentence each, what differs between two layouts of the same model; none for equal ones."""
    old, new = before.names(), after.names()
    sentences = [_listed("name", "is gone", "are gone", sorted(old.keys() - new.keys()))]
    sentences.append(_listed("name", "is new", "are new", sorted(new.keys() - old.keys())))
    counts = [
        f"{name} ({old[name]} before, {new[name]} now)"
        for name in sorted(old.keys() & new.keys())
        if old[name] != new[name]
    ]
    sentences.append(_listed("name", "has another number of tensors", "have another number of tensors", counts))
    for what, part in (("shape", "shape"), ("type", "dtype")):
        was, now = (_by_name(layout, part) for layout in (before, after))
        other = [
            f"{name} ({_text(was[name])} before, {_text(now[name])} now)"
            for name in sorted(was.keys() & now.keys())
            if was[name] != now[name]
        ]
        sentences.append(_listed("name", f"has another {what}", f"have another {what}", other))
    return [sentence for sentence in sentences if sentence]


def _by_name(layout: Layout, part: str) -> dict[str, set[Any]]:
    values: dict[str, set[Any]] = defaultdict(set)
    for kind in layout.counts:
        values[kind.name].add(getattr(kind, part))
    return values


def _text(values: Iterable[Any]) -> str:
    texts = sorted("x".join(map(str, value)) if isinstance(value, tuple) else str(value) for value in values)
    return " or ".join(texts[:_SHOWN]) + (" and others" if len(texts) > _SHOWN else "")


def _listed(noun: str, singular: str, plural: str, names: Sequence[str]) -> str:
    if not names:
        return ""
    shown = ", ".join(names[:_SHOWN]) + (", ..." if len(names) > _SHOWN else "")
    return f"{len(names)} {noun}{'s' if len(names) > 1 else ''} {plural if len(names) > 1 else singular}: {shown}"


def unlike_miniature(published: Layout, config: Mapping[str, Any], miniature: Miniature) -> list[str]:
    """Return, a sentence each, where a published layout is another than its miniature's; none where they are alike.

    Numbers of layers and experts and sizes differ in any case. ``config`` is the published configuration.
    """
    mine = layout_of((tensor.name, tensor.dtype, tensor.shape) for tensor in miniature.tensors)
    theirs, packed = _unpacked(published, mine.lowest.keys())
    optional = set(_optional(published, config, miniature))
    only_published = sorted(theirs.keys() - mine.names().keys() - optional)
    only_mine = sorted(mine.names().keys() - theirs.keys() - optional)
    sentences = [
        _listed("published name", "is not in the miniature", "are not in the miniature", only_published),
        _listed("name", "of the miniature is not published", "of the miniature are not published", only_mine),
    ]
    sizes = _Sizes(config, miniature.config)
    ranks, axes = [], []
    for name, shapes in sorted(mine.shapes().items()):
        if name not in theirs or name in packed:
            continue
        if {len(shape) for shape in shapes} != {len(shape) for shape in theirs[name]}:
            ranks.append(f"{name} ({_text(theirs[name])} published, {_text(shapes)} in the miniature)")
        elif len(shapes) == 1 and all(sizes.turned(next(iter(shapes)), shape) for shape in theirs[name]):
            axes.append(f"{name} ({_text(theirs[name])} published, {_text(shapes)} in the miniature)")
    sentences.append(_listed("name", "has another rank", "have another rank", ranks))
    sentences.append(_listed("name", "has its sizes in another order", "have their sizes in another order", axes))
    return [sentence for sentence in sentences if sentence]


def _unpacked(published: Layout, plain_names: Collection[str]) -> tuple[dict[str, set[tuple[int, ...]]], set[str]]:
    """Return the shapes by the name that a weight has in plain files, and which of these names are packed."""
    theirs: dict[str, set[tuple[int, ...]]] = defaultdict(set)
    packed: set[str] = set()
    for name, shapes in published.shapes().items():
        if name in plain_names:
            theirs[name] |= shapes
            continue
        if _ADDED.fullmatch(name) or _MADE_UP.fullmatch(name):
            continue
        match = _PACKED.fullmatch(name)
        plain = match["name"] + _PACKED_NAME[match["how"]] if match else name
        if plain.endswith("_scales") and plain.removesuffix("_scales") + "_blocks" in published.lowest:
            continue
        theirs[plain] |= shapes
        packed |= {plain} if match else set()
    return theirs, packed


def _optional(published: Layout, config: Mapping[str, Any], miniature: Miniature) -> Iterator[str]:
    """Yield names that one side may lack: a tied head, and heads for further tokens, which no miniature has."""
    sections = [section for section in (config, config.get("text_config")) if isinstance(section, dict)]
    tied = [
        section["tie_word_embeddings"] for section in (*sections, miniature.config) if "tie_word_embeddings" in section
    ]
    if any(tied) or not tied:  # where no file says it, the miniature has what the class does
        yield from (name for name in published.lowest if name.endswith("lm_head.weight"))
    if "heads" not in miniature.not_measured:
        return
    depths = [section["num_hidden_layers"] for section in sections if isinstance(section.get("num_hidden_layers"), int)]
    for name, lowest in published.lowest.items():
        if _HEADS.fullmatch(name) or (depths and lowest >= min(depths)):
            yield name


class _Sizes:
    """What a size of a miniature may be in the published model, by the keys that both configurations have."""

    def __init__(self, published: Mapping[str, Any], shrunk: Mapping[str, Any]) -> None:
        theirs, mine = dict(_numbers(published)), dict(_numbers(shrunk))
        keys = theirs.keys() & mine.keys()
        self._pairs = {(mine[key], theirs[key]) for key in keys}
        for heads, width in itertools.product(
            (key for key in keys if "heads" in key[-1]), (key for key in keys if "dim" in key[-1])
        ):
            self._pairs.add((mine[heads] * mine[width], theirs[heads] * theirs[width]))

    def turned(self, mine: tuple[int, ...], theirs: tuple[int, ...]) -> bool:
        """Return whether the sizes are explained in another order, and not in this one."""
        if self._explained(mine, theirs) or len(mine) > _MOST_SIZES:
            return False
        return any(self._explained(mine, order) for order in itertools.permutations(theirs))

    def _explained(self, mine: tuple[int, ...], theirs: tuple[int, ...]) -> bool:
        return all(pair in self._pairs or pair[0] == pair[1] for pair in zip(mine, theirs, strict=True))


def _numbers(config: Mapping[str, Any], at: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], int]]:
    for key, value in config.items():
        if isinstance(value, dict):
            yield from _numbers(value, (*at, str(key)))
        elif isinstance(value, int) and not isinstance(value, bool):
            yield (*at, str(key)), value
