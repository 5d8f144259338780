"""Log lines, metrics and traces of a process. A leaf: every package may use it."""

from onward.telemetry.logs import configure, logger, set_environment

__all__ = ["configure", "logger", "set_environment"]
