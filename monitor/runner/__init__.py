"""Installs one release, runs probe sessions in it and records them."""
