"""Makes discovered models subjects: a miniature (a tiny model with random weights) of each, or why there is none."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from packaging.version import Version

from monitor.discovery.model_facts import architecture_of, as_config
from monitor.domain import REFERENCE, Channel, Subject, SubjectForm
from monitor.errors import SettleError
from monitor.miniatures.derive import NotDerived, read_first_known, read_recipes
from monitor.miniatures.flaws import DEFAULT, PublishedChat, flaws_of, templates_in
from monitor.miniatures.manifest import HUB
from monitor.miniatures.needs import SAME_AS
from monitor.miniatures.specials import added_tokens, ends_of, specials_of, spelling
from monitor.miniatures.writer import describe, misfit, shelve
from monitor.runner.derive import DATA, NotInstantiated, recipe_for
from monitor.sources.hub_answers import plain
from monitor.sources.index import installable
from monitor.subjects.catalogue import SHELF, load_catalogue

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from monitor.domain import Release
    from monitor.miniatures.derive import MiniatureRecipe
    from monitor.miniatures.manifest import Miniature
    from monitor.miniatures.tokenizer import Tokens
    from monitor.runner.derive import Deriver
    from monitor.store import Reader, Store

_REASON_CHARS = 300
_TOKEN_CHARS = 64
_EXTRA = 24  # a miniature's tokenizer has room for 60, and its configuration may name some


def underived(store: Reader) -> list[str]:
    """Return the discovered models for which ``derive_discovered`` has work to do."""
    in_catalogue = {model.id for model in load_catalogue().models}
    release = newest_stable(store.releases(REFERENCE))
    return [model_id for model_id in store.published.to_derive(release) if model_id not in in_catalogue]


def newest_stable(releases: Iterable[Release]) -> str:
    """Return the version that a user gets, "" where no release is known."""
    versions = [
        Version(release.version) for release in releases if release.channel is Channel.STABLE and not release.yanked
    ]
    return str(max(versions)) if versions else ""


def derive_discovered(store: Store, deriver: Deriver, model_id: str) -> Subject | NotDerived:
    """Derive a miniature from the newest configuration that was read, and record the result.

    Raises InfraError for an infra fault, which is not recorded.
    """
    kept = store.published.files(model_id)
    installer = deriver.tools.installer
    progress, now = installer.progress, installer.now()
    release = newest_installable(store, deriver)
    try:
        miniature = miniature_of_files(
            kept.files, deriver=deriver, newest=release, origin=f"{HUB}{kept.revision}", problems=kept.problems
        )
    except SettleError:
        raise
    except Exception as error:  # noqa: BLE001 - files of a stranger: reading them may fail in any way
        miniature = NotDerived(model_id, f"its files cannot be used: {type(error).__name__}: {error}")
    if isinstance(miniature, NotDerived):
        failure = NotDerived(model_id, plain(miniature.reason)[:_REASON_CHARS])  # often untrusted text
        progress.message(f"{model_id}: no miniature: {failure.reason}")
        store.published.record_derivation(model_id, kept, now, release=release, reason=failure.reason)
        return failure
    description, digest = describe(miniature)
    shelve(description, deriver.home / SHELF)
    subject = Subject(
        id=model_id,
        model_id=model_id,
        form=SubjectForm.MINIATURE,
        architecture=miniature.architecture,
        digest=digest,
        first_known=miniature.first_known,
    )
    store.published.record_derivation(model_id, kept, now, release=release, subject=subject, description=description)
    progress.message(f"{model_id}: a miniature of {miniature.architecture}, derived with {miniature.derived_with}")
    return subject


def newest_installable(store: Store, deriver: Deriver) -> str:
    """Return the newest stable release of transformers; the index is asked where none is recorded."""
    if release := newest_stable(store.releases(REFERENCE)):
        return release
    installer = deriver.tools.installer
    releases = installable(installer.settings, REFERENCE, installer.platform.accelerator).releases
    store.record_releases(releases, seen_at=installer.now())
    return newest_stable(releases)


def miniature_of_files(
    files: Mapping[str, bytes],
    *,
    deriver: Deriver,
    newest: str,
    origin: str,
    problems: Mapping[str, str] | None = None,
    release: str = "",
) -> Miniature | NotDerived:
    """Derive a miniature from a model's small files, or say why there is none: for the hub and the command alike.

    The first release that knows the architecture instantiates it, then the first that knows its parts, too, then the
    newest; ``release`` is the only one to try. Raises InfraError for an infra fault.
    """
    config = as_config(files.get("config.json"))
    architecture = architecture_of(config)
    if not architecture:
        reason = (problems or {}).get("config.json") or "its config.json names no model_type"
        return NotDerived(origin, reason)
    known = read_first_known(DATA / "first_known.csv")
    same = SAME_AS.get(architecture, architecture)
    attempts = [release] if release else releases_to_try(config, known, newest)
    new = same not in known
    if new:
        known[same] = attempts[0]
    recipe = replace(recipe_for({**config, "model_type": same}, "discovered"), origin=origin)
    recipe = complete_recipe(recipe, read_recipes(DATA), files)
    made = _first_derived(recipe, attempts, known, deriver)
    if isinstance(made, NotDerived):
        return NotDerived(origin, _reason(config, architecture, attempts[-1], made.reason, new=new))
    made = replace(
        made,
        architecture=architecture,
        config={**made.config, "model_type": architecture},
        first_known=made.first_known if same == architecture else "",
        template=template_of(files),
        flaws=flaws_of(published_of(files)),
    )
    problem = misfit(made)
    return NotDerived(origin, problem) if problem else made


def releases_to_try(config: Mapping[str, Any], known: Mapping[str, str], newest: str) -> list[str]:
    """Return the releases that may instantiate a configuration, the first that knows its type first.

    A part may be of a later type than the whole, and a type may learn another shape after its first release.
    """
    types = [SAME_AS.get(name, name) for name in _types_in(config)]
    first = known.get(types[0], newest).removeprefix("<=") if types else newest
    later = [known[name].removeprefix("<=") for name in types if name in known]
    return list(dict.fromkeys([first, max([first, *later], key=Version), newest]))


def _types_in(config: Mapping[str, Any]) -> list[str]:
    inner = [name for value in config.values() if isinstance(value, dict) for name in _types_in(value)]
    named = config.get("model_type")
    return ([named] if isinstance(named, str) and named else []) + inner


def _first_derived(
    recipe: MiniatureRecipe, attempts: Sequence[str], known: Mapping[str, str], deriver: Deriver
) -> Miniature | NotDerived:
    made: Miniature | NotDerived = NotDerived(recipe.slug, "")
    wanted = recipe.release  # the project knows that the first release saves it wrongly
    for release in dict.fromkeys([wanted or attempts[0], *attempts]):
        try:
            (made,) = deriver.derive([replace(recipe, release=release)], known)
        except NotInstantiated as error:
            made = NotDerived(recipe.slug, str(error))
        except (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError) as error:
            # an untrusted configuration: shrinking may fail in any way
            return NotDerived(recipe.slug, f"this configuration cannot be shrunk: {type(error).__name__}: {error}")
        if not isinstance(made, NotDerived):
            break
    return made


def _reason(config: Mapping[str, object], architecture: str, release: str, output: str, *, new: bool) -> str:
    """Say in a sentence why no release could instantiate it; the last line of its output has the cause."""
    if new and config.get("auto_map"):
        return f"needs remote code: transformers {release} does not know {architecture}, and remote code is not run"
    if new and ("model type" in output or "model_type" in output or "KeyError" in output):
        return f"unknown architecture: transformers {release} does not know {architecture}"
    return output.strip().splitlines()[-1] if output.strip() else "it was not instantiated"


def complete_recipe(
    plain: MiniatureRecipe, recipes: Sequence[MiniatureRecipe], files: Mapping[str, bytes]
) -> MiniatureRecipe:
    """Return the recipe with the model's special tokens; ``recipes`` are those of the project.

    A recipe of the same architecture knows what its first release saves otherwise than the publisher.
    """
    same = (recipe for recipe in recipes if recipe.architecture == plain.architecture and recipe.config is not None)
    known = next(same, plain)
    settings = as_config(files.get("tokenizer_config.json"))
    generation = as_config(files.get("generation_config.json"))
    tokens = tokens_of(settings, generation or plain.config or {}, known.tokens, template_of(files) or "")
    return replace(
        known,
        slug=plain.slug,
        config=plain.config,
        generation_config=generation or None,
        origin=plain.origin,
        release=plain.release or known.release,
        tokens=tokens,
        names={index: token for index, token in added_tokens(settings, {}).items() if token in tokens.eos},
    )


def published_of(files: Mapping[str, bytes]) -> PublishedChat:
    """Return what the files say about chats: templates, special tokens, and what ends generation."""
    settings = as_config(files.get("tokenizer_config.json"))
    names = added_tokens(settings, {})
    ends = ends_of(as_config(files.get("config.json")), as_config(files.get("generation_config.json")), names)
    tokens = {*names.values(), *(spelling(settings.get(name)) for name in ("bos_token", "eos_token"))}
    return PublishedChat(_templates(files), specials_of(settings), tokens, ends)


def _templates(files: Mapping[str, bytes]) -> dict[str, str]:
    file = files.get("chat_template.jinja")
    return templates_in(as_config(files.get("tokenizer_config.json")), file.decode(errors="replace") if file else None)


def template_of(files: Mapping[str, bytes]) -> str | None:
    """Return the model's chat template, None where it has none."""
    return _templates(files).get(DEFAULT)


