"""The tables, grouped for reading; the comment beside a column is its meaning, and docs/schema.md is made of them."""

from __future__ import annotations

CATALOGUE = """
CREATE TABLE models ( -- the checkpoints that are watched
    id TEXT PRIMARY KEY, -- hub id
    family TEXT NOT NULL, -- name of the model's family, such as Gemma 4
    architecture TEXT NOT NULL, -- model_type in its configuration
    kind TEXT NOT NULL, -- dense, mixture or hybrid
    organisation TEXT NOT NULL, -- who published it
    released TEXT, -- day on which a source first shows the weights to be public; NULL when no source is known
    released_source TEXT NOT NULL, -- where the release day comes from
    license TEXT NOT NULL, -- as its publisher names it
    note TEXT NOT NULL, -- remark for readers
    control INTEGER NOT NULL, -- 1 for the control: the old model that is probed in every environment
    created TEXT, -- earliest day of the release, such as the creation of a repository that was private; NULL if unknown
    released_kind TEXT, -- what the source dates: weights, announcement, paper or listing
    released_confidence TEXT -- high, medium or low; NULL for what Settle saw itself
) STRICT;
CREATE TABLE subjects ( -- what is probed: one form of one model
    id TEXT PRIMARY KEY, -- model id, and #PART where a model is probed in parts
    model_id TEXT NOT NULL REFERENCES models (id), -- the model
    form TEXT NOT NULL, -- miniature (a tiny model with random weights), full or folder
    architecture TEXT NOT NULL, -- model_type in its configuration
    digest TEXT NOT NULL, -- digest of the subject's files
    qualified INTEGER NOT NULL, -- 1 if it has passed in some release; only then an unclassified failure counts
    first_known TEXT NOT NULL, -- first release of transformers that registers the architecture
    control INTEGER NOT NULL -- 1 if its model is the control
) STRICT;
CREATE INDEX subjects_by_model ON subjects (model_id);
CREATE TABLE cells ( -- everything that has a history of its own: subject, runtime, channel and platform
    number INTEGER PRIMARY KEY, -- number of the cell in derived tables
    id TEXT NOT NULL UNIQUE, -- subject@runtime/channel/platform
    subject_id TEXT NOT NULL REFERENCES subjects (id), -- the subject that is probed
    runtime TEXT NOT NULL, -- transformers, vllm, ollama, ...
    channel TEXT NOT NULL, -- stable, prerelease or nightly
    platform TEXT NOT NULL -- accelerator, Python version and isolation
) STRICT;
CREATE INDEX cells_by_subject ON cells (subject_id);
CREATE TABLE parity_causes ( -- why a runtime's numbers differ from the reference; from parity_causes.toml
    runtime TEXT NOT NULL, -- the runtime whose numbers differ
    architecture TEXT NOT NULL, -- model_type in the configuration
    cause TEXT NOT NULL, -- the cause, found by a person
    of_reference INTEGER NOT NULL DEFAULT 0, -- 1 if the cause is a fault of the reference
    PRIMARY KEY (runtime, architecture)
) STRICT, WITHOUT ROWID;
"""

