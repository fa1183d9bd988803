"""Indexes of the tables that grow with every run, so that what the daemon asks in each tick reads no whole table."""

from __future__ import annotations

INDEXES = (
    "CREATE INDEX runs_by_session ON runs (session_id)",
    "CREATE INDEX sessions_by_resolution ON sessions (resolution_id)",
    "CREATE INDEX resolutions_by_runtime ON resolutions (runtime, at)",
    "CREATE INDEX resolutions_by_platform ON resolutions (platform, origin)",
    "CREATE INDEX endings_by_time ON endings (finished_at)",
    "CREATE INDEX environments_by_runtime ON environments (runtime)",
    "CREATE INDEX release_events_by_project ON release_events (project, seen_at)",
)
