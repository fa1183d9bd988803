"""Time to stable support: when a cell worked and kept working, and how that is distributed over cells; pure."""
