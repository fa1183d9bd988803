"""The tables as they were first made, by the migration that makes them; what a column means is written beside it."""

CATALOGUE = """
CREATE TABLE models ( -- the checkpoints that are watched
    id TEXT PRIMARY KEY, -- hub id
    family TEXT NOT NULL, -- what people call it, with its siblings
    architecture TEXT NOT NULL, -- model_type of its configuration
    kind TEXT NOT NULL, -- dense, mixture or hybrid
    organisation TEXT NOT NULL, -- who published it
    released TEXT, -- day of the first public commit with weights; NULL when no source is known
    released_source TEXT NOT NULL, -- who says so
    license TEXT NOT NULL,
    note TEXT NOT NULL,
    control INTEGER NOT NULL -- 1 for the old model that every environment is tried with
) STRICT;
CREATE TABLE subjects ( -- what is probed: one form of one model
    id TEXT PRIMARY KEY, -- the model's, and the part of it where there are several
    model_id TEXT NOT NULL REFERENCES models (id),
    form TEXT NOT NULL, -- miniature, full or folder
    architecture TEXT NOT NULL, -- model_type of its configuration
    digest TEXT NOT NULL, -- of its files, byte for byte
    qualified INTEGER NOT NULL, -- 1 when it has passed in some release, so that a failure counts
    first_known TEXT NOT NULL, -- first release of transformers that registers the architecture
    control INTEGER NOT NULL -- as of its model
) STRICT;
CREATE TABLE cells ( -- what has a history: subject, runtime, channel and platform
    id TEXT PRIMARY KEY, -- subject@runtime/channel/platform
    subject_id TEXT NOT NULL REFERENCES subjects (id),
    runtime TEXT NOT NULL, -- transformers, vllm, ollama and so on
    channel TEXT NOT NULL, -- stable, prerelease or nightly
    platform TEXT NOT NULL -- accelerator, Python and isolation
) STRICT;
CREATE INDEX cells_by_subject ON cells (subject_id);
CREATE TABLE releases ( -- what the index has listed of the runtimes
    runtime TEXT NOT NULL,
    version TEXT NOT NULL,
    channel TEXT NOT NULL,
    published_at TEXT NOT NULL,
    yanked TEXT NOT NULL, -- the reason, or yes without one
    PRIMARY KEY (runtime, version)
) STRICT, WITHOUT ROWID;
"""

