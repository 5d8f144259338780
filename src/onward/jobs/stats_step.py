"""The lengths of time that the history is summed up by."""

from __future__ import annotations

from enum import StrEnum
from types import MappingProxyType

MINUTE_US, HOUR_US, DAY_US = 60_000_000, 3_600_000_000, 86_400_000_000


class StatsStep(StrEnum):
    MINUTE = "MINUTE"
    HOUR = "HOUR"
    DAY = "DAY"
    TOTAL = "TOTAL"


LENGTH_US = MappingProxyType({StatsStep.MINUTE: MINUTE_US, StatsStep.HOUR: HOUR_US, StatsStep.DAY: DAY_US})
KEPT_US = MappingProxyType({StatsStep.MINUTE: DAY_US, StatsStep.HOUR: 35 * DAY_US, StatsStep.DAY: 400 * DAY_US})
"""How long rows of each are kept: 1,440, 840 and 400 a handler at most."""
