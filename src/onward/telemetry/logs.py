"""Loggers of the packages.

Packages take a logger from `logger(name)` and add key-value pairs; only entry points call `configure`. Structlog is
loaded for the first line that is written: with Rich, which it loads where it is installed, it takes a tenth of a
second, most commands write no line, and a server begins to answer before it writes one.
"""

from __future__ import annotations

import logging
import sys
from typing import TYPE_CHECKING, Any, cast

from onward.telemetry import job_lines

if TYPE_CHECKING:
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
    root, handler = logging.getLogger(), log_lines.configured(production=environment == "production")
    root.handlers[:] = [handler, *(one for one in root.handlers if isinstance(one, job_lines.JobLines))]


def configure_later(environment: str, level: str = "INFO") -> None:
    """Configure with the first line that is written, or by `finish_configuring`, which is to be called soon.

    It is too late for what a module of the project writes by structlog itself while it is imported.
    """
    global _later  # noqa: PLW0603 - of the process, as structlog's configuration
    if "structlog" in sys.modules:
        return configure(environment, level)
    _set_levels(level)
    _later = _Later(production=environment == "production")
    logging.getLogger().handlers[:] = [_later]
    return None


def finish_configuring(*, if_loaded: bool = False) -> None:
    """Complete the configuration that `configure_later` began; `if_loaded`: only if somebody has loaded structlog."""
    if _later is not None and ("structlog" in sys.modules or not if_loaded):
        _later.load()


def _set_levels(level: str) -> None:
    logging.getLogger().setLevel(level)
    # A forgotten `await`, above all: a line of the log that names the job, and no bare text between the lines.
    logging.captureWarnings(capture=False)
    logging.captureWarnings(capture=True)
    for library in CHATTY:
        logging.getLogger(library).setLevel(logging.WARNING)


class _Later(logging.Handler):
    """The handler of libraries' lines until structlog is loaded. Its lock is held while that happens."""

    def __init__(self, *, production: bool) -> None:
        super().__init__()
        self._production = production
        self._loads = False
        self._handler: logging.Handler | None = None

    def load(self) -> logging.Handler | None:
        """Load structlog, if nobody has yet, and return the handler that takes this one's place.

        None where a line is written meanwhile by the thread that loads it.
        """
        if self._handler is not None:
            return self._handler
        with self.lock:  # type: ignore[union-attr]
            if not self._loads:
                self._loads = True
                from onward.telemetry import log_lines  # noqa: PLC0415 - see above

                handler = log_lines.configured(production=self._production)
                handlers = logging.getLogger().handlers  # others have been added, as the one for the lines of jobs
                handlers[:] = [handler if one is self else one for one in handlers]
                self._handler = handler
            return self._handler

    def emit(self, record: logging.LogRecord) -> None:
        handler = self.load() or logging.lastResort
        if handler is not None:
            handler.handle(record)


_production = False
_later: _Later | None = None


class _Logger:
    """A logger of structlog, made at each line by the configuration of the moment."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, method: str) -> Any:
        from onward.telemetry import log_lines  # noqa: PLC0415 - see above

        finish_configuring()
        return job_lines.noted(self._name, method, getattr(log_lines.bound(self._name, production=_production), method))
