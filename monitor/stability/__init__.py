"""From days to the answer: when it works, since when it is stable, what broke, and how sure that is; pure."""
