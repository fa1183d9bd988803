"""Releases that are no Python packages: an archive fetched by the installer, stored unpacked under its sha256."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from containers.failures import InstallFailure, InstallFault, InstallStage, from_execution
from containers.inside import artefact as inside
from containers.lock import SOURCES, Artefact, redacted
from containers.recipe import Wanted, source_shape
from containers.recipes import RECIPES

if TYPE_CHECKING:
    from containers.engine import Execution
    from containers.installer import PackageInstaller

_FAULTS = {
    inside.NOT_FOUND: InstallFault.UNRESOLVABLE,
    inside.NETWORK: InstallFault.NETWORK,
    inside.MISMATCH: InstallFault.INDEX,  # the server's file is not the published one
    inside.REFUSED: InstallFault.RECIPE,
    inside.DISK: InstallFault.DISK,
}


def fetch(installer: PackageInstaller, wanted: Wanted) -> Artefact | InstallFailure:
    """Fetch and unpack an artefact, and return what a lock holds of it."""
    result: Artefact | InstallFailure | None = None
    for address in wanted.addresses:
        result = _fetch(installer, wanted, address)
        if isinstance(result, Artefact) or not result.no_such_version:
            return result
    assert result is not None  # noqa: S101 - an artefact has an address
    return result


def fetch_missing(installer: PackageInstaller, artefact: Artefact) -> InstallFailure | None:
    """Fetch the artefact of a lock again, where its tree is gone."""
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


def tree_of(installer: PackageInstaller, artefact: Artefact) -> Path:
    return installer.root / "artefacts" / artefact.sha256


def _fetch(installer: PackageInstaller, wanted: Wanted, address: str) -> Artefact | InstallFailure:
    trees = installer.root / "artefacts"
    hashes = trees / "known.json"
    local = address.removeprefix("file://")
    is_local = "://" not in local
    # without a publisher's list an address is fetched once: only the archive itself would show its hash
    sha256 = wanted.sha256 or ("" if wanted.sums or is_local else _known_hashes(hashes).get(address, ""))
    with installer.workspace() as folder:
        request = {
            "address": local,
            "sums": wanted.sums.removeprefix("file://"),
            "sha256": sha256,
            "into": str(trees),
            "work": str(folder),
            "kept": wanted.shape.kept,
            "dropped": wanted.shape.dropped,
            "wanted": wanted.shape.wanted,
            "uv": installer.uv,
        }
        execution = installer.run(
            *(installer.base.interpreter, "-I", "-B", installer.unpacker.target, json.dumps(request)),
            files=[Path(local)] if is_local else [],
        )
    if not execution.ok:
        return _failure(execution, wanted)
    fetched = str(execution.record().get("sha256", ""))
    if not (trees / (fetched or "none")).is_dir():
        message = f"the installer printed no hash of {wanted.name}'s archive"
        return InstallFailure.of(execution, InstallStage.INSTALL, InstallFault.RECIPE, message)
    _note_hash(hashes, address, fetched)
    return Artefact(wanted.name, wanted.version, redacted(address), fetched)


def _failure(execution: Execution, wanted: Wanted) -> InstallFailure:
    slug = _FAULTS.get(execution.exit_code or 0)
    if slug is None or execution.engine_fault or execution.timed_out or execution.out_of_memory:
        return from_execution(execution, InstallStage.INSTALL)
    message = f"{wanted.name} {wanted.version}: {execution.record().get('why', 'no reason was given')}"
    failure = InstallFailure.of(execution, InstallStage.INSTALL, slug, message)
    return replace(failure, no_such_version=slug is InstallFault.UNRESOLVABLE)


def _known_hashes(file: Path) -> dict[str, str]:
    """Return the hash that each address had."""
    try:
        hashes = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return hashes if isinstance(hashes, dict) else {}


def _note_hash(file: Path, address: str, sha256: str) -> None:
    aside = file.with_suffix(".new")
    aside.write_text(json.dumps(_known_hashes(file) | {redacted(address): sha256}), encoding="utf-8")
    aside.replace(file)