def tokens_of(settings: Mapping[str, Any], generation: Mapping[str, Any], usual: Tokens, template: str) -> Tokens:
    """Return the special tokens as published, those of ``usual`` where nothing is published.

    The tokenizer's end comes first, then the other ends of generation; of the rest, those that the template contains.
    """
    if not settings:
        return usual
    decoder = settings.get("added_tokens_decoder")
    entries = decoder.items() if isinstance(decoder, dict) else ()
    added = {key: _text_of(token) for key, token in entries if isinstance(token, dict) and token.get("special")}
    eos = _text_of(settings.get("eos_token")) or usual.eos[0]
    ids = generation.get("eos_token_id")
    ends = [added.get(str(id_), "") for id_ in (ids if isinstance(ids, list) else [ids])][:_EXTRA]
    bos = _text_of(settings.get("bos_token"))
    pad = _text_of(settings.get("pad_token"))
    every = tuple(dict.fromkeys([eos, *filter(None, ends)]))
    pad = pad if pad and pad != bos and pad not in every else usual.pad
    taken = {bos, pad, *every}
    extra = [token for token in dict.fromkeys(added.values()) if token and token in template and token not in taken]
    return replace(usual, bos=bos or None, eos=every, pad=pad, extra=tuple(extra[:_EXTRA]))


def _text_of(token: Any) -> str:
    text = token.get("content") if isinstance(token, dict) else token
    return text if isinstance(text, str) and 0 < len(text) <= _TOKEN_CHARS and text.isprintable() else ""
