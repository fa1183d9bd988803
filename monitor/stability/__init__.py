"""Time to stable support: from a cell's days to when it worked and kept working, and to distributions; pure."""