RELEASES = """
CREATE TABLE releases ( -- all releases that a source has listed
    runtime TEXT NOT NULL, -- the runtime
    version TEXT NOT NULL, -- version of the runtime
    channel TEXT NOT NULL, -- stable, prerelease or nightly
    published_at TEXT NOT NULL, -- earliest publication time that a source gives
    yanked TEXT NOT NULL, -- reason of the yank, or 'yes' if none is given; empty if not yanked
    requires_python TEXT NOT NULL DEFAULT '', -- Python versions that the source requires
    wheels TEXT, -- JSON; NULL if no source lists files
    has_sources INTEGER NOT NULL DEFAULT 0, -- 1 if it can be built from source
    compatibility TEXT NOT NULL DEFAULT 'unknown', -- with the platform of the latest query
    revision TEXT NOT NULL DEFAULT '', -- commit, for a nightly
    first_seen TEXT NOT NULL DEFAULT '', -- when Settle first saw it; empty if not recorded
    PRIMARY KEY (runtime, version)
) STRICT, WITHOUT ROWID;
CREATE TABLE release_events ( -- facts: changes to releases after their publication
    project TEXT NOT NULL, -- a runtime, or a project that runtimes build on, such as llama.cpp
    version TEXT NOT NULL, -- version of the project
    kind TEXT NOT NULL, -- yanked, late wheel, moved tag, ...
    before TEXT NOT NULL, -- old value
    after TEXT NOT NULL, -- new value
    seen_at TEXT NOT NULL -- when Settle noticed
) STRICT;
CREATE TABLE refs ( -- facts: targets of tags and branches, one row per change
    repository TEXT NOT NULL, -- address of the git repository
    name TEXT NOT NULL, -- tag or branch
    target TEXT NOT NULL, -- commit; empty after the tag or branch was removed
    seen_at TEXT NOT NULL -- when Settle noticed
) STRICT;
CREATE INDEX refs_by_name ON refs (repository, name);
CREATE TABLE polls ( -- state, not a fact: the latest query of each source of releases
    source TEXT PRIMARY KEY, -- name of the source
    asked_at TEXT NOT NULL, -- time of the latest query
    answered_at TEXT, -- time of the latest answer
    fault TEXT NOT NULL, -- why the latest query failed; empty if it succeeded
    failing_since TEXT -- NULL if the latest query succeeded
) STRICT, WITHOUT ROWID;
"""

