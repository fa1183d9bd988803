"""Scripts that an installer runs with the base's own Python: standard library only, nothing of ours is imported."""
