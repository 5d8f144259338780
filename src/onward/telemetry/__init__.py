"""Log lines, metrics and traces of a process. A leaf: every package may use it."""

from onward.telemetry.logs import configure, configure_later, finish_configuring, logger, set_environment

__all__ = ["configure", "configure_later", "finish_configuring", "logger", "set_environment"]
