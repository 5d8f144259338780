"""The span of a request over HTTP, with OpenTelemetry's own exporter into memory."""

from collections.abc import Mapping
from typing import Any

import pytest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, get_current_span

from onward.telemetry.http_spans import HttpSpans, Message, Receive, Scope, Send

PARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


async def _receive() -> Message:
    return {"type": "http.disconnect"}


async def _send(message: Message) -> None:
    pass


async def spans(status: int | Exception, **scope: Any) -> list[ReadableSpan]:
    """Send one request through the layer; return what it exported."""
    exporter, provider, inside = InMemorySpanExporter(), TracerProvider(), []
    provider.add_span_processor(SimpleSpanProcessor(exporter))

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        inside.append(get_current_span().get_span_context().span_id)
        if isinstance(status, Exception):
            raise status
        await send({"type": "http.response.start", "status": status, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    request = {"type": "http", "method": "POST", "path": "/graphql", "headers": [], "http_version": "1.1", **scope}
    try:
        await HttpSpans(app, provider)(request, _receive, _send)
    except LookupError:
        assert isinstance(status, Exception)
    found = list(exporter.get_finished_spans())
    assert [span.context.span_id for span in found if span.context] == [one for one in inside if one]
    assert not get_current_span().get_span_context().is_valid
    return found


async def test_a_request_has_a_span_in_its_caller_s_trace_and_without_its_variables() -> None:
    headers = [(b"host", b"jobs.example:8443"), (b"traceparent", PARENT.encode())]
    (span,) = await spans(
        200, headers=headers, scheme="https", method="GET", query_string=b"query=...&variables=hunter2"
    )
    assert (span.name, span.kind, span.status.is_ok) == ("GET", SpanKind.SERVER, True)
    assert span.parent is not None
    assert f"{span.parent.span_id:016x}" in PARENT
    assert dict(span.attributes or {}) == {
        "http.request.method": "GET",
        "http.response.status_code": 200,
        "network.protocol.version": "1.1",
        "server.address": "jobs.example",
        "server.port": 8443,
        "url.path": "/graphql",
        "url.scheme": "https",
    }


@pytest.mark.parametrize("mount", ["", "/below"])
async def test_a_span_has_no_token_of_a_signal_s_address(mount: str) -> None:
    (span,) = await spans(200, path=f"{mount}/signal/am9iX3.hunter2")
    assert (span.attributes or {})["url.path"] == f"{mount}/signal/{{token}}"


@pytest.mark.parametrize(("status", "kind"), [(503, "503"), (LookupError("hunter2"), "LookupError")])
async def test_a_failed_request_is_a_failed_span_without_the_error_s_message(status: Any, kind: str) -> None:
    (span,) = await spans(status)
    assert not span.status.is_ok
    assert (span.attributes or {})["error.type"] == kind
    assert "hunter2" not in span.to_json()


@pytest.mark.parametrize(
    ("scope", "has", "lacks"),
    [
        ({"method": "hunter2" * 99}, {"http.request.method": "_OTHER"}, ""),
        ({"headers": [(b"host", b"[oops")]}, {}, "server.address"),
        ({"headers": [(b"host", b"[::1]")]}, {"server.address": "::1", "server.port": 80}, ""),
    ],
)
async def test_headers_and_methods_of_anyone_are_no_obstacle(
    scope: Mapping[str, Any], has: dict[str, Any], lacks: str
) -> None:
    (span,) = await spans(200, **scope)
    found = dict(span.attributes or {})
    assert has.items() <= found.items()
    assert lacks not in found
    assert len(span.name) < 10


async def test_a_websocket_has_no_span() -> None:
    assert await spans(200, type="websocket") == []
