"""One trace holds a job's whole way, through any number of processes."""

from pathlib import Path

import pytest

from onward.telemetry.recording import endpoint
from onward.telemetry.trace_export import build
from onward.telemetry.tracing import Tracing, trace_id, traceparent
from tests.integration.telemetry.collector import collecting
from tests.integration.telemetry.conftest import processing

TRACE, CALLER = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
PARENT = f"00-{TRACE}-{CALLER}-01"


async def test_spans_of_a_dispatched_job_and_a_failed_attempt_have_no_parameters(tmp_path: Path) -> None:
    with collecting() as collector:
        async with processing(tmp_path, telemetry={"traces": collector.url}) as process:
            child = (await process.run("tests.further", trace=PARENT)).result
            await process.over(child)
            await process.run("tests.fail", trace=PARENT, word="hunter2")
        # A process sends its remaining spans at its end.
        further, talk = collector.only("run tests.further"), collector.only("run tests.talk")
    assert talk.parent == collector.only("step further").id
    assert (further.parent, talk.trace) == (CALLER, TRACE)
    failed = collector.only("run tests.fail")
    assert failed.failed
    assert (failed.attributes["error.type"], failed.attributes["onward.status"]) == ("NO_STOCK", "FAILED")
    assert collector.only("step fail").failed
    assert "hunter2" not in repr(collector.spans)


async def test_without_traces_the_caller_s_context_is_still_kept(tmp_path: Path) -> None:
    async with processing(tmp_path) as process:
        job = await process.run("tests.further", trace=PARENT)
        assert (await process.over(job.result)).trace == job.trace == PARENT


async def test_an_absent_collector_delays_neither_jobs_nor_the_shutdown(tmp_path: Path) -> None:
    async with processing(tmp_path, telemetry={"traces": "http://127.0.0.1:9"}) as process:
        await process.run("tests.talk")


@pytest.mark.parametrize(
    ("header", "taken"),
    [
        (PARENT, PARENT),
        (f"01-{TRACE}-{CALLER}-01-more", f"01-{TRACE}-{CALLER}-01"),
        (f"ff-{TRACE}-{CALLER}-01", None),
        (f"00-{'0' * 32}-{CALLER}-01", None),
        (f"00-{TRACE}-{'0' * 16}-01", None),
        (f"00-{TRACE}-{CALLER}", None),
        (f"00-{TRACE.upper()}-{CALLER}-01", None),
        (PARENT + "\n", None),
        ("'; DROP TABLE jobs", None),
    ],
)
def test_only_a_valid_w3c_header_is_accepted(header: str, taken: str | None) -> None:
    assert traceparent(header.encode()) == taken
    assert trace_id(taken) == (TRACE if taken else None)


def test_the_url_of_a_collector_may_omit_the_path() -> None:
    assert endpoint("http://collector:4318") == endpoint("http://collector:4318/") == "http://collector:4318/v1/traces"
    assert endpoint("https://collector/team/v1/traces") == "https://collector/team/v1/traces"


def test_without_a_collector_nothing_is_exported() -> None:
    """The libraries of the export are not even loaded: `tests/unit/test_imports.py`."""
    assert type(build("")) is Tracing
