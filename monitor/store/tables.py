"""The tables, grouped for reading; the comment beside a column is its meaning, and docs/schema.md is made of them."""

from __future__ import annotations

CATALOGUE = """
CREATE TABLE models ( -- the checkpoints that are watched
    id TEXT PRIMARY KEY, -- hub id
    family TEXT NOT NULL, -- what people call it, with its siblings
    architecture TEXT NOT NULL, -- model_type of its configuration
    kind TEXT NOT NULL, -- dense, mixture or hybrid
    organisation TEXT NOT NULL, -- who published it
    released TEXT, -- day of the first public commit with weights; NULL when no source is known
    released_source TEXT NOT NULL, -- the source of that day
    license TEXT NOT NULL, -- as its publisher names it
    note TEXT NOT NULL, -- what a reader should know of it
    control INTEGER NOT NULL -- 1 for the old model that every environment is tried with
) STRICT;
CREATE TABLE subjects ( -- what is probed: one form of one model
    id TEXT PRIMARY KEY, -- the model's, and the part of it where there are several
    model_id TEXT NOT NULL REFERENCES models (id), -- its model
    form TEXT NOT NULL, -- miniature (a tiny model with random weights), full or folder
    architecture TEXT NOT NULL, -- model_type of its configuration
    digest TEXT NOT NULL, -- of its files, byte for byte
    qualified INTEGER NOT NULL, -- 1 when it has passed in some release, so that a failure counts
    first_known TEXT NOT NULL, -- first release of transformers that registers the architecture
    control INTEGER NOT NULL -- as of its model
) STRICT;
CREATE INDEX subjects_by_model ON subjects (model_id);
CREATE TABLE cells ( -- what has a history: subject, runtime, channel and platform
    number INTEGER PRIMARY KEY, -- the cell in derived tables
    id TEXT NOT NULL UNIQUE, -- subject@runtime/channel/platform
    subject_id TEXT NOT NULL REFERENCES subjects (id), -- what is probed
    runtime TEXT NOT NULL, -- transformers, vllm, ollama and so on
    channel TEXT NOT NULL, -- stable, prerelease or nightly
    platform TEXT NOT NULL -- accelerator, Python and isolation
) STRICT;
CREATE INDEX cells_by_subject ON cells (subject_id);
CREATE TABLE parity_causes ( -- why numbers differ, where a person found out; replaced by the project's list
    runtime TEXT NOT NULL, -- whose numbers differ
    architecture TEXT NOT NULL, -- model_type of the configuration
    cause TEXT NOT NULL, -- what a person found
    PRIMARY KEY (runtime, architecture)
) STRICT, WITHOUT ROWID;
"""

RELEASES = """
CREATE TABLE releases ( -- what the sources of releases have listed
    runtime TEXT NOT NULL, -- whose release it is
    version TEXT NOT NULL, -- of the runtime
    channel TEXT NOT NULL, -- stable, prerelease or nightly
    published_at TEXT NOT NULL, -- the earliest moment that any source names
    yanked TEXT NOT NULL, -- the reason, or yes without one; empty when it is not yanked
    requires_python TEXT NOT NULL DEFAULT '', -- as its source states it
    wheels TEXT, -- JSON; NULL where no source has listed files
    has_sources INTEGER NOT NULL DEFAULT 0, -- 1 where it can be built
    compatibility TEXT NOT NULL DEFAULT 'unknown', -- with the platform that asked last
    revision TEXT NOT NULL DEFAULT '', -- commit of a nightly
    first_seen TEXT NOT NULL DEFAULT '', -- empty where it was not recorded
    PRIMARY KEY (runtime, version)
) STRICT, WITHOUT ROWID;
CREATE TABLE release_events ( -- facts: what happened to releases after they were out
    project TEXT NOT NULL, -- a runtime, or what runtimes are made of, such as llama.cpp
    version TEXT NOT NULL, -- of the project
    kind TEXT NOT NULL, -- yanked, a late wheel, a moved tag and so on
    before TEXT NOT NULL, -- the value that changed
    after TEXT NOT NULL, -- the value since then
    seen_at TEXT NOT NULL -- when settle noticed
) STRICT;
CREATE TABLE refs ( -- facts: what a tag or branch points to since a moment
    repository TEXT NOT NULL, -- address
    name TEXT NOT NULL, -- of the tag or branch
    target TEXT NOT NULL, -- commit; empty once it is gone
    seen_at TEXT NOT NULL -- when settle noticed
) STRICT;
CREATE INDEX refs_by_name ON refs (repository, name);
CREATE TABLE polls ( -- state, no fact: when a source of releases was asked last
    source TEXT PRIMARY KEY, -- its name
    asked_at TEXT NOT NULL, -- last
    answered_at TEXT, -- last
    fault TEXT NOT NULL, -- why it did not answer; empty when it did
    failing_since TEXT -- NULL when it answered
) STRICT, WITHOUT ROWID;
"""