RUNS = """
CREATE TABLE environments ( -- facts: installed packages, pinned with hashes
    digest TEXT PRIMARY KEY, -- sha256 of the lock
    runtime TEXT NOT NULL, -- the runtime that is probed in it
    version TEXT NOT NULL, -- version of the runtime
    platform TEXT NOT NULL, -- accelerator, Python version and isolation
    base_digest TEXT NOT NULL, -- digest of the base image
    lock TEXT NOT NULL, -- requirement lines with hashes, as an installer reads them
    packages TEXT NOT NULL, -- JSON object: package to version
    created_at TEXT NOT NULL, -- when it was first built
    resolve_s REAL NOT NULL, -- seconds that the resolution took
    build_s REAL NOT NULL -- seconds that the installation took
) STRICT;
CREATE TABLE resolutions ( -- facts: an installer's choice of versions, or its failure
    id TEXT PRIMARY KEY, -- random id
    day TEXT NOT NULL, -- UTC
    origin TEXT NOT NULL, -- live, replay or adhoc
    runtime TEXT NOT NULL, -- the requested runtime
    channel TEXT NOT NULL, -- stable, prerelease or nightly
    platform TEXT NOT NULL, -- accelerator, Python version and isolation
    requested TEXT NOT NULL, -- requested version; empty for the newest
    version TEXT NOT NULL, -- resolved version
    cutoff TEXT, -- time after which published packages are ignored
    at TEXT NOT NULL, -- when the installer ran
    seconds REAL NOT NULL, -- duration in seconds
    environment_digest TEXT REFERENCES environments (digest), -- the environment; NULL if the resolution failed
    failed TEXT, -- the stage that failed
    fault TEXT NOT NULL, -- fault as in docs/checks.md; empty if nothing failed
    message TEXT NOT NULL, -- message of the installer
    log_digest TEXT NOT NULL -- file name of the log
) STRICT;
CREATE INDEX resolutions_by_day ON resolutions (day);
CREATE TABLE departures ( -- facts: packages of a past day's lock that cannot be rebuilt, and what replaces them
    resolution_id TEXT NOT NULL REFERENCES resolutions (id), -- resolution of the past day
    package TEXT NOT NULL, -- package name
    version TEXT NOT NULL, -- version that is installed instead
    reason TEXT NOT NULL, -- why it differs
    PRIMARY KEY (resolution_id, package)
) STRICT, WITHOUT ROWID;
CREATE TABLE sessions ( -- facts: started containers or processes, each for one or more subjects
    id TEXT PRIMARY KEY, -- random id
    resolution_id TEXT NOT NULL REFERENCES resolutions (id), -- resolution that gave the environment
    environment_digest TEXT NOT NULL REFERENCES environments (digest), -- environment in which it ran
    suite TEXT NOT NULL, -- digest of the probe code
    engine TEXT NOT NULL, -- docker, podman or process
    solo INTEGER NOT NULL, -- 1 if the session has only one subject
    limit_factor INTEGER NOT NULL, -- multiple of the usual limits
    request_digest TEXT NOT NULL, -- file name of the request
    started_at TEXT NOT NULL -- start, by Settle's clock
) STRICT;
CREATE TABLE endings ( -- facts: how each session ended; a session without a row was interrupted
    session_id TEXT PRIMARY KEY REFERENCES sessions (id), -- the session
    finished_at TEXT NOT NULL, -- end, by Settle's clock
    ending TEXT NOT NULL, -- JSON: exit code, signal, time and memory
    log_digest TEXT NOT NULL, -- file name of the log
    log_dropped_bytes INTEGER NOT NULL -- bytes dropped from the middle of a log that was too long
) STRICT, WITHOUT ROWID;
CREATE TABLE runs ( -- facts: attempts to probe a cell
    number INTEGER PRIMARY KEY, -- number of the run in other tables, in order of recording
    id TEXT NOT NULL UNIQUE, -- id of the run, for `settle show`
    cell_id TEXT NOT NULL REFERENCES cells (id), -- the cell
    resolution_id TEXT NOT NULL REFERENCES resolutions (id), -- resolution that gave the environment
    session_id TEXT REFERENCES sessions (id), -- the session; NULL if the installation failed
    day TEXT NOT NULL, -- UTC
    origin TEXT NOT NULL, -- live, replay or adhoc; adhoc runs are not part of the daily history
    purpose TEXT NOT NULL, -- probe, confirm, control or suite; only probe and confirm decide the day's verdict
    version TEXT NOT NULL, -- version of the runtime
    environment TEXT NOT NULL, -- digest of the lock
    suite TEXT NOT NULL, -- digest of the probe code
    subject_digest TEXT NOT NULL, -- digest of the subject's files
    solo INTEGER NOT NULL, -- 1 if the session has only one subject
    limit_factor INTEGER NOT NULL, -- multiple of the usual limits
    started_at TEXT NOT NULL, -- start, by Settle's clock
    seconds REAL NOT NULL, -- duration in seconds
    ending TEXT NOT NULL, -- JSON: how it ended
    events_digest TEXT NOT NULL, -- file name of the probe's events
    events_problem TEXT NOT NULL, -- why the events could not be read completely
    installed TEXT NOT NULL DEFAULT 'run-day', -- packages as of: release-day (of a pinned version) or run-day (day)
    deep INTEGER NOT NULL DEFAULT 1 -- 1 if the deep part was asked, too
) STRICT;
CREATE UNIQUE INDEX one_run_a_cell_and_session ON runs (coalesce(session_id, resolution_id), cell_id);
CREATE INDEX runs_by_cell ON runs (cell_id, day);
CREATE INDEX runs_by_day ON runs (day);
CREATE TABLE run_facts ( -- facts: values that a probe recorded besides its checks; the view facts is easier to read
    run INTEGER NOT NULL, -- number in runs
    position INTEGER NOT NULL, -- order of recording
    name TEXT NOT NULL, -- name of the value, such as imported, resources, logprobs or trace
    value INTEGER REFERENCES fact_values (number), -- number in fact_values; NULL if too long: see the run's events
    PRIMARY KEY (run, position)
) STRICT, WITHOUT ROWID;
CREATE INDEX answers_unlike_the_reference ON run_facts (run) WHERE name = 'heard';
CREATE TABLE fact_values ( -- facts: each distinct recorded value
    number INTEGER PRIMARY KEY, -- number of the value in run_facts
    digest INTEGER NOT NULL UNIQUE, -- digest of the value
    value TEXT NOT NULL -- JSON
) STRICT;
CREATE TABLE carries ( -- facts: carried days, on which nothing changed and nothing was probed
    cell_id TEXT NOT NULL REFERENCES cells (id), -- the cell
    day TEXT NOT NULL, -- UTC
    origin TEXT NOT NULL, -- live or replay
    resolution_id TEXT NOT NULL REFERENCES resolutions (id), -- resolution that shows that nothing changed
    source_day TEXT NOT NULL, -- day whose verdict is carried
    PRIMARY KEY (cell_id, day, origin)
) STRICT, WITHOUT ROWID;
CREATE TABLE goldens ( -- facts: the pinned numbers of the reference, per subject
    subject_digest TEXT PRIMARY KEY, -- digest of the subject's files
    runtime TEXT NOT NULL, -- the reference
    version TEXT NOT NULL, -- version of the reference
    day TEXT NOT NULL, -- day of pinning
    run_id TEXT NOT NULL REFERENCES runs (id), -- run that recorded it
    trace TEXT NOT NULL -- JSON: prompts, and the likeliest tokens at each position with their log-probabilities
) STRICT, WITHOUT ROWID;
"""

