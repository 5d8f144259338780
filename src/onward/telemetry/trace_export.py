"""The export of traces that the settings name: none, to standard error, or to a collector."""

from __future__ import annotations

from urllib.parse import urlsplit

from onward.findings import Finding, State
from onward.telemetry.tracing import Tracing

CHECK_TIMEOUT_S = 3.0


def build(traces: str) -> Tracing:
    """Build the exporter of the settings: none for "", standard error for "console", else an OTLP collector's URL."""
    if not traces:
        return Tracing()
    # Only now: the exporter and what it needs take a quarter of a second to load.
    from onward.telemetry.recording import Recording, provider  # noqa: PLC0415

    return Recording(provider(traces))


def check(traces: str) -> Finding:
    """Check that the collector at the URL accepts spans. Blocks."""
    from onward.telemetry.recording import refusal  # noqa: PLC0415 - as above

    where = urlsplit(traces)._replace(query="", fragment="")
    shown = where._replace(netloc=where.netloc.rpartition("@")[2]).geturl()
    if refused := refusal(traces, CHECK_TIMEOUT_S):
        fix = "start the collector, or correct telemetry.traces; jobs run meanwhile, their traces are lost"
        return Finding("traces", State.WRONG, f"the collector at {shown} {refused}", fix)
    return Finding("traces", State.OK, f"the collector at {shown} accepts spans")