FACTS = """
CREATE TABLE environments ( -- facts: what was really installed, pinned with hashes
    digest TEXT PRIMARY KEY, -- sha256 of the lock
    runtime TEXT NOT NULL,
    version TEXT NOT NULL, -- of the runtime
    platform TEXT NOT NULL,
    base_digest TEXT NOT NULL, -- of the image beneath
    lock TEXT NOT NULL, -- requirement lines with hashes, to be installed again
    packages TEXT NOT NULL, -- JSON: name to version
    created_at TEXT NOT NULL,
    resolve_s REAL NOT NULL, -- seconds
    build_s REAL NOT NULL -- seconds
) STRICT;
CREATE TABLE resolutions ( -- facts: what an installer answered on a day
    id TEXT PRIMARY KEY,
    day TEXT NOT NULL,
    origin TEXT NOT NULL, -- live, replay or adhoc
    runtime TEXT NOT NULL,
    channel TEXT NOT NULL,
    platform TEXT NOT NULL,
    requested TEXT NOT NULL, -- the version that was asked for; empty for the newest
    version TEXT NOT NULL, -- the version that was given
    cutoff TEXT, -- nothing published later was taken
    at TEXT NOT NULL,
    seconds REAL NOT NULL,
    environment_digest TEXT REFERENCES environments (digest), -- NULL where it failed
    failed TEXT, -- stage
    fault TEXT NOT NULL,
    message TEXT NOT NULL,
    log_digest TEXT NOT NULL -- name of the log's file
) STRICT;
CREATE INDEX resolutions_by_day ON resolutions (day);
CREATE TABLE sessions ( -- facts: one process in an environment, for one subject or many
    id TEXT PRIMARY KEY,
    resolution_id TEXT NOT NULL REFERENCES resolutions (id),
    environment_digest TEXT NOT NULL REFERENCES environments (digest),
    suite TEXT NOT NULL, -- digest of the probes' code
    engine TEXT NOT NULL, -- docker, podman or process
    solo INTEGER NOT NULL, -- 1 for a fresh process of a subject's own
    limit_factor INTEGER NOT NULL, -- how many times the usual limits
    request_digest TEXT NOT NULL, -- name of the file with what was asked
    started_at TEXT NOT NULL
) STRICT;
CREATE TABLE endings ( -- facts: how a session ended; one without was interrupted
    session_id TEXT PRIMARY KEY REFERENCES sessions (id),
    finished_at TEXT NOT NULL,
    ending TEXT NOT NULL, -- JSON: exit code, signal, time and memory
    log_digest TEXT NOT NULL, -- name of the log's file
    log_dropped_bytes INTEGER NOT NULL -- from the middle of a log that was too long
) STRICT, WITHOUT ROWID;
CREATE TABLE runs ( -- facts: one attempt to probe a cell
    id TEXT PRIMARY KEY, -- `settle show` takes it
    cell_id TEXT NOT NULL REFERENCES cells (id),
    resolution_id TEXT NOT NULL REFERENCES resolutions (id),
    session_id TEXT REFERENCES sessions (id), -- NULL where the installation failed
    day TEXT NOT NULL, -- UTC
    origin TEXT NOT NULL, -- live, replay or adhoc; the last is no part of the daily history
    purpose TEXT NOT NULL, -- probe, confirm, control or suite; the first two speak for their day
    version TEXT NOT NULL, -- of the runtime
    environment TEXT NOT NULL, -- digest of the lock
    suite TEXT NOT NULL, -- digest of the probes' code
    subject_digest TEXT NOT NULL, -- of the subject's files
    solo INTEGER NOT NULL, -- 1 for a fresh process of the subject's own
    limit_factor INTEGER NOT NULL, -- how many times the usual limits
    started_at TEXT NOT NULL,
    seconds REAL NOT NULL,
    ending TEXT NOT NULL, -- JSON
    events_digest TEXT NOT NULL, -- name of the file with what the probe told
    events_problem TEXT NOT NULL -- why that file could not be read to its end
) STRICT;
CREATE UNIQUE INDEX one_run_a_cell_and_session ON runs (coalesce(session_id, resolution_id), cell_id);
CREATE INDEX runs_by_cell ON runs (cell_id, day);
CREATE INDEX runs_by_environment ON runs (day, environment);
CREATE TABLE facts (
    run_id TEXT NOT NULL REFERENCES runs (id),
    name TEXT NOT NULL,
    value TEXT NOT NULL -- JSON
) STRICT;
CREATE INDEX facts_by_run ON facts (run_id, name);
CREATE TABLE carries ( -- facts: days on which nothing had changed, so that nothing was run
    cell_id TEXT NOT NULL REFERENCES cells (id),
    day TEXT NOT NULL,
    origin TEXT NOT NULL,
    resolution_id TEXT NOT NULL REFERENCES resolutions (id), -- who says that nothing had changed
    source_day TEXT NOT NULL, -- whose verdict it is
    PRIMARY KEY (cell_id, day, origin)
) STRICT, WITHOUT ROWID;
"""

DEPARTURES = """
CREATE TABLE departures ( -- facts: packages of a past day's lock that nobody could have had on that day
    resolution_id TEXT NOT NULL REFERENCES resolutions (id),
    package TEXT NOT NULL,
    version TEXT NOT NULL,
    why TEXT NOT NULL,
    PRIMARY KEY (resolution_id, package)
) STRICT, WITHOUT ROWID;
"""