# rows of numbers that name each distinct result and verdict: ten million checks would else be gigabytes
JUDGEMENTS = """
CREATE TABLE check_results ( -- derived: each distinct result of a check
    number INTEGER PRIMARY KEY, -- number of the result in run_checks
    digest INTEGER NOT NULL UNIQUE, -- digest of the other columns
    name TEXT NOT NULL, -- name of the check
    rung TEXT NOT NULL, -- rung of the ladder
    outcome TEXT NOT NULL, -- passed, failed, unknown, skipped or not-reached
    fault TEXT NOT NULL, -- fault as in docs/checks.md; empty if nothing failed
    blame TEXT, -- whose fault the failure is
    message TEXT NOT NULL, -- what the check found
    signature TEXT NOT NULL, -- equal for failures that differ only in paths, addresses or numbers
    evidence TEXT -- JSON
) STRICT;
CREATE TABLE run_checks ( -- derived: one row per run and check; the view checks is easier to read
    run INTEGER NOT NULL, -- number in runs
    position INTEGER NOT NULL, -- order of the checks in the run
    result INTEGER NOT NULL REFERENCES check_results (number), -- number in check_results
    seconds REAL NOT NULL, -- duration in seconds
    PRIMARY KEY (run, position)
) STRICT, WITHOUT ROWID;
CREATE TABLE verdicts ( -- derived: each distinct verdict of a day or of a rung
    number INTEGER PRIMARY KEY, -- number of the verdict in day_verdicts and rung_verdicts
    digest INTEGER NOT NULL UNIQUE, -- digest of the other columns
    verdict TEXT NOT NULL, -- of a cell: works, broken, flaky, unknown; of a rung: passed, failed, ...
    rung TEXT, -- the rung, or the rung that decided the verdict of the cell
    reason TEXT NOT NULL, -- reason, as a sentence
    blame TEXT, -- whose fault the failure is
    fault TEXT NOT NULL, -- fault as in docs/checks.md; empty if nothing failed
    signature TEXT NOT NULL -- equal for failures that differ only in paths, addresses or numbers
) STRICT;
CREATE TABLE day_verdicts ( -- derived: one row per cell and day; the view days is easier to read
    cell INTEGER NOT NULL, -- number in cells
    day TEXT NOT NULL, -- UTC
    origin TEXT NOT NULL, -- live or replay; a live day replaces a replayed one
    verdict INTEGER NOT NULL REFERENCES verdicts (number), -- number in verdicts
    run INTEGER NOT NULL, -- number in runs of the run that decided the day
    carried_from TEXT, -- day whose verdict is carried; NULL if the day was probed
    leaning TEXT, -- new verdict that is not confirmed yet
    note TEXT NOT NULL, -- difference from earlier days that does not change the verdict
    PRIMARY KEY (cell, day)
) STRICT, WITHOUT ROWID;
CREATE INDEX day_verdicts_by_day ON day_verdicts (day);
CREATE TABLE rung_verdicts ( -- derived: one row per cell, rung and probed day; the view day_rungs is easier to read
    cell INTEGER NOT NULL, -- number in cells
    day TEXT NOT NULL, -- UTC
    step INTEGER NOT NULL, -- number of the rung
    verdict INTEGER NOT NULL REFERENCES verdicts (number), -- number in verdicts
    PRIMARY KEY (cell, day, step),
    FOREIGN KEY (cell, day) REFERENCES day_verdicts (cell, day) ON DELETE CASCADE
) STRICT, WITHOUT ROWID;
CREATE TABLE flips ( -- derived: confirmed changes of verdict
    id INTEGER PRIMARY KEY, -- order of writing
    cell_id TEXT NOT NULL REFERENCES cells (id), -- the cell
    day TEXT NOT NULL, -- day on which the change was first observed
    before TEXT NOT NULL, -- verdict before
    after TEXT NOT NULL, -- verdict after
    confirmed TEXT NOT NULL, -- day of the confirmation
    announced_at TEXT, -- NULL until an alert was written
    withdrawn INTEGER NOT NULL DEFAULT 0, -- 1 if it was announced and a later judgement removed it
    UNIQUE (cell_id, day, after)
) STRICT;
CREATE INDEX unannounced_flips ON flips (day) WHERE announced_at IS NULL;
"""