RUNS = """
CREATE TABLE environments ( -- facts: what was really installed, pinned with hashes
    digest TEXT PRIMARY KEY, -- sha256 of the lock
    runtime TEXT NOT NULL, -- that is probed in it
    version TEXT NOT NULL, -- of the runtime
    platform TEXT NOT NULL, -- accelerator, Python and isolation
    base_digest TEXT NOT NULL, -- of the image beneath
    lock TEXT NOT NULL, -- requirement lines with hashes, to be installed again
    packages TEXT NOT NULL, -- JSON: name to version
    created_at TEXT NOT NULL, -- when it was first built
    resolve_s REAL NOT NULL, -- seconds
    build_s REAL NOT NULL -- seconds
) STRICT;
CREATE TABLE resolutions ( -- facts: what an installer answered on a day
    id TEXT PRIMARY KEY, -- random
    day TEXT NOT NULL, -- UTC
    origin TEXT NOT NULL, -- live, replay or adhoc
    runtime TEXT NOT NULL, -- that was asked for
    channel TEXT NOT NULL, -- stable, prerelease or nightly
    platform TEXT NOT NULL, -- accelerator, Python and isolation
    requested TEXT NOT NULL, -- the version that was asked for; empty for the newest
    version TEXT NOT NULL, -- the version that was given
    cutoff TEXT, -- nothing published later was taken
    at TEXT NOT NULL, -- when it was asked
    seconds REAL NOT NULL, -- that it took
    environment_digest TEXT REFERENCES environments (digest), -- NULL where it failed
    failed TEXT, -- stage
    fault TEXT NOT NULL, -- slug of docs/checks.md; empty when nothing failed
    message TEXT NOT NULL, -- of the installer
    log_digest TEXT NOT NULL -- name of the log's file
) STRICT;
CREATE INDEX resolutions_by_day ON resolutions (day);
CREATE TABLE departures ( -- facts: packages of a past day's lock that were not available on that day
    resolution_id TEXT NOT NULL REFERENCES resolutions (id), -- the past day's
    package TEXT NOT NULL, -- name
    version TEXT NOT NULL, -- that is installed instead
    reason TEXT NOT NULL, -- why
    PRIMARY KEY (resolution_id, package)
) STRICT, WITHOUT ROWID;
CREATE TABLE sessions ( -- facts: one process in an environment, for one subject or many
    id TEXT PRIMARY KEY, -- random
    resolution_id TEXT NOT NULL REFERENCES resolutions (id), -- that gave the environment
    environment_digest TEXT NOT NULL REFERENCES environments (digest), -- where it ran
    suite TEXT NOT NULL, -- digest of the probes' code
    engine TEXT NOT NULL, -- docker, podman or process
    solo INTEGER NOT NULL, -- 1 for a fresh process with a single subject
    limit_factor INTEGER NOT NULL, -- how many times the usual limits
    request_digest TEXT NOT NULL, -- name of the file with what was asked
    started_at TEXT NOT NULL -- by the clock of settle
) STRICT;
CREATE TABLE endings ( -- facts: how a session ended; one without was interrupted
    session_id TEXT PRIMARY KEY REFERENCES sessions (id), -- which ended
    finished_at TEXT NOT NULL, -- by the clock of settle
    ending TEXT NOT NULL, -- JSON: exit code, signal, time and memory
    log_digest TEXT NOT NULL, -- name of the log's file
    log_dropped_bytes INTEGER NOT NULL -- from the middle of a log that was too long
) STRICT, WITHOUT ROWID;
CREATE TABLE runs ( -- facts: one attempt to probe a cell
    number INTEGER PRIMARY KEY, -- the run in other tables, in the order of recording
    id TEXT NOT NULL UNIQUE, -- `settle show` takes it
    cell_id TEXT NOT NULL REFERENCES cells (id), -- what was probed
    resolution_id TEXT NOT NULL REFERENCES resolutions (id), -- that gave the environment
    session_id TEXT REFERENCES sessions (id), -- NULL where the installation failed
    day TEXT NOT NULL, -- UTC
    origin TEXT NOT NULL, -- live, replay or adhoc; the last is no part of the daily history
    purpose TEXT NOT NULL, -- probe, confirm, control or suite; the first two speak for their day
    version TEXT NOT NULL, -- of the runtime
    environment TEXT NOT NULL, -- digest of the lock
    suite TEXT NOT NULL, -- digest of the probes' code
    subject_digest TEXT NOT NULL, -- of the subject's files
    solo INTEGER NOT NULL, -- 1 for a fresh process with a single subject
    limit_factor INTEGER NOT NULL, -- how many times the usual limits
    started_at TEXT NOT NULL, -- by the clock of settle
    seconds REAL NOT NULL, -- that it took
    ending TEXT NOT NULL, -- JSON
    events_digest TEXT NOT NULL, -- name of the file with the probe's events
    events_problem TEXT NOT NULL -- why that file could not be read to its end
) STRICT;
CREATE UNIQUE INDEX one_run_a_cell_and_session ON runs (coalesce(session_id, resolution_id), cell_id);
CREATE INDEX runs_by_cell ON runs (cell_id, day);
CREATE INDEX runs_by_day ON runs (day);
CREATE TABLE run_facts ( -- facts: what a probe recorded in a run beside its checks; the view facts reads better
    run INTEGER NOT NULL, -- its number in runs
    position INTEGER NOT NULL, -- in the order of recording
    name TEXT NOT NULL, -- imported, resources, logprobs, trace, heard and so on
    value INTEGER REFERENCES fact_values (number), -- NULL where it is too long: it stays in the run's events
    PRIMARY KEY (run, position)
) STRICT, WITHOUT ROWID;
CREATE INDEX answers_unlike_the_reference ON run_facts (run) WHERE name = 'heard';
CREATE TABLE fact_values ( -- facts: each distinct value
    number INTEGER PRIMARY KEY, -- the value in run_facts
    digest INTEGER NOT NULL UNIQUE, -- of the value
    value TEXT NOT NULL -- JSON
) STRICT;
CREATE TABLE carries ( -- facts: days on which nothing had changed, so that nothing was run
    cell_id TEXT NOT NULL REFERENCES cells (id), -- that was not run
    day TEXT NOT NULL, -- UTC
    origin TEXT NOT NULL, -- live or replay
    resolution_id TEXT NOT NULL REFERENCES resolutions (id), -- that shows that nothing had changed
    source_day TEXT NOT NULL, -- whose verdict it is
    PRIMARY KEY (cell_id, day, origin)
) STRICT, WITHOUT ROWID;
CREATE TABLE goldens ( -- facts: what the reference answers with a subject's files, pinned
    subject_digest TEXT PRIMARY KEY, -- of the subject's files
    runtime TEXT NOT NULL, -- the reference
    version TEXT NOT NULL, -- of the reference
    day TEXT NOT NULL, -- on which it was pinned
    run_id TEXT NOT NULL REFERENCES runs (id), -- that gave it
    trace TEXT NOT NULL -- JSON: prompts, and the likeliest tokens after each position with their log-probabilities
) STRICT, WITHOUT ROWID;
"""

