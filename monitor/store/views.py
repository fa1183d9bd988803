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
    day_verdicts.day AS day,
    verdicts.verdict AS verdict,
    verdicts.rung AS rung,
    verdicts.reason AS reason,
    verdicts.blame AS blame,
    verdicts.fault AS fault,
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
    CROSS JOIN day_verdicts ON day_verdicts.cell = cells.number
        AND day_verdicts.day = (SELECT max(later.day) FROM day_verdicts AS later WHERE later.cell = cells.number)
    LEFT JOIN runs ON runs.number = day_verdicts.run
"""  # noqa: S608 - as below
_VERDICTS = "    LEFT JOIN verdicts ON verdicts.number = day_verdicts.verdict\n"

CURRENT = f"""
CREATE VIEW current AS -- one row per cell: its latest day
SELECT {_NAMED},
    day_verdicts.note AS note
{_LATEST}{_VERDICTS}"""

HISTORY = f"""
CREATE VIEW history AS -- one row per cell and day
SELECT {_NAMED},
    day_verdicts.carried_from AS carried,
    day_verdicts.origin AS origin,
    day_verdicts.note AS note
{_CELLS}
    JOIN day_verdicts ON day_verdicts.cell = cells.number
    LEFT JOIN runs ON runs.number = day_verdicts.run
{_VERDICTS}"""

MATRIX = f"""
CREATE VIEW matrix AS -- one row per cell and rung, on the cell's latest day
SELECT
    models.id AS model,
    models.family AS family,
    subjects.architecture AS architecture,
    cells.runtime AS runtime,
    runs.version AS version,
    cells.channel AS channel,
    cells.platform AS platform,
    day_verdicts.day AS day,
    rung_verdicts.step AS step,
    verdicts.rung AS rung,
    verdicts.verdict AS verdict,
    verdicts.reason AS reason,
    cells.id AS cell
{_LATEST}
    CROSS JOIN rung_verdicts ON rung_verdicts.cell = day_verdicts.cell
        AND rung_verdicts.day = coalesce(day_verdicts.carried_from, day_verdicts.day)
    LEFT JOIN verdicts ON verdicts.number = rung_verdicts.verdict
"""

BY_RELEASE = """
CREATE VIEW by_release AS -- one row per cell, version and day of its packages, with what it hung on
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
    latest.day AS day, -- UTC day whose packages were installed
    latest.by_hand AS by_hand, -- 1 for a result of a pinned version (`settle probe --runtime X==Y`)
    latest.installed AS installed, -- packages as of: daily (history), release-day (of the version) or run-day (day)
    json_extract(environments.packages, '$.torch') AS torch, -- version of torch beside it; NULL without
    json_extract(environments.packages, '$.transformers') AS transformers, -- version of transformers beside it
    latest.matches AS matches, -- verdict of the rung matches: failed where its numbers are wrong; NULL if not measured
    latest.serves AS serves, -- verdict of the rung serves; NULL if not measured
    latest.trains AS trains, -- verdict of the rung trains; NULL if not measured
    subjects.id AS subject,
    cells.id AS cell,
    latest.run_id AS run,
    environments.digest AS environment -- digest of the lock; NULL if the installation failed
FROM (
    SELECT newest.*,
        (SELECT verdict FROM day_rungs WHERE cell_id = newest.cell_id AND day = probed AND step = 5) AS matches,
        (SELECT verdict FROM day_rungs WHERE cell_id = newest.cell_id AND day = probed AND step = 6) AS serves,
        (SELECT verdict FROM day_rungs WHERE cell_id = newest.cell_id AND day = probed AND step = 8) AS trains
    FROM (
        SELECT cell_id, version, max(day) AS day, verdict, rung, reason, blame, fault, run_id, 0 AS by_hand,
            'daily' AS installed, coalesce(carried_from, day) AS probed
        FROM days
        GROUP BY cell_id, version -- beside max() stand the columns of the row that has it
    ) AS newest
    UNION ALL
    SELECT cell_id, version, day, verdict, rung, reason, blame, fault, run_id, 1 AS by_hand, installed, day AS probed,
        json_extract(rungs, '$.matches'), json_extract(rungs, '$.serves'), json_extract(rungs, '$.trains')
    FROM answers -- the history shows the version as of a later day already
    WHERE installed = 'release-day'
        OR NOT EXISTS (SELECT 1 FROM days WHERE days.cell_id = answers.cell_id AND days.version = answers.version)
) AS latest
JOIN cells ON cells.id = latest.cell_id
JOIN subjects ON subjects.id = cells.subject_id
JOIN models ON models.id = subjects.model_id
LEFT JOIN runs ON runs.id = latest.run_id
LEFT JOIN environments ON environments.digest = runs.environment
"""

# a left join on a key is left out of a question that needs nothing of it
CHECKS = """
CREATE VIEW checks AS -- one row per run and check, in the order of the run
SELECT
    runs.id AS run_id,
    run_checks.position AS position,
    check_results.name AS name,
    check_results.rung AS rung,
    check_results.outcome AS outcome,
    check_results.fault AS fault,
    check_results.blame AS blame,
    check_results.message AS message,
    check_results.signature AS signature,
    run_checks.seconds AS seconds,
    check_results.evidence AS evidence
