"""Writes the history as a folder of pages that need neither network nor JavaScript."""
