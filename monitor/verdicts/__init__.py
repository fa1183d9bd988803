"""Judges what the store has recorded and writes what comes of it: checks, days, flips, answers by release."""

from monitor.verdicts.days import cells_to_reprobe, control_in, decision, judge_again
from monitor.verdicts.details import RunDetail, run_detail
from monitor.verdicts.discard import Discarded, discard_after
from monitor.verdicts.recording import Carried, carry, record_run
from monitor.verdicts.reference import golden_of, ruling_of
from monitor.verdicts.rejudge import Rejudged, rejudge

__all__ = [
    "Carried",
    "Discarded",
    "Rejudged",
    "RunDetail",
    "carry",
    "cells_to_reprobe",
    "control_in",
    "decision",
    "discard_after",
    "golden_of",
    "judge_again",
    "record_run",
    "rejudge",
    "ruling_of",
    "run_detail",
]
