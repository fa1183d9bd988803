"""What the control, a model known to work, proves about our infrastructure and about a release; pure."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, assert_never

from monitor.domain import CellVerdict

if TYPE_CHECKING:
    from collections.abc import Iterable


class Control(StrEnum):
    """The result of the control in one environment on one day."""

    GREEN = "green"  # it works: a failure of another cell is that cell's
    RELEASE = "release"  # fails here, works in the last good environment: the release or its dependencies, for everyone
    INFRA = "infra"  # fails in both: nothing measured that day is evidence
    PENDING = "pending"  # fails here and has not been rerun, or there is no good environment to rerun it in
    ABSENT = "absent"  # no control ran here, or it ended unknown

    @property
    def reason(self) -> str:
        match self:
            case Control.GREEN:
                return "the control works"
            case Control.RELEASE:
                return "the control fails here and works in the last good environment"
            case Control.INFRA:
                return "the control fails here and in the last good environment too"
            case Control.PENDING:
                return "the control fails here and has not been rerun in a good environment"
            case Control.ABSENT:
                return "no control has a result in this environment"
            case _:
                assert_never(self)

    @property
    def vouches(self) -> bool:
        """Whether a failure beyond the installation may count."""
        return self in (Control.GREEN, Control.RELEASE)


def control_says(here: Iterable[CellVerdict], elsewhere: Iterable[CellVerdict]) -> Control:
    """Return the control's result. ``elsewhere`` are its reruns in the last good environment, the same day.

    One success proves that our infrastructure works; a failure counts only where no success stands against it.
    """
    seen, rerun = set(here), set(elsewhere)
    if CellVerdict.WORKS in seen:
        return Control.GREEN
    if not seen & {CellVerdict.BROKEN, CellVerdict.FLAKY}:
        return Control.ABSENT
    if CellVerdict.WORKS in rerun:
        return Control.RELEASE
    return Control.INFRA if CellVerdict.BROKEN in rerun else Control.PENDING
