"""Tells people what changed: news from the history, an outbox that no crash empties, messages over apprise."""
