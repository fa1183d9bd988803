"""The views that answer the common questions, for ``settle query``, Datasette and ``sqlite3`` alike."""

from __future__ import annotations

_NAMED = """
    models.id AS model,
    models.family AS family,
    subjects.architecture AS architecture,
    cells.runtime AS runtime,
    runs.version AS version,
    cells.channel AS channel,
    cells.platform AS platform,
    judged_days.day AS day,
    opinions.verdict AS verdict,
    opinions.rung AS rung,
    opinions.reason AS reason,
    opinions.blame AS blame,
    opinions.fault AS fault,
    subjects.id AS subject,
    cells.id AS cell,
    runs.id AS run
"""
_CELLS = """
    FROM cells
    JOIN subjects ON subjects.id = cells.subject_id
    JOIN models ON models.id = subjects.model_id
"""
# the cells come first: who looks for the latest among all days reads them all
_LATEST = f"""{_CELLS}
    CROSS JOIN judged_days ON judged_days.cell = cells.number
        AND judged_days.day = (SELECT max(later.day) FROM judged_days AS later WHERE later.cell = cells.number)
    LEFT JOIN runs ON runs.number = judged_days.run
"""  # noqa: S608 - as below
_OPINIONS = "    LEFT JOIN opinions ON opinions.number = judged_days.opinion\n"

CURRENT = f"""
CREATE VIEW current AS -- one row a cell: what is known of it now
SELECT {_NAMED},
    judged_days.note AS note
{_LATEST}{_OPINIONS}"""

HISTORY = f"""
CREATE VIEW history AS -- one row a cell and day
SELECT {_NAMED},
    judged_days.carried_from AS carried,
    judged_days.origin AS origin,
    judged_days.note AS note
{_CELLS}
    JOIN judged_days ON judged_days.cell = cells.number
    LEFT JOIN runs ON runs.number = judged_days.run
{_OPINIONS}"""

MATRIX = f"""
CREATE VIEW matrix AS -- one row a cell and rung, as of the cell's latest day
SELECT
    models.id AS model,
    models.family AS family,
    subjects.architecture AS architecture,
    cells.runtime AS runtime,
    runs.version AS version,
    cells.channel AS channel,
    cells.platform AS platform,
    judged_days.day AS day,
    judged_rungs.step AS step,
    opinions.rung AS rung,
    opinions.verdict AS verdict,
    opinions.reason AS reason,
    cells.id AS cell
{_LATEST}
    CROSS JOIN judged_rungs ON judged_rungs.cell = judged_days.cell
        AND judged_rungs.day = coalesce(judged_days.carried_from, judged_days.day)
    LEFT JOIN opinions ON opinions.number = judged_rungs.opinion
"""

BY_RELEASE = """
CREATE VIEW by_release AS -- one row a cell and version: its last day there, or else what was asked of it by hand
SELECT
    models.id AS model,
    models.family AS family,
    subjects.architecture AS architecture,
    cells.runtime AS runtime,
    latest.version AS version,
    cells.channel AS channel,
    cells.platform AS platform,
    latest.verdict AS verdict,
    latest.rung AS rung,
    latest.reason AS reason,
    latest.blame AS blame,
    latest.fault AS fault,
    latest.day AS day,
    latest.by_hand AS by_hand, -- 1 for an answer to `settle probe` of a pinned version
    subjects.id AS subject,
    cells.id AS cell,
    latest.run_id AS run
FROM (
    SELECT cell_id, version, max(day) AS day, verdict, rung, reason, blame, fault, run_id, 0 AS by_hand
    FROM days
    GROUP BY cell_id, version -- beside max() stand the columns of the row that has it
    UNION ALL
    SELECT cell_id, version, day, verdict, rung, reason, blame, fault, run_id, 1 AS by_hand
    FROM answers
    WHERE NOT EXISTS (SELECT 1 FROM days WHERE days.cell_id = answers.cell_id AND days.version = answers.version)
) AS latest
JOIN cells ON cells.id = latest.cell_id
JOIN subjects ON subjects.id = cells.subject_id
JOIN models ON models.id = subjects.model_id
"""

VIEWS = (CURRENT, HISTORY, MATRIX)
