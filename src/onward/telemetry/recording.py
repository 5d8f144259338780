"""Traces, recorded by OpenTelemetry and sent on in batches by a thread of its SDK's."""

from __future__ import annotations

import logging
import os
import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from urllib.parse import urlsplit

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, ConsoleSpanExporter, SpanExporter, SpanExportResult
from opentelemetry.trace import SpanKind, Status, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from structlog.contextvars import bound_contextvars

from onward.telemetry.tracing import NO_SPAN, Attribute, Kind, Span, Tracing

PORTS = {"http": 80, "https": 443}


def provider(traces: str) -> TracerProvider:
    """Return the provider that sends spans to standard error or to a collector; OTEL_ variables configure the rest."""
    resource = Resource.create({"service.name": "onward"}).merge(OTELResourceDetector().detect())
    made = TracerProvider(resource=resource, shutdown_on_exit=False)
    made.add_span_processor(BatchSpanProcessor(_exporter(traces)))
    return made


def endpoint(traces: str) -> str:
    """Return the URL that spans are posted to; a URL without a path gets the path of the protocol."""
    return traces if urlsplit(traces).path.strip("/") else f"{traces.rstrip('/')}/v1/traces"


def refusal(url: str, timeout_s: float) -> str | None:
    """Return the reason why the collector at the URL accepts no spans; None if it does. Blocks."""
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter  # noqa: PLC0415

    said: list[str] = []
    spoken = logging.getLogger(OTLPSpanExporter.__module__)
    listener = logging.Handler(logging.WARNING)
    listener.emit = lambda record: said.append(record.getMessage())  # type: ignore[method-assign]
    spoken.addHandler(listener)
    loud, spoken.propagate = spoken.propagate, False
    try:
        # With its own variables for headers and certificates, as when it works.
        exporter = OTLPSpanExporter(endpoint=endpoint(url), timeout=timeout_s)
        if exporter.export([]) is SpanExportResult.SUCCESS:
            return None
    finally:
        spoken.propagate = loud
        spoken.removeHandler(listener)
    parts = urlsplit(url)
    try:  # the exporter's own message is a paragraph
        socket.create_connection((parts.hostname or "", parts.port or PORTS[parts.scheme]), timeout_s).close()
    except OSError as error:
        return f"does not answer: {error.strerror or error}"
    return f"accepts no spans: {said[-1] if said else 'it gave no reason'}"


def _exporter(traces: str) -> SpanExporter:
    if traces == "console":
        return ConsoleSpanExporter(out=sys.stderr, formatter=lambda span: f"{span.to_json(indent=None)}{os.linesep}")
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter  # noqa: PLC0415

    return OTLPSpanExporter(endpoint=endpoint(traces))


class Recording(Tracing):
    """Records into a provider, which it owns."""

    def __init__(self, made: TracerProvider) -> None:
        self._provider = made
        self._tracer = made.get_tracer("onward")
        self._propagator = TraceContextTextMapPropagator()
        # Handlers of other people find the provider here. A second one in a process is refused, with a warning.
        if isinstance(trace.get_tracer_provider(), trace.ProxyTracerProvider):
            trace.set_tracer_provider(made)

    def request(self, name: str, parent: str | None, /, **attributes: Attribute) -> AbstractContextManager[Span]:
        if trace.get_current_span().get_span_context().is_valid:  # the request's, over HTTP
            return self._traced(name, SpanKind.INTERNAL, None, attributes)
        return self._traced(name, SpanKind.SERVER, self._context(parent), attributes)

    def run(self, name: str, parent: str | None, /, **attributes: Attribute) -> AbstractContextManager[Span]:
        return self._traced(name, SpanKind.CONSUMER, self._context(parent), attributes)

    def span(self, name: str, kind: Kind = "internal", /, **attributes: Attribute) -> AbstractContextManager[Span]:
        if not trace.get_current_span().get_span_context().is_valid:
            return NO_SPAN
        return self._open(name, SpanKind.PRODUCER if kind == "producer" else SpanKind.INTERNAL, None, attributes)

    def _context(self, parent: str | None) -> Context:
        nothing = Context()  # not the caller's context, which may be another job's
        return self._propagator.extract({"traceparent": parent}, nothing) if parent else nothing

    @contextmanager
    def _traced(
        self, name: str, kind: SpanKind, context: Context | None, attributes: dict[str, Attribute]
    ) -> Iterator[Span]:
        with (
            self._open(name, kind, context, attributes) as opened,
            bound_contextvars(trace=format(opened.recorded.get_span_context().trace_id, "032x")),
        ):
            yield opened

    @contextmanager
    def _open(
        self, name: str, kind: SpanKind, context: Context | None, attributes: dict[str, Attribute]
    ) -> Iterator[_Recorded]:
        with self._tracer.start_as_current_span(
            name,
            context,
            kind,
            {f"onward.{key}": value for key, value in attributes.items()},
            record_exception=False,  # its message and traceback may hold a secret parameter
            set_status_on_exception=False,
        ) as recorded:
            opened = _Recorded(recorded)
            try:
                yield opened
            except BaseException as error:
                opened.fail(type(error).__name__)
                raise

    def current(self) -> str | None:
        found = trace.get_current_span().get_span_context()
        return f"00-{found.trace_id:032x}-{found.span_id:016x}-{found.trace_flags:02x}" if found.is_valid else None

    def close(self, timeout_s: float) -> None:
        # A collector that is away would be tried for longer, and a process that is told to stop has to end.
        closing = threading.Thread(target=self._provider.shutdown, name="traces-close", daemon=True)
        closing.start()
        closing.join(timeout_s)


class _Recorded(Span):
    __slots__ = ("recorded",)

    def __init__(self, recorded: trace.Span) -> None:
        self.recorded = recorded

    def set(self, **attributes: Attribute) -> None:
        for name, value in attributes.items():
            self.recorded.set_attribute(f"onward.{name}", value)

    def fail(self, code: str) -> None:
        self.recorded.set_attribute("error.type", code)
        self.recorded.set_status(Status(StatusCode.ERROR, code))