DERIVED = """
CREATE TABLE checks (
    run_id TEXT NOT NULL REFERENCES runs (id),
    position INTEGER NOT NULL,
    name TEXT NOT NULL,
    rung TEXT NOT NULL,
    outcome TEXT NOT NULL,
    fault TEXT NOT NULL,
    blame TEXT,
    message TEXT NOT NULL,
    signature TEXT NOT NULL,
    seconds REAL NOT NULL,
    evidence TEXT, -- JSON
    PRIMARY KEY (run_id, position)
) STRICT, WITHOUT ROWID;
CREATE INDEX checks_by_signature ON checks (signature) WHERE signature != '';
CREATE TABLE days (
    cell_id TEXT NOT NULL REFERENCES cells (id),
    day TEXT NOT NULL,
    origin TEXT NOT NULL,
    verdict TEXT NOT NULL,
    rung TEXT,
    reason TEXT NOT NULL,
    blame TEXT,
    fault TEXT NOT NULL,
    signature TEXT NOT NULL,
    run_id TEXT NOT NULL REFERENCES runs (id),
    version TEXT NOT NULL,
    environment TEXT NOT NULL,
    suite TEXT NOT NULL,
    subject_digest TEXT NOT NULL,
    carried_from TEXT,
    leaning TEXT,
    note TEXT NOT NULL,
    PRIMARY KEY (cell_id, day)
) STRICT, WITHOUT ROWID;
CREATE INDEX days_by_day ON days (day);
CREATE TABLE day_rungs (
    cell_id TEXT NOT NULL,
    day TEXT NOT NULL,
    step INTEGER NOT NULL,
    rung TEXT NOT NULL,
    verdict TEXT NOT NULL,
    reason TEXT NOT NULL,
    blame TEXT,
    fault TEXT NOT NULL,
    signature TEXT NOT NULL,
    PRIMARY KEY (cell_id, day, step),
    FOREIGN KEY (cell_id, day) REFERENCES days (cell_id, day) ON DELETE CASCADE
) STRICT, WITHOUT ROWID;
CREATE TABLE flips ( -- derived: confirmed changes of verdict
    id INTEGER PRIMARY KEY,
    cell_id TEXT NOT NULL REFERENCES cells (id),
    day TEXT NOT NULL, -- on which the change was first seen
    before TEXT NOT NULL, -- verdict
    after TEXT NOT NULL, -- verdict
    confirmed TEXT NOT NULL, -- day
    announced_at TEXT, -- NULL until somebody was told
    withdrawn INTEGER NOT NULL DEFAULT 0, -- announced once, and no longer derived
    UNIQUE (cell_id, day, after)
) STRICT;
CREATE INDEX unannounced_flips ON flips (day) WHERE announced_at IS NULL;
"""

ANSWERS = """
CREATE TABLE answers ( -- derived: what the latest runs by hand say of one version
    cell_id TEXT NOT NULL REFERENCES cells (id),
    version TEXT NOT NULL,
    day TEXT NOT NULL,
    verdict TEXT NOT NULL, -- works, broken, flaky or unknown
    rung TEXT, -- that decided it
    reason TEXT NOT NULL,
    blame TEXT,
    fault TEXT NOT NULL,
    signature TEXT NOT NULL,
    run_id TEXT NOT NULL REFERENCES runs (id),
    PRIMARY KEY (cell_id, version)
) STRICT, WITHOUT ROWID;
"""

GOLDENS = """
CREATE TABLE goldens ( -- facts: what the reference says of a subject's files, pinned
    subject_digest TEXT PRIMARY KEY,
    runtime TEXT NOT NULL, -- the reference
    version TEXT NOT NULL,
    day TEXT NOT NULL,
    run_id TEXT NOT NULL REFERENCES runs (id),
    trace TEXT NOT NULL -- JSON: prompts, and the likeliest tokens after each position with their log-probabilities
) STRICT, WITHOUT ROWID;
"""
