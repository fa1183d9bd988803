"""Finds what is to be measured: models that are published, revised, renamed, gated and withdrawn."""
