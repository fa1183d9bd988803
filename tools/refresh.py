"""Refreshes the shipped data: first known releases, the catalogue's miniatures, histories and findings.

For maintainers, from a checkout::

    python -m tools.refresh first-known        # read the registry of every release on the index
    python -m tools.refresh derive [SLUG...]   # miniatures from monitor/data/recipes.toml, in containers
    python -m tools.refresh qualify [SLUG...]  # probe those not yet qualified in the newest release and their first
    python -m tools.refresh history HOME       # ship the history of a home, as `settle demo` opens it
    python -m tools.refresh by-release HOME [RUNTIME[==VERSION]...]  # measure tools/by_release.toml, or continue
    python -m tools.refresh runtimes HOME      # ship the second history: every runtime, by release
    python -m tools.refresh rejudge            # judge both shipped histories again, after a change of rules or words
    python -m tools.refresh findings           # docs/findings.md and docs/runtimes.md, from these two
"""

from __future__ import annotations

import os
import re
import sys
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from monitor import verdicts
from monitor.cli.demo import SHIPPED, SHIPPED_RUNTIMES
from monitor.cli.output import markdown
from monitor.config.load import load_config
from monitor.domain import Cell, CellVerdict, Origin, Runtime
from monitor.errors import SettleError, UsageError
from monitor.miniatures.derive import NotDerived, read_first_known, read_recipes
from monitor.miniatures.manifest import load_miniature, miniature_slugs, write_folder
from monitor.miniatures.writer import digest_of
from monitor.progress import ConsoleProgress
from monitor.runner.context import open_context
from monitor.runner.cycle import run_cycle
from monitor.runner.derive import DATA
from monitor.runner.request import ProbeRequest
from monitor.store import open_reader, open_store
from monitor.store.shipped import pack, unpack
from monitor.subjects.catalogue import load_catalogue, load_parity_causes
from tools import by_release
from tools.docs_pages import findings, runtimes_page
from tools.first_known import fetch_first_known, write_first_known

if TYPE_CHECKING:
    from collections.abc import Sequence

    from monitor.domain import Subject
    from monitor.miniatures.manifest import Miniature
    from monitor.runner.parallel import Runner

DOCS = DATA.parents[1] / "docs"
PAGES = {"findings.md": (SHIPPED, findings), "runtimes.md": (SHIPPED_RUNTIMES, runtimes_page)}
FIRST_KNOWN = DATA / "first_known.csv"


def main(arguments: Sequence[str]) -> int:
    match arguments:
        case ["first-known"]:
            write_first_known(FIRST_KNOWN, fetch_first_known())
        case ["derive", *slugs]:
            _derive(slugs)
        case ["qualify", *slugs]:
            _qualify(slugs)
        case ["history" | "runtimes" as name, home]:
            pack(Path(home), DATA / {"history": SHIPPED, "runtimes": SHIPPED_RUNTIMES}[name])
        case ["by-release", home, *names]:
            _measure_by_release(home, names)
        case ["rejudge"]:
            _rejudge(SHIPPED)
            _rejudge(SHIPPED_RUNTIMES)
        case ["findings"]:
            _write_pages()
        case _:
            raise UsageError(
                "name first-known, derive, qualify, history, by-release, runtimes, rejudge or findings",
                hint=str(__doc__),
            )
    return 0


def _measure_by_release(home: str, names: Sequence[str]) -> None:
    catalogue = load_catalogue()
    with open_context(load_config(None, {**os.environ, "SETTLE_HOME": home}), ConsoleProgress()) as context:
        context.store.record_catalogue(catalogue.models, catalogue.subjects())
        context.store.record_parity_causes(load_parity_causes())
        by_release.measure(context.runner, catalogue.subjects(), names)


def _write_pages() -> None:
    for page in PAGES:
        (DOCS / page).write_text(page_of(page), encoding="utf-8")


def page_of(name: str) -> str:
    """Return a page of docs/, generated from its shipped history."""
    shipped, sections = PAGES[name]
    with TemporaryDirectory() as folder:
        unpack((DATA / shipped).read_bytes(), Path(folder))
        with open_reader(Path(folder)) as store:
            return "\n".join(markdown(section) for section in sections(store))


