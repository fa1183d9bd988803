"""The loop: ticks of idempotent steps, health, metrics and the disk budget."""