# rows of numbers that name each distinct result and verdict: ten million checks would else be gigabytes
JUDGEMENTS = """
CREATE TABLE check_results ( -- derived: each distinct result of a check
    number INTEGER PRIMARY KEY, -- the result in run_checks
    digest INTEGER NOT NULL UNIQUE, -- of all that follows
    name TEXT NOT NULL, -- the check
    rung TEXT NOT NULL, -- step of the support ladder
    outcome TEXT NOT NULL, -- passed, failed, unknown, skipped or not-reached
    fault TEXT NOT NULL, -- slug of docs/checks.md; empty when nothing failed
    blame TEXT, -- whose fault it is
    message TEXT NOT NULL, -- what was seen
    signature TEXT NOT NULL, -- the same for the same failure, across paths and numbers
    evidence TEXT -- JSON
) STRICT;
CREATE TABLE run_checks ( -- derived: a row a run and check; the view checks reads better
    run INTEGER NOT NULL, -- its number in runs
    position INTEGER NOT NULL, -- in the order in which the run's checks were asked
    result INTEGER NOT NULL REFERENCES check_results (number), -- what came of it
    seconds REAL NOT NULL, -- that the check took
    PRIMARY KEY (run, position)
) STRICT, WITHOUT ROWID;
CREATE TABLE verdicts ( -- derived: each distinct verdict on a cell's day or on a rung of it
    number INTEGER PRIMARY KEY, -- the verdict in day_verdicts and rung_verdicts
    digest INTEGER NOT NULL UNIQUE, -- of all that follows
    verdict TEXT NOT NULL, -- of a cell: works, broken, flaky, unknown; of a rung: passed, failed and so on
    rung TEXT, -- that it is about, or that decided a cell's verdict
    reason TEXT NOT NULL, -- in words
    blame TEXT, -- whose fault it is
    fault TEXT NOT NULL, -- slug of docs/checks.md; empty when nothing failed
    signature TEXT NOT NULL -- the same for the same failure, across paths and numbers
) STRICT;
CREATE TABLE day_verdicts ( -- derived: a row a cell and day; the view days reads better
    cell INTEGER NOT NULL, -- its number in cells
    day TEXT NOT NULL, -- UTC
    origin TEXT NOT NULL, -- live or replay; live wins
    verdict INTEGER NOT NULL REFERENCES verdicts (number), -- what the day came to
    run INTEGER NOT NULL, -- the number in runs of the one that speaks for the day
    carried_from TEXT, -- the day whose verdict it is, where nothing was run
    leaning TEXT, -- the verdict that waits to be confirmed
    note TEXT NOT NULL, -- what differs from earlier days and is no verdict
    PRIMARY KEY (cell, day)
) STRICT, WITHOUT ROWID;
CREATE INDEX day_verdicts_by_day ON day_verdicts (day);
CREATE TABLE rung_verdicts ( -- derived: a row a cell, rung and day that is not carried; the view day_rungs reads better
    cell INTEGER NOT NULL, -- its number in cells
    day TEXT NOT NULL, -- UTC
    step INTEGER NOT NULL, -- number of the rung
    verdict INTEGER NOT NULL REFERENCES verdicts (number), -- what the rung came to
    PRIMARY KEY (cell, day, step),
    FOREIGN KEY (cell, day) REFERENCES day_verdicts (cell, day) ON DELETE CASCADE
) STRICT, WITHOUT ROWID;
CREATE TABLE flips ( -- derived: confirmed changes of verdict
    id INTEGER PRIMARY KEY, -- in the order of writing
    cell_id TEXT NOT NULL REFERENCES cells (id), -- that changed
    day TEXT NOT NULL, -- on which the change was first seen
    before TEXT NOT NULL, -- verdict
    after TEXT NOT NULL, -- verdict
    confirmed TEXT NOT NULL, -- day
    announced_at TEXT, -- NULL until an alert was written
    withdrawn INTEGER NOT NULL DEFAULT 0, -- 1 when it was announced and is no longer derived
    UNIQUE (cell_id, day, after)
) STRICT;
CREATE INDEX unannounced_flips ON flips (day) WHERE announced_at IS NULL;
CREATE TABLE answers ( -- derived: what the latest runs by hand show of one version
    cell_id TEXT NOT NULL REFERENCES cells (id), -- that was asked about
    version TEXT NOT NULL, -- of the runtime
    day TEXT NOT NULL, -- UTC
    verdict TEXT NOT NULL, -- works, broken, flaky or unknown
    rung TEXT, -- that decided it
    reason TEXT NOT NULL, -- in words
    blame TEXT, -- whose fault it is
    fault TEXT NOT NULL, -- slug of docs/checks.md; empty when nothing failed
    signature TEXT NOT NULL, -- the same for the same failure, across paths and numbers
    run_id TEXT NOT NULL REFERENCES runs (id), -- the latest
    PRIMARY KEY (cell_id, version)
) STRICT, WITHOUT ROWID;
"""

