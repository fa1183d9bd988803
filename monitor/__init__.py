"""The daemon: decides, remembers, speaks."""
