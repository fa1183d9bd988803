"""Alerts about changes: detected in the history, written into an outbox that survives a crash, sent over apprise."""
