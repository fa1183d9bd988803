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
from monitor.runner.derive import DATA, NotInstantiated, derive_inside, recipe_for
from monitor.sources.access import install_settings
from monitor.sources.index import installable
from monitor.sources.published import plain
from monitor.subjects.catalogue import SHELF, load_catalogue

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from monitor.domain import Release
    from monitor.miniatures.manifest import Miniature
    from monitor.progress import Progress
    from monitor.runner.context import RunContext
    from monitor.store import Reader
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


def derive_discovered(context: RunContext, model_id: str, progress: Progress) -> Subject | NotDerived:
    """Derive a miniature from the newest configuration that was read, and record what came of it.

    The first release that knows the architecture instantiates it; where none is known to, the newest is tried, so that
    trying again on every release finds the first. Raises BenchError where the bench is at fault: that is not recorded.
    """
    kept = context.store.published.files(model_id)
    release = newest_stable(context.store.releases(REFERENCE)) or _learn(context)
    made = _made(context, kept, release=release, progress=progress)
    record = context.store.published.record_derivation
    if isinstance(made, NotDerived):
        made = NotDerived(model_id, plain(made.reason)[:_WHY_CHARS])  # in a stranger's words, often
        progress.message(f"{model_id}: no miniature: {made.reason}")
        record(model_id, kept, context.now(), release=release, reason=made.reason)
        return made
    description, digest = describe(made)
    shelve(description, context.config.home / SHELF)
    subject = Subject(
        id=model_id,
        model_id=model_id,
        form=SubjectForm.MINIATURE,
        architecture=made.architecture,
        digest=digest,
        first_known=made.first_known,
    )
    record(model_id, kept, context.now(), release=release, subject=subject, description=description)
    progress.message(f"{model_id}: a miniature of {made.architecture}, derived with {made.derived_with}")
    return subject


def _made(context: RunContext, kept: KeptFiles, *, release: str, progress: Progress) -> Miniature | NotDerived:
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
        (made,) = derive_inside(context, [recipe], known, progress)
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


def _learn(context: RunContext) -> str:
    """Ask the index where nobody has yet."""
    answer = installable(install_settings(context.config), REFERENCE, context.platform.accelerator)
    context.store.record_releases(answer.releases, seen_at=context.now())
    return newest_stable(answer.releases)
