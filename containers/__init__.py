"""Installs and runs things in isolation; knows nothing of models, verdicts or days."""
