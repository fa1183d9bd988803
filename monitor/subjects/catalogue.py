"""The models of the project's catalogue, and the lookup of one by a name that a person types."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, replace
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from monitor.domain import Confidence, HubName, Model, ModelKind, ReleaseKind, Subject, SubjectForm
from monitor.errors import UnknownName
from monitor.judge.parity import ParityCause
from monitor.miniatures.manifest import data_folder, load_miniature, miniature_slugs, read_miniature
from monitor.miniatures.writer import digest_of, shelve
from monitor.store.renaming import former_names

if TYPE_CHECKING:
    from collections.abc import Iterator
    from importlib.resources.abc import Traversable
    from pathlib import Path

    from monitor.miniatures.manifest import Miniature
    from monitor.store import Reader

SHELF = "miniatures"  # folder in the data directory


@dataclass(frozen=True, slots=True)
class CatalogueEntry:
    """A model and the slugs of its miniatures, the main one first."""

    model: Model
    miniatures: tuple[str, ...]
    part: bool = False  # all of them are of the language part: the whole model is not measured

    @property
    def subject_ids(self) -> tuple[str, ...]:
        """``<model id>`` for the main miniature, ``<model id>#text`` for one of the language part alone."""
        return tuple(
            f"{self.model.id}#text" if place or self.part else self.model.id for place in range(len(self.miniatures))
        )

    @property
    def names(self) -> tuple[set[str], set[str], set[str]]:
        """Its ids, former ones included, its family and its architecture."""
        former = {before for before, after in former_names().items() if after.model == self.model.id}
        ids = {self.model.id, HubName.parse(self.model.id).name, *self.subject_ids, *former}
        return ids, {self.model.family}, {self.model.architecture}

    def subjects(self) -> tuple[Subject, ...]:
        """Read the miniatures and describe each as a subject; the digest names files that need not exist yet."""
        return tuple(
            Subject(
                id=name,
                model_id=self.model.id,
                form=SubjectForm.MINIATURE,
                architecture=miniature.architecture,
                digest=digest_of(miniature),
                qualified=bool(miniature.qualified),
                first_known=miniature.first_known,
                control=self.model.control,
            )
            for name, miniature in zip(self.subject_ids, map(load_miniature, self.miniatures), strict=True)
        )


@dataclass(frozen=True, slots=True)
class CatalogueMatch:
    """``note`` names the chosen model where several match, else it is empty."""

    entry: CatalogueEntry
    note: str = ""


@dataclass(frozen=True, slots=True)
class Catalogue:
    """``shelf`` is the folder of the miniatures that were derived in this data directory."""

    entries: tuple[CatalogueEntry, ...]
    shelf: Path | None = None

    def __iter__(self) -> Iterator[CatalogueEntry]:
        return iter(self.entries)

    @property
    def models(self) -> tuple[Model, ...]:
        return tuple(entry.model for entry in self.entries)

    @property
    def control(self) -> CatalogueEntry:
        """An old, well-supported model that is probed in every environment."""
        return next(entry for entry in self.entries if entry.model.control)

    def subjects(self) -> tuple[Subject, ...]:
        return tuple(subject for entry in self.entries for subject in entry.subjects())

    def folder_of(self, subject_id: str, digest: str) -> Traversable:
        """Return the folder that describes a subject's miniature. Raises UnknownName when there is none.

        A derived miniature is found by its digest alone, on the shelf.
        """
        slugs = {
            name: slug for entry in self.entries for name, slug in zip(entry.subject_ids, entry.miniatures, strict=True)
        }
        if subject_id in slugs:
            return data_folder() / "miniatures" / slugs[subject_id]
        if self.shelf is not None and digest and (self.shelf / digest).is_dir():
            return self.shelf / digest
        raise UnknownName("subject", subject_id, slugs)

    def miniature_of(self, subject_id: str, digest: str = "") -> Miniature:
        folder = self.folder_of(subject_id, digest)
        return load_miniature(folder.name) if folder.name in miniature_slugs() else read_miniature(folder)

    def find(self, name: str) -> CatalogueMatch:
        """Find by hub id (or its last part), then family, then architecture, ignoring case. Raises UnknownName."""
        wanted = name.strip().lower()
        for place in range(3):
            matches = [entry for entry in self.entries if wanted in {known.lower() for known in entry.names[place]}]
            if matches:
                return CatalogueMatch(matches[0], _choice(name, matches))
        known = {text for entry in self.entries for names in entry.names for text in names}
        raise UnknownName("model", name, sorted(known), hint="`settle models` lists them")


def catalogue_of(home: Path, store: Reader) -> Catalogue:
    """Return the catalogue with the miniatures that were derived in this home; missing files come from the history."""
    shelf = home / SHELF
    for digest, kept in store.published.descriptions().items():
        if not (shelf / digest).is_dir() and (description := store.published.archive.read(kept)):
            shelve(description, shelf)
    return replace(load_catalogue(), shelf=shelf)


@cache
def load_catalogue() -> Catalogue:
    text = (files("monitor") / "data" / "catalogue.toml").read_text(encoding="utf-8")
    return Catalogue(tuple(_entry(row) for row in tomllib.loads(text)["model"]))


def _entry(row: dict[str, Any]) -> CatalogueEntry:
    closed = {"kind": ModelKind, "released_kind": ReleaseKind, "released_confidence": Confidence}
    fields: dict[str, Any] = {
        name: closed[name](value) if name in closed else value
        for name, value in row.items()
        if name not in {"miniatures", "part"}
    }
    return CatalogueEntry(Model(**fields), tuple(row["miniatures"]), row.get("part", False))


def _choice(name: str, matches: list[CatalogueEntry]) -> str:
    first, *others = [entry.model.id for entry in matches]
    return f"{name!r} matches several models: {first} is used, not {', '.join(others)}" if others else ""


def load_parity_causes() -> tuple[ParityCause, ...]:
    """Read the known causes of differences from the reference's numbers, by the runtime's family."""
    text = (files("monitor") / "data" / "parity_causes.toml").read_text(encoding="utf-8")
    return tuple(
        ParityCause(row["family"], architecture, row["finding"], of_reference=row.get("of_reference", False))
        for row in tomllib.loads(text)["cause"]
        for architecture in row["architectures"]
    )
