"""The daemon's side of the container's wall: the probe bundle and the events file."""
