"""The levels of log lines, as Python's `logging` has them."""

from __future__ import annotations

from enum import StrEnum


class LogLevel(StrEnum):
    """The level of a log line."""

    DEBUG = "DEBUG"
    INFO = "INFO"
    WARNING = "WARNING"
    ERROR = "ERROR"
    CRITICAL = "CRITICAL"


_ORDER = tuple(LogLevel)


def level_of(number: int) -> LogLevel:
    """Return the level of a number of `logging`; of a number between two levels the lower one."""
    return _ORDER[min(max(number // 10, 1), len(_ORDER)) - 1]
