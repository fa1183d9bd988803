"""Releases that are no Python packages: an archive fetched by the installer, known by its sha256 and kept unpacked."""

from __future__ import annotations

import contextlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from containers.failures import InstallFailure, InstallFault, Stage, from_execution
from containers.inside import artefact as inside
from containers.lock import SOURCES, Artefact, redacted
from containers.recipe import Wanted, source_shape
from containers.recipes import RECIPES

if TYPE_CHECKING:
    from containers.engine import Execution
    from containers.installer import Installer

_FAULTS = {
    inside.NOT_FOUND: InstallFault.UNRESOLVABLE,
    inside.NETWORK: InstallFault.NETWORK,
    inside.MISMATCH: InstallFault.INDEX,  # whoever serves it serves something else than was published
    inside.REFUSED: InstallFault.RECIPE,
    inside.DISK: InstallFault.DISK,
}


def fetch(installer: Installer, wanted: Wanted) -> Artefact | InstallFailure:
    """Have the artefact unpacked, and return what it is."""
    result: Artefact | InstallFailure | None = None
    for address in wanted.addresses:
        result = _fetch(installer, wanted, address)
        if isinstance(result, Artefact) or not result.no_such_version:
            return result
    assert result is not None  # noqa: S101 - nobody asks for an artefact without an address
    return result


def again(installer: Installer, artefact: Artefact) -> InstallFailure | None:
    """Fetch once more what a lock names, where its tree is gone."""
    if tree_of(installer, artefact).is_dir():
        return None
    if artefact.name.startswith(SOURCES):
        shape = source_shape(artefact.address)
    else:
        archive = RECIPES[artefact.name].archive if artefact.name in RECIPES else None
        assert archive is not None, artefact  # noqa: S101 - only a recipe's archive comes into a lock
        shape = archive.shape
    wanted = Wanted(artefact.name, artefact.version, (artefact.address,), shape, sha256=artefact.sha256)
    result = _fetch(installer, wanted, artefact.address)
    return result if isinstance(result, InstallFailure) else None


def tree_of(installer: Installer, artefact: Artefact) -> Path:
    return installer.root / "artefacts" / artefact.sha256


def _fetch(installer: Installer, wanted: Wanted, address: str) -> Artefact | InstallFailure:
    note = _Note(installer.root / "artefacts" / "known.json")
    local = address.removeprefix("file://")
    # without a publisher's list an address is asked once: the archive itself would have to be fetched to know its hash
    sha256 = wanted.sha256 or ("" if wanted.sums or _is_local(address) else note.read().get(address, ""))
    with installer.workspace() as folder:
        request = {
            "address": local,
            "sums": wanted.sums.removeprefix("file://"),
            "sha256": sha256,
            "into": str(installer.root / "artefacts"),
            "work": str(folder),
            "kept": wanted.shape.kept,
            "dropped": wanted.shape.dropped,
            "wanted": wanted.shape.wanted,
            "uv": installer.uv,
        }
        execution = installer.run(
            *(installer.base.interpreter, "-I", "-B", installer.unpacker.target, json.dumps(request)),
            files=[Path(local)] if _is_local(address) else [],
        )
    told = _told(execution)
    if not execution.ok:
        return _failure(execution, told, wanted)
    found = str(told.get("sha256", ""))
    if not (installer.root / "artefacts" / (found or "none")).is_dir():
        return _refused(execution, InstallFault.RECIPE, f"the installer said nothing of {wanted.name}'s archive")
    note.write(address, found)
    return Artefact(wanted.name, wanted.version, redacted(address), found)


def _is_local(address: str) -> bool:
    return "://" not in address or address.startswith("file://")


def _told(execution: Execution) -> dict[str, Any]:
    for line in reversed(execution.log.decode(errors="replace").splitlines()):
        with contextlib.suppress(ValueError):
            found = json.loads(line)
            if isinstance(found, dict):
                return found
    return {}


def _failure(execution: Execution, told: dict[str, Any], wanted: Wanted) -> InstallFailure:
    slug = _FAULTS.get(execution.exit_code or 0)
    if slug is None or execution.engine_fault or execution.timed_out or execution.out_of_memory:
        return from_execution(execution, Stage.INSTALL)
    why = f"{wanted.name} {wanted.version}: {told.get('why', 'no reason was given')}"
    return _refused(execution, slug, why, no_such_version=slug is InstallFault.UNRESOLVABLE)


def _refused(execution: Execution, slug: InstallFault, why: str, *, no_such_version: bool = False) -> InstallFailure:
    log = redacted(execution.log.decode(errors="replace")).encode()
    return InstallFailure(Stage.INSTALL, slug, redacted(why), log, execution.seconds, no_such_version)


@dataclass(frozen=True, slots=True)
class _Note:
    """Which hash an address had."""

    path: Path

    def read(self) -> dict[str, str]:
        try:
            found = json.loads(self.path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return found if isinstance(found, dict) else {}

    def write(self, address: str, sha256: str) -> None:
        text = json.dumps(self.read() | {redacted(address): sha256})
        aside = self.path.with_suffix(".new")
        aside.write_text(text, encoding="utf-8")
        aside.replace(self.path)
