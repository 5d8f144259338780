"""Loggers of the packages.

Packages take a logger from `logger(name)` and add key-value pairs; only entry points call `configure`. Structlog is
loaded for the first line that is written: it takes a tenth of a second, and most commands write none.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    import structlog


def logger(name: str) -> structlog.stdlib.BoundLogger:
    """Return a logger with the name of its package; cheap, and configured at each line.

    Where nobody has configured structlog, as inside an application of somebody's own, its lines are like those of
    `configure`: structlog's own would show the values of local variables in tracebacks.
    """
    return cast("structlog.stdlib.BoundLogger", _Logger(name))


def set_environment(environment: str) -> None:
    """Say how lines are written where nobody configures structlog. May be called again."""
    global _production  # noqa: PLW0603 - of the process, as structlog's configuration
    _production = environment == "production"


def configure(environment: str, level: str = "INFO") -> None:
    """Write every log line of this process to standard error: as JSON in production, else for people to read.

    Control characters in values are escaped. May be called again.
    """
    from onward.telemetry import log_lines  # noqa: PLC0415 - see above

    log_lines.configure(production=environment == "production", level=level)


_production = False


class _Logger:
    """A logger of structlog, made at each line by the configuration of the moment."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, method: str) -> Any:
        from onward.telemetry import log_lines  # noqa: PLC0415 - see above

        return getattr(log_lines.bound(self._name, production=_production), method)
