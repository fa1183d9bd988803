"""The shape of what is found on a hub: discoveries, revisions, states, popularity and derivations as facts."""

from __future__ import annotations

PUBLISHED_FACTS = ("discoveries", "revisions", "published_files", "model_states", "popularity", "derivations")

PUBLISHED = """
CREATE TABLE discoveries ( -- facts: models that were found, and where
    model_id TEXT PRIMARY KEY REFERENCES models (id),
    source TEXT NOT NULL, -- organisation:NAME, model:NAME or folder:PATH of the configuration
    first_seen TEXT NOT NULL,
    created_at TEXT NOT NULL -- of the repository, which may have been private for long
) STRICT, WITHOUT ROWID;
CREATE TABLE listings ( -- what the hub says of a model now
    model_id TEXT PRIMARY KEY REFERENCES models (id),
    name TEXT NOT NULL, -- on the hub, after any renaming
    parameters INTEGER,
    pipeline_tag TEXT NOT NULL,
    parent TEXT NOT NULL, -- the model it was made from
    gated TEXT NOT NULL -- auto or manual, "" when open
) STRICT, WITHOUT ROWID;
CREATE TABLE revisions ( -- facts: what the commits of a model's repository changed
    id INTEGER PRIMARY KEY, -- in the order of the commits
    model_id TEXT NOT NULL REFERENCES models (id),
    revision TEXT NOT NULL,
    committed_at TEXT NOT NULL,
    first_seen TEXT NOT NULL,
    changed TEXT NOT NULL, -- JSON: parts that differ from the revision before
    tree_digest TEXT NOT NULL,
    UNIQUE (model_id, revision)
) STRICT;
CREATE TABLE published_files ( -- small files that are kept whole
    id INTEGER PRIMARY KEY,
    model_id TEXT NOT NULL REFERENCES models (id),
    revision TEXT NOT NULL,
    path TEXT NOT NULL,
    digest TEXT NOT NULL, -- "" for one that may not be read
    problem TEXT NOT NULL,
    at TEXT NOT NULL,
    UNIQUE (model_id, revision, path, digest)
) STRICT;
CREATE TABLE model_states ( -- facts: what became of a published model, such as withdrawn or renamed
    id INTEGER PRIMARY KEY,
    model_id TEXT NOT NULL REFERENCES models (id),
    at TEXT NOT NULL,
    state TEXT NOT NULL,
    detail TEXT NOT NULL
) STRICT;
CREATE INDEX model_states_by_model ON model_states (model_id);
CREATE TABLE popularity ( -- facts: what the hub counts, a row a day
    model_id TEXT NOT NULL REFERENCES models (id),
    day TEXT NOT NULL,
    downloads INTEGER NOT NULL, -- of the last 30 days, as the hub counts them
    likes INTEGER NOT NULL,
    derived INTEGER, -- models made from it
    PRIMARY KEY (model_id, day)
) STRICT, WITHOUT ROWID;
CREATE TABLE derivations ( -- facts: what came of making a miniature of published files
    id INTEGER PRIMARY KEY,
    model_id TEXT NOT NULL REFERENCES models (id),
    revision TEXT NOT NULL,
    files_id INTEGER NOT NULL, -- the newest of published_files that it was made from
    at TEXT NOT NULL,
    release TEXT NOT NULL, -- the newest of the reference's releases then
    subject_digest TEXT NOT NULL, -- "" where no miniature could be made
    reason TEXT NOT NULL -- why, "" where one was made
) STRICT;
CREATE INDEX derivations_by_model ON derivations (model_id);
CREATE TABLE hub_polls ( -- when what was asked last; no fact, only a memory
    what TEXT PRIMARY KEY,
    asked_at TEXT NOT NULL,
    due_at TEXT NOT NULL,
    trouble TEXT NOT NULL
) STRICT, WITHOUT ROWID
"""

FETCHES = """
CREATE TABLE fetches ( -- facts: revisions whose full weights were fetched, or why there is nothing to fetch
    model_id TEXT NOT NULL REFERENCES models (id),
    revision TEXT NOT NULL,
    at TEXT NOT NULL,
    subject_digest TEXT NOT NULL, -- "" where nothing can be fetched
    reason TEXT NOT NULL, -- why, "" where it was
    PRIMARY KEY (model_id, revision)
) STRICT, WITHOUT ROWID
"""

# digest of what a derived subject's files are made from
DESCRIPTIONS = "ALTER TABLE derivations ADD COLUMN description TEXT NOT NULL DEFAULT ''"

REVISED = """
CREATE VIEW revised AS -- one row a model and revision, oldest first; an epoch begins where what is probed changes
SELECT
    model_id AS model,
    revision,
    committed_at,
    first_seen,
    (SELECT group_concat(value, ' ') FROM json_each(changed)) AS changed,
    begins AS begins_epoch,
    sum(begins) OVER (PARTITION BY model_id ORDER BY id) AS epoch
FROM (
    SELECT *, EXISTS (
        SELECT 1 FROM json_each(changed) WHERE value IN ('weights', 'config', 'tokenizer', 'template')
    ) AS begins
    FROM revisions
)
"""