HUB = """
CREATE TABLE discoveries ( -- facts: models that were found on a hub or in a folder
    model_id TEXT PRIMARY KEY REFERENCES models (id), -- that was found
    source TEXT NOT NULL, -- organisation:NAME, model:NAME or folder:PATH of the configuration
    first_seen TEXT NOT NULL, -- when settle noticed
    created_at TEXT NOT NULL -- of the repository, which may have been private for long
) STRICT, WITHOUT ROWID;
CREATE TABLE hub_listings ( -- state, no fact: what the hub lists of a model now
    model_id TEXT PRIMARY KEY REFERENCES models (id), -- that is listed
    name TEXT NOT NULL, -- on the hub, after any renaming
    parameters INTEGER, -- how many
    pipeline_tag TEXT NOT NULL, -- of the hub
    parent TEXT NOT NULL, -- the model it was made from
    gated TEXT NOT NULL -- auto or manual; empty when open
) STRICT, WITHOUT ROWID;
CREATE TABLE revisions ( -- facts: what the commits of a model's repository changed
    id INTEGER PRIMARY KEY, -- in the order of the commits
    model_id TEXT NOT NULL REFERENCES models (id), -- whose commit it is
    revision TEXT NOT NULL, -- commit
    committed_at TEXT NOT NULL, -- as the hub dates it
    first_seen TEXT NOT NULL, -- when settle noticed
    changed TEXT NOT NULL, -- JSON: parts that differ from the revision before
    tree_digest TEXT NOT NULL, -- name of the file with its paths
    UNIQUE (model_id, revision)
) STRICT;
CREATE TABLE published_files ( -- facts: small files that are kept whole
    id INTEGER PRIMARY KEY, -- in the order of keeping
    model_id TEXT NOT NULL REFERENCES models (id), -- whose file it is
    revision TEXT NOT NULL, -- commit
    path TEXT NOT NULL, -- in the repository
    digest TEXT NOT NULL, -- name of the kept file; empty for one that may not be read
    problem TEXT NOT NULL, -- why it may not be read
    at TEXT NOT NULL, -- when it was kept
    UNIQUE (model_id, revision, path, digest)
) STRICT;
CREATE TABLE model_states ( -- facts: what became of a published model, such as withdrawn or renamed
    id INTEGER PRIMARY KEY, -- in the order of writing
    model_id TEXT NOT NULL REFERENCES models (id), -- whose state it is
    at TEXT NOT NULL, -- when settle noticed
    state TEXT NOT NULL, -- since then
    detail TEXT NOT NULL -- such as the new name
) STRICT;
CREATE INDEX model_states_by_model ON model_states (model_id);
CREATE TABLE popularity ( -- facts: what the hub counts, a row a day
    model_id TEXT NOT NULL REFERENCES models (id), -- that is counted
    day TEXT NOT NULL, -- UTC
    downloads INTEGER NOT NULL, -- of the last 30 days, as the hub counts them
    likes INTEGER NOT NULL, -- so far
    derived INTEGER, -- models made from it
    PRIMARY KEY (model_id, day)
) STRICT, WITHOUT ROWID;
CREATE TABLE derivations ( -- facts: what came of making a miniature of published files
    id INTEGER PRIMARY KEY, -- in the order of writing
    model_id TEXT NOT NULL REFERENCES models (id), -- whose files they are
    revision TEXT NOT NULL, -- commit
    files_id INTEGER NOT NULL, -- the newest of published_files that it was made from
    at TEXT NOT NULL, -- when it was made
    release TEXT NOT NULL, -- the newest of the reference's releases then
    subject_digest TEXT NOT NULL, -- empty where no miniature could be made
    reason TEXT NOT NULL, -- why; empty where one was made
    description TEXT NOT NULL DEFAULT '' -- name of the file with what a miniature is made from
) STRICT;
CREATE INDEX derivations_by_model ON derivations (model_id);
CREATE TABLE fetches ( -- facts: revisions whose full weights were fetched, or why there is nothing to fetch
    model_id TEXT NOT NULL REFERENCES models (id), -- whose weights they are
    revision TEXT NOT NULL, -- commit
    at TEXT NOT NULL, -- when they were fetched
    subject_digest TEXT NOT NULL, -- empty where nothing can be fetched
    reason TEXT NOT NULL, -- why; empty where they were fetched
    PRIMARY KEY (model_id, revision)
) STRICT, WITHOUT ROWID;
CREATE TABLE hub_polls ( -- state, no fact: when the hub was asked last
    what TEXT PRIMARY KEY, -- that it was asked for
    asked_at TEXT NOT NULL, -- last
    due_at TEXT NOT NULL, -- next
    trouble TEXT NOT NULL -- why it did not answer; empty when it did
) STRICT, WITHOUT ROWID;
"""

