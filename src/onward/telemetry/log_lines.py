"""How log lines are written: one format for our own and the libraries', by structlog."""

import json
import logging
import sys
from contextlib import suppress
from functools import cache
from typing import Any, cast

import orjson
import structlog
from structlog.typing import EventDict, Processor

from onward.telemetry.job_lines import exception_text
from onward.text.visibility import escape, escape_json

MAX_CHARACTERS = 20_000  # of one value: the text of an exception may be a whole answer of somebody's server


def bound(name: str, *, production: bool) -> structlog.stdlib.BoundLogger:
    """Return structlog's logger of that name, of its configuration; where nobody has configured it, of our own."""
    if structlog.is_configured():
        return cast("structlog.stdlib.BoundLogger", structlog.get_logger(name))
    processors = [_drop_debug, *_shared(production=production), *_rendering(production=production)]
    return structlog.stdlib.BoundLogger(structlog.PrintLogger(sys.stderr), processors, {"logger": name})


def configured(*, production: bool) -> logging.Handler:
    """Configure structlog, and return a handler by which Python's own logging writes like it."""
    shared = [structlog.stdlib.add_logger_name, *_shared(production=production)]
    handler = _StandardError(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                *_rendering(production=production),
            ],
        )
    )
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,
    )
    return handler


class _StandardError(logging.StreamHandler[Any]):
    """Writes lines also where a handler has closed standard error, and raises nothing where it cannot."""

    def emit(self, record: logging.LogRecord) -> None:
        if getattr(self.stream, "closed", False):  # Python closes the file, and leaves the descriptor open
            with suppress(OSError):
                self.stream = open(2, "w", encoding="utf-8", errors="backslashreplace", closefd=False)  # noqa: SIM115
        super().emit(record)

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - logging's own
        """Say what is wrong with the line, on standard error, which may be closed."""
        with suppress(Exception):
            super().handleError(record)


@cache
def _shared(*, production: bool) -> tuple[Processor, ...]:
    return (
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.PositionalArgumentsFormatter(),
        structlog.processors.TimeStamper(fmt="iso" if production else "%H:%M:%S", utc=production),
        _format_exception,
        _shorten,
    )


def _rendering(*, production: bool) -> list[Processor]:
    return [structlog.processors.JSONRenderer(serializer=_json)] if production else [_escape, _readable()]


def _drop_debug(_logger: Any, method: str, fields: EventDict) -> EventDict:
    if method == "debug":
        raise structlog.DropEvent
    return fields


def _readable() -> Processor:
    return structlog.dev.ConsoleRenderer(
        colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback, pad_event_to=0
    )


def _json(fields: EventDict, **_options: Any) -> str:
    try:
        return escape_json(orjson.dumps(fields, default=str, option=orjson.OPT_NON_STR_KEYS).decode())
    except TypeError:  # half a surrogate pair, or a number beyond 64 bits: slower, but the line is not lost
        return json.dumps(fields, default=str)


def _format_exception(_logger: Any, _method: str, fields: EventDict) -> EventDict:
    """Turn `exc_info`, in any of its forms, into the text `exception`, without the values of local variables."""
    if (text := exception_text(fields.pop("exc_info", None))) is not None:
        fields["exception"] = text
    return fields


def _shorten(_logger: Any, _method: str, fields: EventDict) -> EventDict:
    """Cut the middle out of long texts: a traceback begins with the place, and ends with the message."""
    for key, value in fields.items():
        if isinstance(value, str) and len(value) > MAX_CHARACTERS:
            half = MAX_CHARACTERS // 2
            fields[key] = f"{value[:half]} ... ({len(value) - 2 * half} characters left out) ... {value[-half:]}"
    return fields


def _escape(_logger: Any, _method: str, fields: EventDict) -> EventDict:
    """Escape control characters in values; a bar before each line tells a traceback from log lines."""
    exception = fields.pop("exception", None)
    escaped: EventDict = {_one_line(key): _one_line(value) for key, value in fields.items()}
    if exception is not None:
        escaped["exception"] = "\n".join(f"    | {_one_line(line)}" for line in str(exception).split("\n"))
    return escaped


def _one_line(value: Any) -> Any:
    text = value if isinstance(value, str) else repr(value)
    return escape(text)
