"""The log lines of a job: what Python's `logging` gets while one of its steps runs.

A context variable knows the job. Tasks, `asyncio.to_thread` and the threads of plain functions have a copy of it; a
thread that a handler starts by itself has none.
"""

from __future__ import annotations

import logging
import sys
import time
import traceback
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from typing import Any, NamedTuple, Protocol

BOUND = frozenset(
    {"event", "exception", "exc_info", "handler", "job", "attempt", "trace", "level", "logger", "timestamp"}
)
"""Fields of structlog's lines that a line of a job has elsewhere, or does not need."""


class Line(NamedTuple):
    """A log line. Its text may have several lines: those of a traceback."""

    time: int  # of the process's clock, in microseconds
    level: int
    logger: str
    text: str


class Sink(Protocol):
    """The lines of one job."""

    level: int
    source: JobLines

    def add(self, line: Line) -> None:
        """Take a line. From any thread; must not raise."""


_sink: ContextVar[Sink | None] = ContextVar("job_lines", default=None)


def collect(sink: Sink) -> None:
    """Give the lines of the present context, and of those that are copied from it, to the sink."""
    _sink.set(sink)


def noted(name: str, method: str, write: Callable[..., Any]) -> Callable[..., Any]:
    """Return what writes a line of ours, and gives it to the sink, however structlog writes it."""
    sink = _sink.get()
    level = getattr(logging, method.upper(), logging.ERROR)
    if sink is None or level < sink.level:
        return write

    more = {"exc_info": True} if method == "exception" else {}

    def both(event: str, **fields: Any) -> Any:
        sink.add(Line(time.time_ns() // 1_000, level, name, _text_of({**more, "event": event, **fields})))
        before = _sink.set(None)  # it may come to `logging`
        try:
            return write(event, **fields)
        finally:
            _sink.reset(before)

    return both


class JobLines(logging.Handler):
    """Gives the lines of jobs to their sinks, from the root logger."""

    def open(self) -> None:
        """Begin. May be called again: a project may have configured `logging` meanwhile."""
        logging.getLogger().addHandler(self)

    def close(self) -> None:
        logging.getLogger().removeHandler(self)
        super().close()

    def handle(self, record: logging.LogRecord) -> bool:
        """Take the record. Without the lock of a handler: a sink has its own, and most records have no sink."""
        self._print_unhandled(record)
        sink = _sink.get()
        if sink is not None and sink.source is self and record.levelno >= sink.level:
            try:
                sink.add(Line(int(record.created * 1_000_000), record.levelno, record.name, _message_of(record)))
            except Exception:  # noqa: BLE001 - as any handler: a line that cannot be written must not end a step
                self.handleError(record)
        return True

    def _print_unhandled(self, record: logging.LogRecord) -> None:
        """Print a warning that nobody else prints, as Python does where no handler is configured."""
        last = logging.lastResort
        if last is None or record.levelno < last.level or logging.getLogger().handlers[:1] != [self]:
            return
        logger: logging.Logger | None = logging.getLogger(record.name)
        while logger is not None:
            if not all(isinstance(one, JobLines) for one in logger.handlers):
                return
            logger = logger.parent
        last.handle(record)


def exception_text(exc_info: Any) -> str | None:
    """Return the traceback of an `exc_info`, in any of its forms, without the values of local variables."""
    error = sys.exc_info()[1] if exc_info is True else exc_info[1] if isinstance(exc_info, tuple) else exc_info
    return "".join(traceback.format_exception(error)).rstrip() if isinstance(error, BaseException) else None


def _message_of(record: logging.LogRecord) -> str:
    # Through `structlog.stdlib.ProcessorFormatter` the message is structlog's fields.
    is_structlog = isinstance(record.msg, dict) and "event" in record.msg
    parts = [_text_of(record.msg) if is_structlog else record.getMessage()]  # type: ignore[arg-type]
    parts += [text for text in (exception_text(record.exc_info), record.stack_info) if text]
    return "\n".join(parts)


def _text_of(fields: Mapping[str, Any]) -> str:
    shown = [f"{key}={value}" for key, value in fields.items() if key not in BOUND and not key.startswith("_")]
    exception = fields.get("exception") or exception_text(fields.get("exc_info"))
    return "\n".join([" ".join([str(fields["event"]), *shown]), *([str(exception)] if exception else [])])
