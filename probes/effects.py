"""What a change of a value in config.json must do to the answer: the changed files; pure."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any, NamedTuple

from probes.configuration import NOISE
from probes.keys import (
    LESS,
    NO_ANSWER,
    NOT,
    OTHER_SECTIONS,
    ROPE_BASE,
    ROPE_SECTIONS,
    ROTATED,
    ROWS,
    SCALED,
    SCALING,
    TIMES,
    TO,
    TRAINING,
    UNSCALED,
    WINDOW,
    WORD,
    Row,
)  # fmt: skip

Config = dict[str, Any]
Path = tuple[str, ...]


class Change(NamedTuple):
    """Values of config.json that are changed together, and the whole changed file."""

    row: Row
    owner: Path  # the section, and the kind of layer where it is written by kind
    paths: tuple[Path, ...]
    config: Config

    @property
    def name(self) -> str:
        return ".".join(self.paths[0])


class Off(NamedTuple):
    """A changed file that must give the same answer, and why; ``decides``: the file itself writes such a value."""

    reason: str
    names: list[str]
    config: Config
    decides: bool


def changes(config: Config) -> list[Change]:
    """Return a changed file for each key of the table that the file writes; names of one thing change together."""
    groups: dict[tuple[int, Path], dict[Path, Any]] = {}
    for path, value in _leaves(config):
        for place, row in enumerate(ROWS):
            other = _changed(row, value) if path[-1] in row.names and _applies(row, config, path) else None
            if other is not None:
                groups.setdefault((place, owner(path)), {})[path] = other
    return [
        Change(ROWS[place], where, tuple(values), _with(config, values))
        for (place, where), values in groups.items()
        # what is written by kind of layer comes before what is written for all
        if not any(place == other and kind[:-1] == where for other, kind in groups if kind)
    ]


def unknown(config: Config) -> Iterator[tuple[str, Config]]:
    """Yield a changed file for every other number with a fraction and every other switch, with its name."""
    for path, value in _leaves(config):
        key = path[-1]
        known = key in NOISE or any(key in row.names for row in ROWS) or any(part in key for part in NO_ANSWER)
        if isinstance(value, (bool, float)) and not known:
            other = not value if isinstance(value, bool) else value * 4 or 0.5
            yield ".".join(path), _with(config, {path: other})


def switched_off(config: Config) -> Iterator[Off]:
    """Yield files that differ only in what a switch makes meaningless, or in what only training uses."""
    trained = {path: 0.5 for path, value in _leaves(config) if _trained(path[-1]) and _number(value)}
    if trained:
        yield Off("only training uses it", [path[-1] for path in trained], _with(config, trained), decides=True)
    for path, section in sections(config):
        for reason, others in _meaningless(section):
            values = {(*path, *name.split(".")): value for name, value in others.items()}
            decides = any(
                _number(at(section, name[:-1]).get(name[-1])) for name in (tuple(key.split(".")) for key in others)
            )
            yield Off(reason, list(others), _with(config, values), decides)


def _meaningless(section: Config) -> Iterator[tuple[str, dict[str, float]]]:
    kinds = section.get("layer_types")
    sliding = isinstance(kinds, list) and any("full" not in str(kind) for kind in kinds)
    if section.get("use_sliding_window") is False and not sliding:
        # one by one: beside a window that is null, the number of layers means nothing to begin with
        yield "use_sliding_window is false", {"sliding_window": 5}
        yield "use_sliding_window is false", {"max_window_layers": 1}
    if section.get("attn_temperature_tuning") is False:
        yield "attn_temperature_tuning is false", {"floor_scale": 2, "attn_scale": 4.0}
    for name in ROPE_SECTIONS:
        rope = section.get(name)
        if isinstance(rope, dict) and rope.get("rope_type", rope.get("type")) in UNSCALED:
            yield "positions are not scaled", {f"{name}.factor": 8.0}


def respelled(config: Config, change: Change, rope: Any) -> list[Config]:
    """Return files that say the published value under its other names, too; ``rope`` is what the runtime makes of it.

    Where one of them answers otherwise, the published value is not what is used.
    """
    section = at(config, change.owner)
    values = {_fraction(section, path[-1], at(config, path)) for path in change.paths}
    if change.row not in (ROPE_BASE, ROTATED) or len(values) != 1 or None in values:
        return []
    name, value = ("rope_theta" if change.row is ROPE_BASE else "partial_rotary_factor"), values.pop()
    files = [] if name in section else [_with(config, {(*change.owner, name): value})]
    if isinstance(rope, dict) and rope and not any(isinstance(entry, dict) for entry in rope.values()):
        files.append(_with(config, {(*change.owner, "rope_parameters"): {**rope, name: value}}))
    return files


def _fraction(section: Config, name: str, value: Any) -> float | None:
    """Return a base as it is, and how much of a head is rotated as a fraction of it."""
    if not _number(value):
        return None
    if name != "rotary_dim":
        return float(value)
    heads = section.get("num_attention_heads")
    size = section.get("head_dim") or (section.get("hidden_size", 0) // heads if heads else 0)
    return value / size if size else None


def other_spelling(section: Config, rope: Any) -> Config | None:
    """Return the changes that write the section's positions in the other form, flat or nested; None for neither."""
    if not isinstance(rope, dict) or not rope:
        return None
    if not isinstance(section.get("rope_parameters"), dict):
        gone: Config = {
            name: None for name in ("rope_theta", "rope_scaling", "partial_rotary_factor") if name in section
        }
        return {**gone, "rope_parameters": rope} if "rope_theta" in gone else None
    if any(isinstance(entry, dict) for entry in rope.values()) or "rope_theta" not in rope:
        return None
    rest = {name: value for name, value in rope.items() if name not in {"rope_theta", "partial_rotary_factor"}}
    part = {"partial_rotary_factor": rope["partial_rotary_factor"]} if "partial_rotary_factor" in rope else {}
    scaling = {"rope_scaling": rest} if _is_scaled(rope) else {}
    return {"rope_parameters": None, "rope_theta": rope["rope_theta"], **part, **scaling}


