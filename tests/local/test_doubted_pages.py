"""The pages, `settle status` and `settle show` name the doubt about a cell beside what it concerns."""

from __future__ import annotations

import json
import shutil
from datetime import date
from typing import TYPE_CHECKING

from monitor.cli.matrix import matrix_rows
from monitor.domain import Model, ModelKind, ReleaseKind, Subject, SubjectForm
from monitor.report.sections import line_sections, summary_sections
from monitor.report.summary import line_of, summaries
from monitor.site import names
from monitor.site.pages import make_site
from monitor.store import open_store
from tests.standins.days import World

if TYPE_CHECKING:
    from pathlib import Path

DOUBTED, DAY = "Qwen/Qwen3.5-27B", date(2026, 3, 1)
FINDING = "a plain pass raises after a batch was generated"


def test_a_doubt_is_on_every_page_of_its_cell(tmp_path: Path) -> None:
    with open_store(tmp_path) as store:
        world = World(store)
        model = Model(
            DOUBTED, "Qwen", "qwen3_5", ModelKind.HYBRID, "acme", date(2026, 2, 24), "https://example.com",
            created=date(2026, 2, 20), released_kind=ReleaseKind.WEIGHTS,
        )  # fmt: skip
        store.record_catalogue([model], [Subject(DOUBTED, DOUBTED, SubjectForm.MINIATURE, "qwen3_5", "files", True)])
        world.run("W", DAY, world.control)
        world.cell = world.cell_of(DOUBTED)
        world.settle("B", DAY)
        shutil.rmtree(tmp_path / "events")  # a run whose request is gone gets no script
        pages = dict(make_site(store))
        (row,) = [row for row in matrix_rows(store) if row["subject"] == DOUBTED]
        (track,) = store.tracks(model=DOUBTED)
        shown = [note for section in line_sections(store, line_of(track, DAY)) for note in section.notes]
        (summary,) = summaries(store.tracks(), DAY)
        sections = {section.title: section for section in summary_sections(store, summary)}
    assert row["verdict"] == "broken"
    assert any(FINDING in finding for finding in row["doubts"])
    assert any(FINDING in note for note in shown)
    assert sections["Doubts"].rows[0][0] == DOUBTED
    in_doubt = {row[0]: row[-1] for row in sections["Models, in days from their release"].rows}
    assert in_doubt == {DOUBTED: "broken 2026-02-16 to 2026-03-26 is in doubt"}
    column = names.column_name(track.runtime, track.channel, str(track.platform))
    for page in (
        names.model_page(DOUBTED), names.cell_page(DOUBTED, column), names.runtime_page(column), "times.html",
    ):  # fmt: skip
        assert FINDING in pages[page].decode(), page
    assert "in doubt" in pages["index.html"].decode()
    assert "taken at their word" in pages["index.html"].decode()
    assert "between 2026-02-20 and 2026-02-24" in pages[names.model_page(DOUBTED)].decode()
    status = json.loads(pages["status.json"])
    assert status["models"][DOUBTED]["cells"][column]["in_doubt"] is True
    (cell,) = json.loads(pages[names.model_json(DOUBTED)])["cells"]
    assert FINDING in cell["doubts"][0]["doubt"]