ALERTS = """
CREATE TABLE announcements ( -- facts: news, each once; an empty line was known when alerts began
    key TEXT PRIMARY KEY, -- the same for the same news
    kind TEXT NOT NULL, -- such as regression or new model
    line TEXT NOT NULL, -- in words
    runtime TEXT NOT NULL, -- that it is about; empty for none
    organisation TEXT NOT NULL, -- that it is about; empty for none
    at TEXT NOT NULL -- when it was announced
) STRICT, WITHOUT ROWID;
CREATE INDEX announcements_by_time ON announcements (at);
CREATE INDEX announcements_by_kind ON announcements (kind);
CREATE TABLE outbox ( -- one row a message and target
    id INTEGER PRIMARY KEY, -- in the order of writing
    target TEXT NOT NULL, -- its name in the configuration
    kind TEXT NOT NULL, -- news or digest
    severity TEXT NOT NULL, -- info, warning or failure
    title TEXT NOT NULL, -- of the message
    text TEXT NOT NULL, -- of the message
    html TEXT NOT NULL, -- of the message
    written_at TEXT NOT NULL, -- when it was written
    state TEXT NOT NULL DEFAULT 'pending', -- then claimed, then sent, failed (to be tried again) or given-up
    attempts INTEGER NOT NULL DEFAULT 0, -- so far
    due_at TEXT NOT NULL, -- when it is to be sent
    claimed_at TEXT, -- when sending began
    claimed_by TEXT, -- the process that sends it
    sent_at TEXT, -- when it was sent
    may_have_arrived INTEGER NOT NULL DEFAULT 0, -- 1 when an earlier attempt may have arrived; the message then says so
    problem TEXT NOT NULL DEFAULT '' -- of the last attempt
) STRICT;
CREATE INDEX unsent_messages ON outbox (due_at) WHERE state IN ('pending', 'claimed', 'failed');
CREATE TRIGGER outbox_never_delete BEFORE DELETE ON outbox
    BEGIN SELECT RAISE(ABORT, 'messages are only added'); END;
CREATE TRIGGER outbox_never_update BEFORE UPDATE OF target, kind, severity, title, text, html, written_at ON outbox
    BEGIN SELECT RAISE(ABORT, 'messages stay as they were written: only their delivery changes'); END;
CREATE TABLE alert_looks ( -- state, no fact: up to which day a cell was searched for news
    cell_id TEXT PRIMARY KEY REFERENCES cells (id), -- that was searched
    day TEXT NOT NULL, -- its latest then
    run_id TEXT NOT NULL -- that spoke for that day
) STRICT, WITHOUT ROWID;
"""

TABLES = (CATALOGUE, RELEASES, RUNS, JUDGEMENTS, HUB, ALERTS)

# nothing here may be changed or removed once it is written; what it means is derived and lives in other tables
FACT_TABLES = (
    "release_events",
    "refs",
    "environments",
    "resolutions",
    "departures",
    "sessions",
    "endings",
    "runs",
    "run_facts",
    "fact_values",
    "carries",
    "goldens",
    "discoveries",
    "revisions",
    "published_files",
    "model_states",
    "popularity",
    "derivations",
    "fetches",
    "announcements",
)
