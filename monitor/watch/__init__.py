"""The rim of the daemon: how it tells machines and people that it lives, and what it waits for."""
