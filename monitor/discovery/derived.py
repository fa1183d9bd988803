"""Makes discovered models subjects: a miniature of each, from its own configuration, or why there is none."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from packaging.version import Version

from monitor.discovery.described import architecture_of, as_config
from monitor.discovery.fitted import fitted, template_of
from monitor.domain import REFERENCE, Channel, Subject, SubjectForm
from monitor.errors import SettleError
from monitor.miniatures.derive import NotDerived, read_recipes
from monitor.miniatures.manifest import HUB
from monitor.miniatures.registry import FirstKnown, read_first_known
from monitor.miniatures.shelf import describe, misfit, shelve
from monitor.runner.derive import DATA, NotInstantiated, recipe_for
from monitor.sources.index import installable
from monitor.sources.published import plain
from monitor.subjects.catalogue import SHELF, load_catalogue

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from monitor.domain import Release
    from monitor.miniatures.manifest import Miniature
    from monitor.runner.derive import Deriver
    from monitor.runner.install import Installer
    from monitor.store import Reader, Store
    from monitor.store.published import KeptFiles

_WHY_CHARS = 300


def underived(store: Reader) -> list[str]:
    """Return the discovered models for which ``derive_discovered`` has something to do."""
    ours = {model.id for model in load_catalogue().models}
    release = newest_stable(store.releases(REFERENCE))
    return [model_id for model_id in store.published.to_derive(release) if model_id not in ours]


def newest_stable(releases: Iterable[Release]) -> str:
    """Return the version that a user gets, "" where no release is known."""
    versions = [Version(one.version) for one in releases if one.channel is Channel.STABLE and not one.yanked]
    return str(max(versions)) if versions else ""


def derive_discovered(store: Store, deriver: Deriver, model_id: str) -> Subject | NotDerived:
    """Derive a miniature from the newest configuration that was read, and record what came of it.

    The first release that knows the architecture instantiates it; where none is known to, the newest is tried, so that
    trying again on every release finds the first. Raises BenchError where the bench is at fault: that is not recorded.
    """
    kept = store.published.files(model_id)
    installer = deriver.tools.installer
    release = newest_stable(store.releases(REFERENCE)) or _learn(store, installer)
    made = _made(deriver, kept, release=release)
    record = store.published.record_derivation
    if isinstance(made, NotDerived):
        made = NotDerived(model_id, plain(made.reason)[:_WHY_CHARS])  # in a stranger's words, often
        installer.progress.message(f"{model_id}: no miniature: {made.reason}")
        record(model_id, kept, installer.now(), release=release, reason=made.reason)
        return made
    description, digest = describe(made)
    shelve(description, deriver.home / SHELF)
    subject = Subject(
        id=model_id,
        model_id=model_id,
        form=SubjectForm.MINIATURE,
        architecture=made.architecture,
        digest=digest,
        first_known=made.first_known,
    )
    record(model_id, kept, installer.now(), release=release, subject=subject, description=description)
    installer.progress.message(f"{model_id}: a miniature of {made.architecture}, derived with {made.derived_with}")
    return subject


def _made(deriver: Deriver, kept: KeptFiles, *, release: str) -> Miniature | NotDerived:
    revision, files = kept.revision, kept.files
    config = as_config(files.get("config.json"))
    architecture = architecture_of(config)
    if not architecture:
        return NotDerived(revision, kept.problems.get("config.json") or "its config.json names no model_type")
    known = read_first_known(DATA / "first_known.csv")
    strange = architecture not in known
    if strange:
        known[architecture] = FirstKnown(architecture, release, None)
    plain = replace(recipe_for(config, "discovered"), origin=f"{HUB}{revision}")
    try:
        recipe = fitted(plain, read_recipes(DATA), files)
        (made,) = deriver.derive([recipe], known)
    except NotInstantiated as error:
        return NotDerived(revision, str(error))
    except SettleError:
        raise
    except Exception as error:  # noqa: BLE001 - a stranger's configuration: whatever it makes of our shrinking
        return NotDerived(revision, f"our shrinking does not fit it: {type(error).__name__}: {error}")
    if isinstance(made, NotDerived):
        return NotDerived(revision, _why(config, architecture, release, made.reason, strange=strange))
    made = replace(made, template=template_of(files))
    return NotDerived(revision, why) if (why := misfit(made)) else made


def _why(config: Mapping[str, object], architecture: str, release: str, said: str, *, strange: bool) -> str:
    """Say in a sentence why a release could not instantiate it; the last line of what it said has the cause."""
    if strange and config.get("auto_map"):
        return f"needs remote code: transformers {release} does not know {architecture}, and the model's own is not run"
    if strange and ("model type" in said or "model_type" in said or "KeyError" in said):
        return f"unknown architecture: transformers {release} does not know {architecture}"
    return said.strip().splitlines()[-1] if said.strip() else "it was not instantiated"


def _learn(store: Store, installer: Installer) -> str:
    """Ask the index where nobody has yet."""
    answer = installable(installer.settings, REFERENCE, installer.platform.accelerator)
    store.record_releases(answer.releases, seen_at=installer.now())
    return newest_stable(answer.releases)