# by itself, for the migration that makes it again
ANSWERS = """
CREATE TABLE answers ( -- derived: results of pinned versions (adhoc runs), the latest per version and day of packages
    cell_id TEXT NOT NULL REFERENCES cells (id), -- the cell
    version TEXT NOT NULL, -- version of the runtime
    installed TEXT NOT NULL, -- packages as of release-day (of the version) or run-day (column day)
    day TEXT NOT NULL, -- UTC day whose packages were installed
    verdict TEXT NOT NULL, -- works, broken, flaky or unknown
    rung TEXT, -- the rung that decided the verdict
    reason TEXT NOT NULL, -- reason, as a sentence
    blame TEXT, -- whose fault the failure is
    fault TEXT NOT NULL, -- fault as in docs/checks.md; empty if nothing failed
    signature TEXT NOT NULL, -- equal for failures that differ only in paths, addresses or numbers
    run_id TEXT NOT NULL REFERENCES runs (id), -- the latest run
    rungs TEXT NOT NULL, -- JSON object: rung to verdict
    PRIMARY KEY (cell_id, version, installed)
) STRICT, WITHOUT ROWID;
"""

HUB = """
CREATE TABLE discoveries ( -- facts: models that Settle noticed on the hub or in a folder
    model_id TEXT PRIMARY KEY REFERENCES models (id), -- the model
    source TEXT NOT NULL, -- organisation:NAME, model:NAME or folder:PATH, as configured
    first_seen TEXT NOT NULL, -- when Settle noticed
    created_at TEXT NOT NULL -- creation of the repository, which may have been private at first
) STRICT, WITHOUT ROWID;
CREATE TABLE hub_listings ( -- state, not a fact: what the hub lists about each model now
    model_id TEXT PRIMARY KEY REFERENCES models (id), -- the model
    name TEXT NOT NULL, -- current name on the hub
    parameters INTEGER, -- number of parameters
    pipeline_tag TEXT NOT NULL, -- the hub's task
    parent TEXT NOT NULL, -- the model that it is derived from
    gated TEXT NOT NULL -- auto or manual; empty if open
) STRICT, WITHOUT ROWID;
CREATE TABLE revisions ( -- facts: commits of a model's repository
    id INTEGER PRIMARY KEY, -- order of the commits
    model_id TEXT NOT NULL REFERENCES models (id), -- the model
    revision TEXT NOT NULL, -- commit hash
    committed_at TEXT NOT NULL, -- commit time, from the hub
    first_seen TEXT NOT NULL, -- when Settle noticed
    changed TEXT NOT NULL, -- JSON: parts that differ from the revision before, such as weights
    tree_digest TEXT NOT NULL, -- file name of the list of its files
    UNIQUE (model_id, revision)
) STRICT;
CREATE TABLE published_files ( -- facts: small files of models, stored completely
    id INTEGER PRIMARY KEY, -- order of storing
    model_id TEXT NOT NULL REFERENCES models (id), -- the model
    revision TEXT NOT NULL, -- commit hash
    path TEXT NOT NULL, -- path in the repository
    digest TEXT NOT NULL, -- name of the stored file; empty if it could not be read
    problem TEXT NOT NULL, -- why it could not be read
    at TEXT NOT NULL, -- when it was stored
    UNIQUE (model_id, revision, path, digest)
) STRICT;
CREATE TABLE model_states ( -- facts: changes of state of published models, such as withdrawn or renamed
    id INTEGER PRIMARY KEY, -- order of writing
    model_id TEXT NOT NULL REFERENCES models (id), -- the model
    at TEXT NOT NULL, -- when Settle noticed
    state TEXT NOT NULL, -- the new state
    detail TEXT NOT NULL -- such as the new name
) STRICT;
CREATE INDEX model_states_by_model ON model_states (model_id);
CREATE TABLE popularity ( -- facts: the hub's counts per model and day
    model_id TEXT NOT NULL REFERENCES models (id), -- the model
    day TEXT NOT NULL, -- UTC
    downloads INTEGER NOT NULL, -- downloads of the last 30 days
    likes INTEGER NOT NULL, -- all likes so far
    derived INTEGER, -- number of models derived from it
    PRIMARY KEY (model_id, day)
) STRICT, WITHOUT ROWID;
CREATE TABLE derivations ( -- facts: attempts to make a miniature from published files
    id INTEGER PRIMARY KEY, -- order of writing
    model_id TEXT NOT NULL REFERENCES models (id), -- the model
    revision TEXT NOT NULL, -- commit hash
    files_id INTEGER NOT NULL, -- newest row of published_files that was used
    at TEXT NOT NULL, -- when it was made
    release TEXT NOT NULL, -- newest release of the reference at that time
    subject_digest TEXT NOT NULL, -- digest of the miniature's files; empty if none could be made
    reason TEXT NOT NULL, -- why none could be made
    description TEXT NOT NULL DEFAULT '' -- file name of the miniature's description
) STRICT;
CREATE INDEX derivations_by_model ON derivations (model_id);
CREATE TABLE fetches ( -- facts: downloads of full weights, or why there is nothing to download
    model_id TEXT NOT NULL REFERENCES models (id), -- the model
    revision TEXT NOT NULL, -- commit hash
    at TEXT NOT NULL, -- when they were downloaded
    subject_digest TEXT NOT NULL, -- digest of the files; empty if there is nothing to download
    reason TEXT NOT NULL, -- why there is nothing to download
    PRIMARY KEY (model_id, revision)
) STRICT, WITHOUT ROWID;
CREATE TABLE hub_polls ( -- state, not a fact: the latest query of the hub, by subject
    what TEXT PRIMARY KEY, -- what was queried
    asked_at TEXT NOT NULL, -- time of the latest query
    due_at TEXT NOT NULL, -- time of the next query
    trouble TEXT NOT NULL -- why the latest query failed; empty if it succeeded
) STRICT, WITHOUT ROWID;
"""

