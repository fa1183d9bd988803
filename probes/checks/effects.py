"""Rung 1, asked last: the same weights answer otherwise once a value of config.json is another."""

from __future__ import annotations

import json
import tempfile
import time
from pathlib import Path
from typing import Any

from probes import effects as files
from probes import keys
from probes.catalogue import check
from probes.configuration import Effective
from probes.events import Answer, failed, few, passed, skipped
from probes.runtimes import Trace
from probes.subject import Subject

_SLOW = 1.0  # seconds of computing for one answer, however busy the machine is: some thirty are asked for
_NOT_SLIDING = ("full", "linear", "recurrent", "mamba", "conv", "nope")


@check("knows.effects", needs="rebuilds", after=("generates.forward",), finding=True, proves="wrong-config", deep=True)
def effects(subject: Subject) -> Answer:
    """A change of a value in config.json changes the answer, unless a switch that is off makes it meaningless.

    The weights stay. Fail only where the published value is not what is used; a value without an effect is a finding.
    """
    with tempfile.TemporaryDirectory() as scratch:
        asked = _Asked(subject, Path(scratch))
        if reason := asked.unfit():
            return skipped(reason)
        _ask_switches(asked)
        for change in files.changes(subject.config_json):
            _ask_change(asked, change)
        _ask_spellings(asked)
        others = files.unknown(subject.config_json)
        asked.idle += [name for name, config in others if asked.distance(config) == 0.0]
    evidence = {**asked.evidence, "changing": asked.changing, "ignored": asked.ignored, "idle": asked.idle}
    if asked.wrong:
        return failed("wrong-config", few(asked.wrong), wrong=asked.wrong, **evidence)
    if asked.ignored:
        subject.facts["ignored_values"] = asked.ignored
        named = few([f"{name} ({text})" for name, text in asked.ignored.items()])
        return skipped(f"a file with other values makes another model than it says: {named}", **evidence)
    if not asked.changing:
        return skipped("config.json has no value that is known to change the answer", **evidence)
    return passed(f"{len(asked.changing)} values change the answer", **evidence)


class _Asked:
    """The answer of the model as it is published, and of the same weights with other configurations."""

    def __init__(self, subject: Subject, folder: Path) -> None:
        self.subject = subject
        self.folder = folder
        self.row = subject.row(subject.boundary() + 12, seed=3)  # past the window
        self.base = subject.model.forward(self.row)
        self.effective = subject.runtime.effective(subject.config, subject.config_json)
        self.changing: list[str] = []
        self.idle: list[str] = []
        self.ignored: dict[str, str] = {}
        self.wrong: list[str] = []
        self.evidence: dict[str, Any] = {}

    def unfit(self) -> str:
        """Return why changes would say nothing here, "" where they do."""
        began = time.process_time()
        try:
            same = self.base.distance(self._answer(self.subject.config_json))
        except Exception as error:  # noqa: BLE001 -- making a model again is our way to ask, and no user's
            return f"the model is not made again from its configuration: {type(error).__name__}"
        if same > 0.0:
            return f"the model that is made again from its configuration answers otherwise, by {same:.3g}"
        seconds = time.process_time() - began
        return f"one answer takes {seconds:.1f} s of computing, and some thirty are needed" if seconds > _SLOW else ""

    def distance(self, config_json: dict[str, Any]) -> float | None:
        """Return how far the answer moves; None where the changed file makes no such model."""
        try:
            return self.base.distance(self._answer(config_json))
        except Exception:  # noqa: BLE001 -- the values are ours: other shapes and refused values are no fault
            return None

    def moves(self, config_json: dict[str, Any]) -> bool:
        """Return whether the answer moves farther than rounding explains."""
        distance = self.distance(config_json)
        return distance is not None and self.subject.beyond(distance, self.row, self.base, self.evidence)

    def section(self, path: files.Path, config_json: dict[str, Any] | None = None) -> Effective:
        """Return what the runtime makes of a section of the published file or of another."""
        part = self.effective
        if config_json is not None:
            part = self.subject.runtime.effective(self._config(config_json), config_json)
        for name in path:
            part = part.parts.get(name, part)
        return part

    def _config(self, config_json: dict[str, Any]) -> Any:
        (self.folder / "config.json").write_text(json.dumps(config_json), encoding="utf-8")
        return self.subject.runtime.config(self.folder)

    def _answer(self, config_json: dict[str, Any]) -> Trace:
        return self.subject.model.rebuilt(self._config(config_json)).forward(self.row)


def _ask_switches(asked: _Asked) -> None:
    for off in files.switched_off(asked.subject.config_json):
        if not asked.moves(off.config):
            continue
        name = " or ".join(off.names)
        if off.decides:
            asked.wrong.append(f"{name} changes the answer, although {off.reason}")
        else:
            asked.ignored[name] = f"it changes the answer, although {off.reason}"


def _ask_change(asked: _Asked, change: files.Change) -> None:
    if change.row in (keys.WINDOW, keys.CHUNK) and not _slides(asked.section(change.owner)):
        return
    distance = asked.distance(change.config)
    if distance is None or 0.0 < distance < asked.subject.tolerance(asked.base):
        return  # no such model, or too little to tell
    if distance > 0.0:
        asked.changing.append(change.name)
        if change.row is keys.ROPE_BASE:
            _ask_kinds(asked, change)
    else:
        _without_effect(asked, change)


def _without_effect(asked: _Asked, change: files.Change) -> None:
    """Distinguish a value that is not used from one that may be the default."""
    effective = asked.section(change.owner)
    value = files.at(asked.subject.config_json, change.paths[0])
    # of a file that was put together it is not known what else the published one says
    others = files.respelled(asked.subject.config_json, change, effective.values.get("rope_parameters"))
    if asked.subject.golden.get("published", True) and any(asked.moves(other) for other in others):
        asked.wrong.append(f"{change.name} {value!r} is not used: under another name, this value changes the answer")
        return
    defaults = [effective.defaults[path[-1]] for path in change.paths if path[-1] in effective.defaults]
    if change.row.decides and defaults and value not in defaults:
        asked.wrong.append(f"{change.name} is {value!r} and changes nothing; the default is {defaults[0]!r}")
    elif defaults:
        asked.ignored[change.name] = f"{value!r} and others give the same answer"
    else:
        asked.idle.append(change.name)


def _ask_kinds(asked: _Asked, change: files.Change) -> None:
    """Find the kinds of layers that keep the published base, where only the others take the changed one."""
    before, after = (
        asked.section(change.owner, config).values.get("rope_parameters")
        for config in (asked.subject.config_json, change.config)
    )
    for kind, theta in files.bases(before).items():
        if kind and theta == files.at(asked.subject.config_json, change.paths[0]) == files.bases(after).get(kind):
            asked.ignored[f"{change.name} in {kind}"] = f"{theta!r} and others give the same"


def _slides(effective: Effective) -> bool:
    """Return whether any layer has a window, as far as the runtime says which do."""
    kinds = effective.values.get("layer_types")
    if not isinstance(kinds, (list, tuple)) or not kinds:
        return True
    return any(not any(word in str(kind) for word in _NOT_SLIDING) for kind in kinds)


def _ask_spellings(asked: _Asked) -> None:
    """Compare the flat and the nested spelling of positions; the published one is judged by its own values."""
    config = asked.subject.config_json
    for path, section in files.sections(config):
        values = files.other_spelling(section, asked.section(path).values.get("rope_parameters"))
        if values is not None and asked.moves(files.with_section(config, path, values)):
            name = ".".join((*path, "rope_parameters"))
            asked.ignored[name] = "rope_theta outside and inside give different answers"
