"""Tiny checkpoints with a model's real architecture: data in the project, written to disk in milliseconds."""
