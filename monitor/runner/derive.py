"""Makes a miniature of a configuration: the first release that knows it instantiates it in a container."""

from __future__ import annotations

import json
import uuid
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

from containers.failures import InstallFailure
from containers.leftovers import Bounds, excess, remove
from containers.storage import visible_copy
from containers.watched import run_watched
from monitor.errors import InfraError, NotACheckpoint
from monitor.miniatures.derive import MiniatureRecipe, NotDerived, derive
from monitor.miniatures.manifest import USERS_CONFIG
from monitor.miniatures.tokenizer import Tokens
from monitor.runner.session import Script
from monitor.wire.stream import Tail

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from containers.environment import Environment
    from monitor.miniatures.manifest import Miniature
    from monitor.runner.parallel import RuntimeTools

DATA = Path(str(files("monitor") / "data"))
_OTHER_FILES = ("generation_config.json", "tokenizer_config.json", "chat_template.jinja")
_MAX_ANSWER_BYTES = 64 << 20
_TOKENS = Tokens(bos="<s>", eos=("<|im_end|>",), pad="<pad>", extra=("<|im_start|>",))


class NotInstantiated(InfraError):
    """The release ended, or was ended at a limit, without an answer: the engine is not to blame."""


def read_files(path: Path) -> dict[str, bytes]:
    """Read a user's config.json, and of a folder what lies beside it. Raises NotACheckpoint when it is none."""
    file = path / "config.json" if path.is_dir() else path
    try:
        content = file.read_bytes()
        config = json.loads(content)
    except (OSError, ValueError, RecursionError) as error:
        raise NotACheckpoint(f"{file} cannot be read: {error}", hint="give a model's own config.json") from None
    if not isinstance(config, dict) or not isinstance(config.get("model_type"), str):
        raise NotACheckpoint(f"{file} names no model_type", hint="give a model's own config.json")
    others = [path / name for name in _OTHER_FILES if path.is_dir()]
    return {"config.json": content} | {other.name: other.read_bytes() for other in others if other.is_file()}


def recipe_for(config: dict[str, Any], name: str) -> MiniatureRecipe:
    """Return how a user's own configuration becomes a miniature: with our tokenizer and a plain chat template."""
    return MiniatureRecipe(
        slug=name,
        architecture=config["model_type"],
        tokens=_TOKENS,
        template="chatml",
        config=config,
        generation_config=None,
        origin=USERS_CONFIG,
    )


@dataclass(frozen=True, slots=True)
class Deriver:
    """Instantiates configurations in containers, each with the first release that knows its architecture."""

    tools: RuntimeTools  # of the runtime that instantiates them
    home: Path

    def derive(self, recipes: Sequence[MiniatureRecipe], known: Mapping[str, str]) -> Iterator[Miniature | NotDerived]:
        """Derive each recipe in a container, grouped by the release that instantiates it."""
        scratch = self.tools.session_runner.workshop / f"derive-{uuid.uuid4().hex}"
        try:
            yield from derive(recipes, known=known, run=self._run, scratch=scratch)
        finally:
            remove(scratch)

    def _run(self, release: str, request: dict[str, Any], folder: Path) -> dict[str, Any]:
        count = len(request.get("subjects") or request.get("defaults") or ())
        self.tools.installer.progress.message(f"instantiating {count} with transformers {release}")
        sessions = self.tools.session_runner
        file = DATA.parent.parent / "probes" / "derive.py"
        script = Script(
            folder=folder,
            environment=self._environment(release).path,
            file=visible_copy(file, self.home / "install") if sessions.engine.isolated else file,
            answer="answer.json",
            inputs=[folder],
            isolated=sessions.engine.isolated,
        )
        script.lay_out(json.loads(json.dumps(request).replace(str(folder), script.inside(folder))))
        seconds = sessions.allowed.import_seconds + sessions.allowed.check_seconds * 3
        bounds = Bounds(2 * _MAX_ANSWER_BYTES)
        command = sessions.command(script, seconds=seconds, labels={})
        execution, over = run_watched(sessions.engine, command, lambda: excess(script.out, bounds), seconds=1.0)
        if execution.engine_fault:
            raise InfraError(f"instantiating with transformers {release} failed: {execution.engine_fault[:300]}")
        answer = _answer_in(script.out / script.answer) if execution.ok else None
        if answer is None:
            last = execution.log.decode(errors="replace").strip().splitlines()[-1:] or ["no answer"]
            raise NotInstantiated(f"instantiating with transformers {release} failed: {(over or last[0])[:300]}")
        return answer

    def _environment(self, version: str) -> Environment:
        recipe, installer = self.tools.recipe, self.tools.installer
        resolution = installer.environments.resolve(recipe.requirements(version), installer.now(), exempt=recipe.exempt)
        if not isinstance(resolution, InstallFailure):
            environment = installer.environments.ensure(resolution.lock)
            if not isinstance(environment, InstallFailure):
                return environment
            resolution = environment
        raise InfraError(f"transformers {version} does not install: {resolution.message[:300]}")


def _answer_in(file: Path) -> dict[str, Any] | None:
    """Return the object that an untrusted program wrote, None where there is no such thing."""
    tail = Tail(file, limit_bytes=_MAX_ANSWER_BYTES)
    try:
        text = b"".join(iter(tail.read, b""))
        answer = json.loads(text) if not tail.problem else None
    except (OSError, ValueError, RecursionError):
        return None
    finally:
        tail.close()
    return answer if isinstance(answer, dict) else None
