"""Asks the package index, publishers, git repositories and the model hub, and parses their answers strictly."""
