"""Judges what the store has recorded and writes what comes of it: checks, days, flips, answers by release."""

from monitor.verdicts.days import cells_to_reprobe, control_in, decision
from monitor.verdicts.details import RunDetail, run_detail
from monitor.verdicts.recording import Carried, carry, record_run
from monitor.verdicts.rejudge import Rejudged, rejudge

__all__ = [
    "Carried",
    "Rejudged",
    "RunDetail",
    "carry",
    "cells_to_reprobe",
    "control_in",
    "decision",
    "record_run",
    "rejudge",
    "run_detail",
]
