"""Traces: a job's way in one piece, from the request over the ledger and its backend to its steps.

What travels is W3C's `traceparent`, in the job's row: so the trace holds together whichever process runs the job, and
however often. `Tracing` itself is what a process has without traces: it costs next to nothing, and still hands on the
context that a request came with. `trace_export.build` gives the one that records.
"""

from __future__ import annotations

import re
import sys
from contextlib import AbstractContextManager
from types import TracebackType
from typing import Any, Literal, Self

Kind = Literal["producer", "internal"]
Attribute = str | int | float | bool

_TRACEPARENT = re.compile(rb"(?!ff)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}(?:-.*)?")
_LENGTH = 55
_TRACE_ID = slice(3, 35)


def traceparent(header: bytes | None) -> str | None:
    """Return the header if it is W3C's; of a version to come, the part that we know."""
    return header[:_LENGTH].decode() if header is not None and _TRACEPARENT.fullmatch(header) else None


def trace_id(parent: str | None) -> str | None:
    """Return the trace of a traceparent, 32 hexadecimal digits."""
    return None if parent is None else parent[_TRACE_ID]


class Span:
    """A piece of a trace, for as long as a `with` block lasts. This one is recorded nowhere."""

    __slots__ = ()

    def set(self, **attributes: Attribute) -> None:
        """Set attributes, each named `onward.NAME`."""

    def fail(self, code: str) -> None:
        """Mark the span as failed. Operators see the code, so it must not reveal the job's parameters."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


NO_SPAN = Span()


class Tracing:
    """Records nothing."""

    def request(self, _name: str, _parent: str | None, /, **_attributes: Attribute) -> AbstractContextManager[Span]:
        """Return a request's span, inside of the open one; else in the trace of `parent`, a traceparent."""
        return NO_SPAN

    def run(self, _name: str, _parent: str | None, /, **_attributes: Attribute) -> AbstractContextManager[Span]:
        """Return a job's span in the trace of `parent`, whatever is open here; without one it begins a trace."""
        return NO_SPAN

    def span(self, _name: str, _kind: Kind = "internal", /, **_attributes: Attribute) -> AbstractContextManager[Span]:
        """Return a span inside of the open one, or none without one. An exception in it fails it."""
        return NO_SPAN

    def current(self) -> str | None:
        """Return the traceparent of the current span, to be stored with a job."""
        return None

    def close(self, timeout_s: float) -> None:
        """Send the recorded spans within the timeout. Blocks."""


def over_http(app: Any) -> Any:
    """Return an ASGI application with a span around each request; as it is where no spans are exported.

    Their provider is that of `trace_export`, or one set elsewhere for the process.
    """
    trace = sys.modules.get("opentelemetry.trace")
    if trace is None or isinstance(trace.get_tracer_provider(), trace.ProxyTracerProvider):
        return app
    from onward.telemetry.http_spans import HttpSpans  # noqa: PLC0415 - without spans nobody needs it

    return HttpSpans(app)