def bases(rope: Any) -> dict[str, Any]:
    """Return the base of each kind of layer, where the runtime keeps them by kind."""
    kinds = rope.items() if isinstance(rope, dict) else ()
    return {kind: entry.get("rope_theta") for kind, entry in kinds if isinstance(entry, dict)}


def with_section(config: Config, path: Path, values: Config) -> Config:
    """Return the file with some keys of a section changed, and those that are None left out."""
    changed = copy.deepcopy(config)
    section = at(changed, path)
    section.update(values)
    for name in [name for name, value in values.items() if value is None]:
        del section[name]
    return changed


def sections(config: Config, path: Path = ()) -> Iterator[tuple[Path, Config]]:
    """Yield the parts of the file that say how text is computed: the whole, and those inside it."""
    yield path, config
    for name, value in config.items():
        if isinstance(value, dict) and name.endswith("_config") and not any(word in name for word in OTHER_SECTIONS):
            yield from sections(value, (*path, name))


def owner(path: Path) -> Path:
    """Return the section that a key belongs to, and the kind of layer where it is written by kind."""
    return tuple(name for name in path[:-1] if name not in ROPE_SECTIONS)


def _leaves(config: Config) -> Iterator[tuple[Path, Any]]:
    for path, section in sections(config):
        for name, value in section.items():
            if name not in ROPE_SECTIONS or not isinstance(value, dict):
                yield (*path, name), value
                continue
            for key, entry in value.items():
                inner = entry.items() if isinstance(entry, dict) else ()
                yield from (((*path, name, key, deep), item) for deep, item in inner)
                if not isinstance(entry, dict):
                    yield (*path, name, key), entry


def _applies(row: Row, config: Config, path: Path) -> bool:
    section = at(config, path[:-1])
    if row in SCALING:
        return _is_scaled(section)
    return row is not WINDOW or section.get("use_sliding_window") is not False


def _is_scaled(rope: Config) -> bool:
    return rope.get("rope_type", rope.get("type")) in SCALED


def _changed(row: Row, value: Any) -> Any:
    """Return another value that leaves every shape as it is; None where there is none."""
    how, amount = row.change
    if isinstance(value, list):
        items = [_changed(row, item) if how != NOT else int(not item) for item in value]
        return items if items and None not in items else None
    if how in (WORD, NOT):
        if how == WORD:
            return ("silu" if value == "relu" else "relu") if isinstance(value, str) else None
        return not value if isinstance(value, bool) else None
    if not _number(value) or value <= 0:
        return None
    other = {TIMES: value * amount, TO: amount, LESS: value - 1 if value > 1 else value + 1}[how]
    return int(other) if isinstance(value, int) and other >= 1 else float(other)


def _trained(key: str) -> bool:
    return any(word in key for word in TRAINING)


def _number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def at(config: Config, path: Path) -> Any:
    """Return the value at a path."""
    for name in path:
        config = config[name]
    return config


def _with(config: Config, values: dict[Path, Any]) -> Config:
    changed = copy.deepcopy(config)
    for path, value in values.items():
        at(changed, path[:-1])[path[-1]] = value
    return changed
