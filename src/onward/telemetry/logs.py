"""Loggers of the packages.

Packages take a logger from `logger(name)` and add key-value pairs; only entry points call `configure`. Structlog is
loaded for the first line that is written: with Rich, which it loads where it is installed, it takes a tenth of a
second, most commands write no line, and a server begins to answer before it writes one.
"""

from __future__ import annotations

import logging
import sys
from functools import partial
from typing import TYPE_CHECKING, Any, cast

from onward.telemetry import job_lines

if TYPE_CHECKING:
    from collections.abc import Callable

    import structlog

CHATTY = ("aiosmtplib", "alembic", "asyncio", "dramatiq", "uvicorn")


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

    _set_levels(level)
    log_lines.configure(production=environment == "production")


def configure_later(environment: str, level: str = "INFO") -> None:
    """Configure with the first line that is written, or by `finish_configuring`, which is to be called soon.

    It is too late for what a module of the project writes by structlog itself while it is imported.
    """
    global _put_off  # noqa: PLW0603 - of the process, as structlog's configuration
    if "structlog" in sys.modules:
        return configure(environment, level)
    _set_levels(level)
    logging.getLogger().handlers[:] = [_FirstRecord()]
    _put_off = partial(configure, environment, level)
    return None


def finish_configuring(*, if_loaded: bool = False) -> None:
    """Do what `configure_later` has put off, if anything; `if_loaded`: only if somebody has loaded structlog."""
    global _put_off
    if _put_off is not None and ("structlog" in sys.modules or not if_loaded):
        put_off, _put_off = _put_off, None
        put_off()


def _set_levels(level: str) -> None:
    logging.getLogger().setLevel(level)
    # A forgotten `await`, above all: a line of the log that names the job, and no bare text between the lines.
    logging.captureWarnings(capture=False)
    logging.captureWarnings(capture=True)
    for library in CHATTY:
        logging.getLogger(library).setLevel(logging.WARNING)


_production = False
_put_off: Callable[[], None] | None = None


class _FirstRecord(logging.Handler):
    """Configures, and hands on, when a library writes the first line."""

    def emit(self, record: logging.LogRecord) -> None:
        finish_configuring()
        logging.getLogger().handle(record)


class _Logger:
    """A logger of structlog, made at each line by the configuration of the moment."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, method: str) -> Any:
        from onward.telemetry import log_lines  # noqa: PLC0415 - see above

        finish_configuring()
        return job_lines.noted(self._name, method, getattr(log_lines.bound(self._name, production=_production), method))
