"""Makes a miniature of a configuration: the first release that knows it instantiates it in a container."""

from __future__ import annotations

import json
import shutil
import uuid
from dataclasses import replace
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

from containers.engine import Command, Limits, Mount, Role
from containers.failures import InstallFailure
from containers.recipes import RECIPES
from containers.storage import visible_copy
from monitor.domain import Runtime
from monitor.errors import InfraError, NotACheckpoint, UnknownName
from monitor.miniatures.derive import NotDerived, Recipe, derive
from monitor.miniatures.registry import FirstKnown, read_first_known
from monitor.miniatures.tokenizer import Tokens

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from monitor.miniatures.manifest import Miniature
    from monitor.progress import Progress
    from monitor.runner.context import RunContext

GIB = 1 << 30
DATA = Path(str(files("monitor") / "data"))
_TOKENS = Tokens(bos="<s>", eos=("<|im_end|>",), pad="<pad>", extra=("<|im_start|>",))


class NotInstantiated(InfraError):
    """The release ended, or was ended at a limit, without an answer: the engine is not to blame."""


def read_config(file: Path) -> dict[str, Any]:
    """Read a user's config.json. Raises NotACheckpoint when it is none."""
    file = file / "config.json" if file.is_dir() else file
    try:
        config = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise NotACheckpoint(f"{file} cannot be read: {error}", hint="give a model's own config.json") from None
    if not isinstance(config, dict) or not isinstance(config.get("model_type"), str):
        raise NotACheckpoint(f"{file} names no model_type", hint="give a model's own config.json")
    return config


def recipe_for(config: dict[str, Any], name: str) -> Recipe:
    """Return how a user's own configuration becomes a miniature: with our tokenizer and a plain chat template."""
    return Recipe(
        slug=name,
        architecture=config["model_type"],
        tokens=_TOKENS,
        template="chatml",
        config=config,
        generation_config=None,
        origin="a configuration of the user's own",
    )


def make_miniature(context: RunContext, recipe: Recipe, progress: Progress, *, release: str = "") -> Miniature:
    """Derive one miniature. Raises UnknownName when no release knows the architecture, BenchError when it fails."""
    known = read_first_known(DATA / "first_known.csv")
    if recipe.architecture not in known:
        if not release:
            raise UnknownName(
                "architecture", recipe.architecture, known, hint="name a release that knows it with --release"
            )
        known[recipe.architecture] = FirstKnown(recipe.architecture, release, None)
    (made,) = derive_inside(context, [replace(recipe, release=release)], known, progress)
    if isinstance(made, NotDerived):
        raise InfraError(
            f"no miniature could be made of {recipe.architecture}: {made.reason.strip().splitlines()[-1]}",
            hint="our shrinking does not fit this configuration, or this release cannot instantiate it",
        )
    return made


def derive_inside(
    context: RunContext, recipes: Sequence[Recipe], known: Mapping[str, FirstKnown], progress: Progress
) -> Iterator[Miniature | NotDerived]:
    """Derive each recipe in a container, grouped by the release that instantiates it."""
    scratch = context.config.home / "sittings" / f"derive-{uuid.uuid4().hex}"

    def run(release: str, request: dict[str, Any], folder: Path) -> dict[str, Any]:
        count = len(request.get("subjects") or request.get("defaults") or ())
        progress.message(f"instantiating {count} with transformers {release}")
        return _run_inside(context, release, request, folder)

    try:
        yield from derive(recipes, known=known, run=run, scratch=scratch)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _run_inside(context: RunContext, version: str, request: dict[str, Any], folder: Path) -> dict[str, Any]:
    own = RECIPES[Runtime.TRANSFORMERS]
    resolution = context.environments.resolve(own.requirements(version), context.now(), exempt=own.exempt)
    if isinstance(resolution, InstallFailure):
        raise InfraError(f"transformers {version} does not install: {resolution.message[:300]}")
    environment = context.environments.ensure(resolution.lock)
    if isinstance(environment, InstallFailure):
        raise InfraError(f"transformers {version} does not install: {environment.message[:300]}")
    out = folder / "out"
    out.mkdir(parents=True, exist_ok=True)
    out.chmod(0o777)
    isolated = context.engine.isolated
    script = DATA.parent.parent / "probes" / "derive.py"
    if isolated:
        script = visible_copy(script, context.config.home / "install")

    def shown(path: Path, name: str) -> str:
        return f"/settle/{name}" if isolated else str(path)

    inside = shown(folder, "folder")
    (folder / "request.json").write_text(json.dumps(request).replace(str(folder), inside), encoding="utf-8")
    command = Command(
        argv=(
            f"{shown(environment.path, 'env')}/bin/python",
            "-I",
            shown(script, "derive.py"),
            f"{inside}/request.json",
            f"{shown(out, 'out')}/answer.json",
        ),
        role=Role.PROBE,
        image=context.base.image,
        mounts=(
            Mount(environment.path, shown(environment.path, "env")),
            Mount(script, shown(script, "derive.py")),
            Mount(folder, inside),
            Mount(out, shown(out, "out"), writable=True),
        ),
        env=dict(own.environment),
        limits=Limits(
            seconds=context.config.limits.import_seconds + context.config.limits.check_seconds * 3,
            memory_bytes=int(context.config.limits.memory_gib * GIB),
        ),
    )
    execution = context.engine.run(command)
    if execution.engine_fault:
        raise InfraError(f"instantiating with transformers {version} failed: {execution.engine_fault[:300]}")
    answer = out / "answer.json"
    if not execution.ok or not answer.is_file() or answer.is_symlink() or answer.stat().st_size > 64 << 20:
        last = execution.log.decode(errors="replace").strip().splitlines()[-1:] or ["no output"]
        raise NotInstantiated(f"instantiating with transformers {version} failed: {last[0][:300]}")
    return dict(json.loads(answer.read_text(encoding="utf-8")))