ALERTS = """
CREATE TABLE announcements ( -- facts: announced news, each once; an empty line marks news from before the first target
    key TEXT PRIMARY KEY, -- identifies the news
    kind TEXT NOT NULL, -- such as regression or new model
    line TEXT NOT NULL, -- the news, as a sentence
    runtime TEXT NOT NULL, -- the runtime; empty if none
    organisation TEXT NOT NULL, -- the organisation; empty if none
    at TEXT NOT NULL -- when it was announced
) STRICT, WITHOUT ROWID;
CREATE INDEX announcements_by_time ON announcements (at);
CREATE INDEX announcements_by_kind ON announcements (kind);
CREATE TABLE outbox ( -- one row per message and target
    id INTEGER PRIMARY KEY, -- order of writing
    target TEXT NOT NULL, -- name of the target in the configuration
    kind TEXT NOT NULL, -- news or digest
    severity TEXT NOT NULL, -- info, warning or failure
    title TEXT NOT NULL, -- title of the message
    text TEXT NOT NULL, -- text of the message
    html TEXT NOT NULL, -- the message as HTML
    written_at TEXT NOT NULL, -- when it was written
    state TEXT NOT NULL DEFAULT 'pending', -- pending, claimed, sent, failed (will be retried) or given-up
    attempts INTEGER NOT NULL DEFAULT 0, -- attempts so far
    due_at TEXT NOT NULL, -- time of the next attempt
    claimed_at TEXT, -- start of the latest attempt
    claimed_by TEXT, -- process that is sending it
    sent_at TEXT, -- when it was sent
    may_have_arrived INTEGER NOT NULL DEFAULT 0, -- 1 if an earlier attempt may have arrived; the message then says so
    problem TEXT NOT NULL DEFAULT '' -- error of the latest attempt
) STRICT;
CREATE INDEX unsent_messages ON outbox (due_at) WHERE state IN ('pending', 'claimed', 'failed');
CREATE TRIGGER outbox_never_delete BEFORE DELETE ON outbox
    BEGIN SELECT RAISE(ABORT, 'messages are only added'); END;
CREATE TRIGGER outbox_never_update BEFORE UPDATE OF target, kind, severity, title, text, html, written_at ON outbox
    BEGIN SELECT RAISE(ABORT, 'messages stay as they were written: only their delivery changes'); END;
CREATE TABLE alert_looks ( -- state, not a fact: the day up to which each cell was searched for news
    cell_id TEXT PRIMARY KEY REFERENCES cells (id), -- the cell
    day TEXT NOT NULL, -- its latest day at that time
    run_id TEXT NOT NULL -- the run that decided that day
) STRICT, WITHOUT ROWID;
"""

