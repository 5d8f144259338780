"""What a process tells about itself: log lines, metrics, traces. A leaf: any room may use it, and it knows none."""

from onward.telemetry.logs import configure, logger

__all__ = ["configure", "logger"]
