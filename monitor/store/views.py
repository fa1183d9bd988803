"""The views that answer the common questions, for ``settle query``, Datasette and ``sqlite3`` alike."""

from __future__ import annotations

_NAMED = """
    models.id AS model,
    models.family AS family,
    subjects.architecture AS architecture,
    cells.runtime AS runtime,
    days.version AS version,
    cells.channel AS channel,
    cells.platform AS platform,
    days.day AS day,
    days.verdict AS verdict,
    days.rung AS rung,
    days.reason AS reason,
    days.blame AS blame,
    days.fault AS fault,
    subjects.id AS subject,
    cells.id AS cell,
    days.run_id AS run
"""

_JOINED = """
    FROM days
    JOIN cells ON cells.id = days.cell_id
    JOIN subjects ON subjects.id = cells.subject_id
    JOIN models ON models.id = subjects.model_id
"""

CURRENT = f"""
CREATE VIEW current AS -- one row a cell: what is known of it now
SELECT {_NAMED},
    days.note AS note
{_JOINED}
WHERE days.day = (SELECT max(later.day) FROM days AS later WHERE later.cell_id = days.cell_id)
"""  # noqa: S608 - built from the constants above

HISTORY = f"""
CREATE VIEW history AS -- one row a cell and day
SELECT {_NAMED},
    days.carried_from AS carried,
    days.origin AS origin,
    days.note AS note
{_JOINED}
"""

MATRIX = """
CREATE VIEW matrix AS -- one row a cell and rung, as of the cell's latest day
SELECT
    current.model AS model,
    current.family AS family,
    current.architecture AS architecture,
    current.runtime AS runtime,
    current.version AS version,
    current.channel AS channel,
    current.platform AS platform,
    current.day AS day,
    day_rungs.step AS step,
    day_rungs.rung AS rung,
    day_rungs.verdict AS verdict,
    day_rungs.reason AS reason,
    current.cell AS cell
FROM current
JOIN days ON days.cell_id = current.cell AND days.day = current.day
JOIN day_rungs ON day_rungs.cell_id = current.cell AND day_rungs.day = coalesce(days.carried_from, days.day)
"""

BY_RELEASE = """
CREATE VIEW by_release AS -- one row a cell and version: its last day there, or else what was asked of it by hand
SELECT
    models.id AS model,
    models.family AS family,
    subjects.architecture AS architecture,
    cells.runtime AS runtime,
    told.version AS version,
    cells.channel AS channel,
    cells.platform AS platform,
    told.verdict AS verdict,
    told.rung AS rung,
    told.reason AS reason,
    told.blame AS blame,
    told.fault AS fault,
    told.day AS day,
    told.by_hand AS by_hand,
    subjects.id AS subject,
    cells.id AS cell,
    told.run_id AS run
FROM (
    SELECT cell_id, version, day, verdict, rung, reason, blame, fault, run_id, 0 AS by_hand
    FROM days
    WHERE day = (
        SELECT max(day) FROM days AS later WHERE later.cell_id = days.cell_id AND later.version = days.version
    )
    UNION ALL
    SELECT cell_id, version, day, verdict, rung, reason, blame, fault, run_id, 1 AS by_hand
    FROM answers
    WHERE NOT EXISTS (SELECT 1 FROM days WHERE days.cell_id = answers.cell_id AND days.version = answers.version)
) AS told
JOIN cells ON cells.id = told.cell_id
JOIN subjects ON subjects.id = cells.subject_id
JOIN models ON models.id = subjects.model_id
"""

VIEWS = (CURRENT, HISTORY, MATRIX)