def _rejudge(shipped: str) -> None:
    """Make every day, flip and answer again from the stored checks; raw events are not in a shipped history."""
    with TemporaryDirectory() as folder, TemporaryDirectory() as other:
        home = Path(folder)
        unpack((DATA / shipped).read_bytes(), home)
        catalogue = load_catalogue()
        unpack((DATA / (SHIPPED if shipped == SHIPPED_RUNTIMES else SHIPPED_RUNTIMES)).read_bytes(), Path(other))
        with open_store(home) as store:
            store.record_catalogue(catalogue.models, catalogue.subjects())
            store.record_parity_causes(load_parity_causes())
            store.take_answers(Path(other))  # of the other runtimes, or of the other releases
            counts = verdicts.rejudge(store)
        pack(home, DATA / shipped)
    ConsoleProgress().message(f"{shipped}: {counts}")


def _derive(slugs: Sequence[str]) -> None:
    recipes = {recipe.slug: recipe for recipe in read_recipes(DATA) if not slugs or recipe.slug in slugs}
    progress = ConsoleProgress()
    with open_context(load_config(None), progress) as context:
        for made in context.deriver.derive(list(recipes.values()), read_first_known(FIRST_KNOWN)):
            if isinstance(made, NotDerived):
                progress.message(f"{made.slug}: not derived: {made.reason.strip().splitlines()[-1]}")
                continue
            qualified = _still_qualified(made)
            write_folder(made, DATA / "miniatures" / made.slug, template=recipes[made.slug].template)
            _set_qualified(made.slug, qualified)
            progress.message(f"{made.slug}: derived{'' if qualified else ', to be qualified'}")


def _still_qualified(made: Miniature) -> str:
    """Return the release in which the miniature passed, if its files are unchanged."""
    if made.slug not in miniature_slugs():
        return ""
    before = load_miniature(made.slug)
    return before.qualified if digest_of(before) == digest_of(made) else ""


def _qualify(slugs: Sequence[str]) -> None:
    catalogue = load_catalogue()
    wanted = {
        name: slug
        for entry in catalogue
        for name, slug in zip(entry.subject_ids, entry.miniatures, strict=True)
        if (slug in slugs if slugs else not load_miniature(slug).qualified)
    }
    subjects = [subject for subject in catalogue.subjects() if subject.id in wanted]
    with open_context(load_config(None), ConsoleProgress()) as context:
        context.store.record_catalogue(catalogue.models, catalogue.subjects())
        for version, group in _by_version(subjects):
            held_in, passing = _passing(context.runner, version, group)
            for subject_id in passing:
                _set_qualified(wanted[subject_id], held_in)


def _by_version(subjects: Sequence[Subject]) -> list[tuple[str, list[Subject]]]:
    groups: dict[str, list[Subject]] = {"": list(subjects)}
    for subject in subjects:
        groups.setdefault(subject.first_known.removeprefix("<="), []).append(subject)
    return list(groups.items())


def _passing(runner: Runner, version: str, subjects: Sequence[Subject]) -> tuple[str, list[str]]:
    now = datetime.now(UTC)
    request = ProbeRequest(
        runtime=Runtime.TRANSFORMERS,
        version=version,
        day=now.date(),
        cutoff=now,
        origin=Origin.ADHOC,
        subjects=subjects,
        force=True,
    )
    held = run_cycle(runner, request)
    passing = [
        Cell.parse(name).subject_id
        for name, settled in held.settled.items()
        if settled.verdict.verdict is CellVerdict.WORKS
    ]
    return held.installation.version, passing


def _set_qualified(slug: str, version: str) -> None:
    file = DATA / "miniatures" / slug / "miniature.toml"
    text = file.read_text(encoding="utf-8")
    file.write_text(
        re.sub(r'^qualified = ".*"$', f'qualified = "{version}"', text, flags=re.MULTILINE), encoding="utf-8"
    )


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except SettleError as error:
        sys.exit(f"{error}\n{error.hint}")
