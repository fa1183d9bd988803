"""Decides what is due: today, and for past days in a backfill."""
