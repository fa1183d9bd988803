"""Common queries of a history: the examples of `settle query --help`, and pages under `settle serve`."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ExampleQuery:
    name: str  # of its page
    title: str
    sql: str


EXAMPLE_QUERIES = (
    ExampleQuery(
        "broken_now",
        "What is broken now, and why?",
        "SELECT model, runtime, version, reason, blame FROM current WHERE verdict = 'broken' ORDER BY model, runtime",
    ),
    ExampleQuery(
        "share_that_works",
        "How many of the watched models work in each runtime?",
        "SELECT runtime, version, sum(verdict = 'works') AS works, count(*) AS cells FROM current"
        " GROUP BY runtime, version",
    ),
    ExampleQuery(
        "days_until_it_worked",
        "How many days after its release did each model first work?",
        "SELECT model, runtime, min(day) AS works, julianday(min(day)) - julianday(released) AS days FROM history"
        " JOIN models ON models.id = model WHERE verdict = 'works' AND released IS NOT NULL GROUP BY cell"
        " ORDER BY days DESC",
    ),
    ExampleQuery(
        "never_worked",
        "What has never worked yet?",
        "SELECT model, runtime, min(day) AS since, max(day) AS until FROM history GROUP BY cell"
        " HAVING sum(verdict = 'works') = 0 AND cell NOT IN (SELECT cell FROM by_release WHERE verdict = 'works')"
        " ORDER BY since",
    ),
    ExampleQuery(
        "latest_flips",
        "Which verdicts changed lately?",
        "SELECT day, cell_id, before, after FROM flips WHERE NOT withdrawn ORDER BY day DESC, cell_id LIMIT 50",
    ),
    ExampleQuery(
        "breaking_releases",
        "Which releases broke most of what worked before?",
        "SELECT runtime, version, count(*) AS broke FROM flips"
        " JOIN history ON cell = cell_id AND history.day = flips.day WHERE before = 'works' AND after = 'broken'"
        " AND NOT withdrawn GROUP BY runtime, version ORDER BY broke DESC",
    ),
    ExampleQuery(
        "broken_by_release",
        "How many models are broken in each release?",
        "SELECT runtime, version, installed, sum(verdict = 'broken') AS broken, count(*) AS models FROM by_release"
        " GROUP BY runtime, version, installed ORDER BY runtime, max(day)",
    ),
    ExampleQuery(
        "works_in_releases",
        "In which releases does an architecture work?",
        "SELECT architecture, runtime, group_concat(DISTINCT version) AS works_in FROM by_release"
        " WHERE verdict = 'works' GROUP BY architecture, runtime ORDER BY runtime, architecture",
    ),
    ExampleQuery(
        "rungs_now",
        "On which rungs do the runtimes fail now?",
        "SELECT runtime, rung, verdict, count(*) AS cells FROM matrix GROUP BY runtime, step, verdict",
    ),
    ExampleQuery(
        "same_failure",
        "Which failures do several models share, and since when?",
        "SELECT signature, count(DISTINCT cell_id) AS cells, min(day) AS since, max(day) AS until, min(reason) AS why"
        " FROM days WHERE signature <> '' GROUP BY signature HAVING cells > 1 ORDER BY cells DESC LIMIT 50",
    ),
    ExampleQuery(
        "unknown_days",
        "Which days are unknown, and whose fault is it?",
        "SELECT fault, blame, count(*) AS days, min(reason) AS reason FROM history WHERE verdict = 'unknown'"
        " GROUP BY fault, blame ORDER BY days DESC",
    ),
    ExampleQuery(
        "checks_of_broken",
        "What exactly failed in the last run of each broken cell?",
        "SELECT model, runtime, checks.name, checks.fault, message, evidence FROM current JOIN checks ON run_id = run"
        " WHERE verdict = 'broken' AND outcome = 'failed' ORDER BY model, runtime",
    ),
    ExampleQuery(
        "torch_pins",
        "Which torch did each release get, and when?",
        "SELECT runtime, version, json_extract(packages, '$.torch') AS torch, min(created_at) AS first"
        " FROM environments GROUP BY runtime, version, torch ORDER BY first DESC",
    ),
)