TRACES = """
CREATE TABLE trace_values ( -- facts: each distinct answer to the fixed prompts over a subject's files
    number INTEGER PRIMARY KEY, -- number of the answer in other tables
    subject_digest TEXT NOT NULL, -- digest of the subject's files
    platform TEXT NOT NULL, -- accelerator, Python version and isolation
    digest INTEGER NOT NULL, -- digest of the value
    value TEXT NOT NULL, -- JSON: prompts, and the likeliest tokens at each position with their log-probabilities
    UNIQUE (subject_digest, platform, digest)
) STRICT;
CREATE TABLE traces ( -- facts: releases that gave an answer, up to rounding
    answer INTEGER NOT NULL REFERENCES trace_values (number), -- number in trace_values
    runtime TEXT NOT NULL, -- the runtime that answered
    version TEXT NOT NULL, -- version of the runtime
    reader TEXT NOT NULL, -- version of the reference that reads configurations for it; empty if it reads by itself
    independent INTEGER NOT NULL, -- 1 if it computed with code of its own, 0 if with that of the reference
    allowed REAL NOT NULL, -- difference that rounding explains, in nats; 0 if not known
    day TEXT NOT NULL, -- day of the first recorded run with this answer
    PRIMARY KEY (answer, runtime, version, reader, independent)
) STRICT, WITHOUT ROWID;
CREATE TABLE run_traces ( -- facts: the answer of each run, up to rounding
    run INTEGER PRIMARY KEY, -- number in runs
    answer INTEGER NOT NULL REFERENCES trace_values (number) -- number in trace_values
) STRICT;
CREATE INDEX run_traces_by_answer ON run_traces (answer);
"""

# a reference that turns out to be wrong is followed by another
GOLDENS = """
CREATE TABLE goldens ( -- facts: the pinned numbers of the reference, per subject; the latest that stands is used
    subject_digest TEXT NOT NULL, -- digest of the subject's files
    runtime TEXT NOT NULL, -- the reference
    version TEXT NOT NULL, -- version of the reference
    day TEXT NOT NULL, -- day of pinning
    run_id TEXT NOT NULL REFERENCES runs (id), -- run that recorded it
    trace TEXT NOT NULL, -- JSON: prompts, and the likeliest tokens at each position with their log-probabilities
    PRIMARY KEY (subject_digest, run_id)
) STRICT, WITHOUT ROWID;
"""

LAYOUTS = """
CREATE TABLE layouts ( -- facts: names, types and shapes of published weights, from the headers of their files
    id INTEGER PRIMARY KEY, -- order of reading
    model_id TEXT NOT NULL REFERENCES models (id), -- the model
    revision TEXT NOT NULL, -- commit hash
    at TEXT NOT NULL, -- when Settle read them
    digest TEXT NOT NULL, -- file name of the layout; empty if it cannot be read
    changed TEXT NOT NULL, -- JSON: sentences about what differs from the layout read before
    problem TEXT NOT NULL, -- why it cannot be read, or what speaks against the index
    UNIQUE (model_id, revision)
) STRICT;
CREATE TABLE layout_comparisons ( -- facts: comparisons of a published layout with that of the model's miniature
    id INTEGER PRIMARY KEY, -- order of comparing
    model_id TEXT NOT NULL REFERENCES models (id), -- the model
    revision TEXT NOT NULL, -- commit hash
    subject_digest TEXT NOT NULL, -- digest of the miniature's files
    at TEXT NOT NULL, -- when they were compared
    differences TEXT, -- JSON: sentences about the differences, none where they are alike; null if it has no tensors
    UNIQUE (model_id, revision, subject_digest)
) STRICT;
"""

TABLES = (CATALOGUE, RELEASES, RUNS, JUDGEMENTS, ANSWERS, HUB, ALERTS)

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

TRACE_TABLES = ("trace_values", "traces", "run_traces")  # of facts, too
LAYOUT_TABLES = ("layouts", "layout_comparisons")  # of facts, too
