"""Discovers releases and models, and makes subjects of the models."""