FROM run_checks
JOIN runs ON runs.number = run_checks.run
JOIN check_results ON check_results.number = run_checks.result
"""
DAYS = """
CREATE VIEW days AS -- one row per cell and day: its verdict, and the run that decided it
SELECT
    cells.id AS cell_id,
    day_verdicts.day AS day,
    day_verdicts.origin AS origin,
    verdicts.verdict AS verdict,
    verdicts.rung AS rung,
    verdicts.reason AS reason,
    verdicts.blame AS blame,
    verdicts.fault AS fault,
    verdicts.signature AS signature,
    runs.id AS run_id,
    runs.version AS version,
    runs.environment AS environment,
    runs.suite AS suite,
    runs.subject_digest AS subject_digest,
    day_verdicts.carried_from AS carried_from,
    day_verdicts.leaning AS leaning,
    day_verdicts.note AS note
FROM day_verdicts
JOIN cells ON cells.number = day_verdicts.cell
LEFT JOIN verdicts ON verdicts.number = day_verdicts.verdict
LEFT JOIN runs ON runs.number = day_verdicts.run
"""
DAY_RUNGS = """
CREATE VIEW day_rungs AS -- one row per cell, day and rung; a carried day has no rows: join days.carried_from
SELECT
    cells.id AS cell_id,
    rung_verdicts.day AS day,
    rung_verdicts.step AS step,
    verdicts.rung AS rung,
    verdicts.verdict AS verdict,
    verdicts.reason AS reason,
    verdicts.blame AS blame,
    verdicts.fault AS fault,
    verdicts.signature AS signature
FROM rung_verdicts
JOIN cells ON cells.number = rung_verdicts.cell
LEFT JOIN verdicts ON verdicts.number = rung_verdicts.verdict
"""
FACTS = """
CREATE VIEW facts AS -- one row per run and recorded value; NULL if the value is too long and only in the run's events
SELECT
    runs.id AS run_id,
    run_facts.name AS name,
    fact_values.value AS value
FROM run_facts
JOIN runs ON runs.number = run_facts.run
LEFT JOIN fact_values ON fact_values.number = run_facts.value
"""

PARITY = """
CREATE VIEW parity AS -- one row per cell, version and `installed` that was compared with the reference: its latest run
SELECT
    models.id AS model,
    models.family AS family,
    subjects.architecture AS architecture,
    cells.runtime AS runtime,
    latest.version AS version, -- version of the runtime
    latest.installed AS installed, -- packages as of release-day (of a pinned version) or run-day (column day)
    goldens.runtime AS reference,
    goldens.version AS reference_version, -- pinned version of the reference
    json_extract(latest.evidence, '$.maximum') AS max, -- largest difference, in nats
    json_extract(latest.evidence, '$.p99') AS p99, -- 99th percentile of the differences, in nats
    json_extract(latest.evidence, '$.allowed') AS allowed, -- largest allowed difference, in nats
    coalesce(day_rungs.verdict, latest.outcome) AS verdict, -- verdict of the rung matches
    CASE WHEN latest.outcome = 'failed' THEN parity_causes.cause END AS cause, -- known cause of the difference, or NULL
    latest.day AS day,
    subjects.id AS subject,
    cells.id AS cell,
    latest.run_id AS run
FROM (
    SELECT
        runs.cell_id,
        runs.version,
        runs.day,
        runs.installed,
        runs.subject_digest,
        checks.run_id,
        checks.outcome,
        checks.evidence,
        row_number() OVER (
            PARTITION BY runs.cell_id, runs.version, runs.installed ORDER BY runs.started_at DESC, runs.number DESC
        ) AS place
    FROM checks
    JOIN runs ON runs.id = checks.run_id
    WHERE checks.name = 'matches.logprobs' AND json_extract(checks.evidence, '$.maximum') IS NOT NULL
) AS latest
JOIN cells ON cells.id = latest.cell_id
JOIN subjects ON subjects.id = cells.subject_id
JOIN models ON models.id = subjects.model_id
LEFT JOIN goldens ON goldens.subject_digest = latest.subject_digest AND goldens.run_id = (
    SELECT later.run_id FROM goldens AS later WHERE later.subject_digest = latest.subject_digest
    ORDER BY later.day DESC, later.run_id LIMIT 1
)
LEFT JOIN parity_causes ON parity_causes.runtime = cells.runtime AND parity_causes.architecture = subjects.architecture
LEFT JOIN days ON days.cell_id = latest.cell_id AND days.day = latest.day AND days.run_id = latest.run_id
LEFT JOIN day_rungs ON day_rungs.cell_id = days.cell_id AND day_rungs.day = days.day AND day_rungs.rung = 'matches'
WHERE latest.place = 1
"""

REVISED = """
CREATE VIEW revised AS -- one row per model and revision, oldest first; a change of what is probed begins an epoch
SELECT
    model_id AS model, -- hub id
    revision AS revision, -- commit hash
    committed_at AS committed_at, -- commit time, from the hub
    first_seen AS first_seen, -- when Settle noticed
    (SELECT group_concat(value, ' ') FROM json_each(changed)) AS changed, -- parts that differ from the revision before
    begins AS begins_epoch, -- 1 if the revision begins an epoch
    sum(begins) OVER (PARTITION BY model_id ORDER BY id) AS epoch -- number of the epoch
FROM (
    SELECT *, EXISTS (
        SELECT 1 FROM json_each(changed) WHERE value IN ('weights', 'config', 'tokenizer', 'template')
    ) AS begins
    FROM revisions
)
"""

VIEWS = (CHECKS, DAYS, DAY_RUNGS, FACTS, CURRENT, HISTORY, MATRIX, BY_RELEASE, PARITY, REVISED)
