"""Handlers may raise and return anything: the job ends with an error that says what and where."""

from __future__ import annotations

import asyncio
import functools
import gc
import math
import time
import warnings
import weakref
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from enum import Enum
from functools import partial
from typing import Any

import pytest

from onward.handlers.base import HandlerError, JobContext, LeaseLost, Permanent, Retry, handler
from onward.jobs import commands, recording
from onward.jobs.base import Superseded
from onward.jobs.model import Progress, Visible
from onward.jobs.running import Running, StopReason
from onward.jobs.states import JobStatus
from onward.storage.base import Unavailable
from onward.storage.callers import UnusableSession
from onward.storage.writer import Writer
from tests.ledgers import writing
from tests.runners import node

S = JobStatus
ONCE = Retry(max_attempts=1)
pytestmark = pytest.mark.anyio


@pytest.fixture
def sqlite_writer(sqlite_ledger: str) -> Iterator[Writer]:
    with writing(sqlite_ledger) as writer:
        yield writer


class Numbered(HandlerError):
    code = 404  # type: ignore[assignment]


class Nameless(HandlerError):
    code = None  # type: ignore[assignment]


class Coloured(HandlerError):
    @property
    def code(self) -> str:  # type: ignore[override]
        raise KeyError("no code")


class Speechless(HandlerError):
    def __str__(self) -> str:
        raise ValueError("no words")


class Broken(Exception):
    def __str__(self) -> str:
        raise ValueError("no words")


class Colour(Enum):
    RED = "red"


@dataclass
class Line:
    price: float


def group(*errors: Exception) -> ExceptionGroup[Exception]:
    return ExceptionGroup("of a TaskGroup", [ValueError("beside it"), ExceptionGroup("inner", list(errors))])


RAISED: dict[str, tuple[Exception, JobStatus, str, str]] = {
    "a code that is a number": (Numbered("words"), S.FAILED, "404", "words"),
    "a code of a permanent error": (Permanent("words", code=7), S.FAILED, "7", "words"),  # type: ignore[arg-type]
    "no code": (Nameless("words"), S.FAILED, "FAILED", "words"),
    "a code that raises": (Coloured("words"), S.FAILED, "FAILED", "words"),
    "a long code": (Permanent("words", code="x" * 5000), S.FAILED, "x" * 100, "words"),
    "no words": (Speechless(), S.FAILED, "FAILED", "Speechless, whose text could not be made"),
    "no words of a stranger's": (Broken(), S.FAILED, "UNEXPECTED", "the handler failed unexpectedly"),
    "a permanent one in a group": (group(Permanent("never", code="NEVER")), S.FAILED, "NEVER", "never"),
    "one with a code in a group": (group(Numbered("words")), S.FAILED, "404", "words"),
    "one of the ledger in a group": (group(Unavailable("gone")), S.RETRYING, "UNAVAILABLE", "the ledger did not"),
    "a refusal of the ledger's": (UnusableSession("no"), S.FAILED, "UNEXPECTED", "the handler failed unexpectedly"),
    "strangers in a group": (group(KeyError("x")), S.FAILED, "UNEXPECTED", "the handler failed unexpectedly"),
}


@pytest.mark.parametrize("what", RAISED)
async def test_any_exception_of_a_handler_ends_its_attempt_with_a_code_and_a_message(
    sqlite_writer: Writer, what: str
) -> None:
    error, status, code, words = RAISED[what]

    @handler("conformance.raise", retry=ONCE)
    async def fail(_job: JobContext) -> None:
        raise error

    async with node(sqlite_writer, fail) as here:
        job = await here.run(fail)
        found = job.attempts[-1].error
        assert found is not None
        assert (job.status, found.code) == (status, code)
        assert found.message.startswith(words)


async def test_a_permanent_error_in_a_task_group_is_permanent(sqlite_writer: Writer) -> None:
    """Unused attempts do not matter."""

    async def refuse() -> None:
        raise Permanent("never", code="NEVER")

    @handler("conformance.group", retry=Retry(5))
    async def fail(_job: JobContext) -> None:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(refuse())
            tasks.create_task(asyncio.sleep(60))

    async with node(sqlite_writer, fail) as here:
        job = await here.run(fail)
        assert (job.status, job.error and job.error.retryable) == (S.FAILED, False)


class Meters(float): ...


RETURNED: dict[str, tuple[Any, str]] = {
    "NaN": ({"items": [{}, {"price": math.nan}]}, "result.items.1.price is NaN"),
    "infinity": ([1.0, None, -math.inf], "result.2 is -infinity"),
    "NaN in a dataclass": ({"line": Line(math.nan)}, "result.line.price is NaN"),
    "a set": ({"a": {"b": {1, 2}}}, "result.a.b is of type set"),
    "bytes": ([b"x"], "result.0 is of type bytes"),
    "a decimal": ({"sum": Decimal(1)}, "result.sum is of type Decimal"),
    "a number's subclass": ({"sum": Meters(1)}, "result.sum is of type Meters"),
    "a key": ({"a": {1: "x"}}, "result.a has a key of type int"),
    "a large number": ({"n": [2**64]}, "result.n.0 is a number beyond 64 bits"),
    "half a character": ({"n": "\ud800"}, "result.n is text that is no valid Unicode"),
    "a coroutine function": ([asyncio.sleep], "result.0 is of type function"),
}
circle: list[Any] = []
circle.append(circle)
RETURNED["a circle"] = (circle, "result holds itself")


@pytest.mark.parametrize("what", RETURNED)
async def test_a_result_that_is_not_json_is_refused_with_its_place_and_type(sqlite_writer: Writer, what: str) -> None:
    """NaN and infinity are refused, too; earlier releases kept them as null."""
    value, words = RETURNED[what]

    @handler("conformance.return", retry=ONCE)
    def give(_job: JobContext) -> Any:
        return value

    async with node(sqlite_writer, give) as here:
        job = await here.run(give)
        assert job.error is not None
        assert (job.status, job.error.code, job.error.retryable) == (S.FAILED, "RESULT_NOT_JSON", False)
        assert job.error.message.startswith(words)


async def test_values_that_were_json_before_still_are(sqlite_writer: Writer) -> None:
    """Dates, enumerations, dataclasses and tuples are kept, and None beside numbers."""
    value = {"at": datetime(2026, 1, 2, tzinfo=UTC), "colour": Colour.RED, "line": Line(1.5), "some": (1, None, 2.0)}

    @handler("conformance.return", retry=ONCE)
    def give(_job: JobContext) -> Any:
        return value

    async with node(sqlite_writer, give) as here:
        assert (await here.run(give)).result == {
            "at": "2026-01-02T00:00:00+00:00",
            "colour": "red",
            "line": {"price": 1.5},
            "some": [1, None, 2.0],
        }


async def test_a_plain_wrapper_around_an_async_function_is_awaited(sqlite_writer: Writer) -> None:
    """A decorator around it may be a plain function."""

    def traced(function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def wrapper(*arguments: Any, **named: Any) -> Any:
            return function(*arguments, **named)

        return wrapper

    @handler("conformance.wrapped", retry=ONCE)
    @traced
    async def give(job: JobContext) -> str:
        await asyncio.sleep(0)
        return job.id

    async with node(sqlite_writer, give) as here:
        job = await here.run(give)
        assert (job.status, job.result) == (S.SUCCEEDED, job.id)


async def test_a_call_after_the_job_s_end_raises(sqlite_writer: Writer) -> None:
    """A task that the handler left behind could not commit the child, and is told to end."""
    left: list[JobContext] = []

    @handler("conformance.leave", retry=ONCE)
    async def leave(job: JobContext) -> None:
        left.append(job)

    async with node(sqlite_writer, leave) as here:
        assert (await here.run(leave)).status is S.SUCCEEDED
        with pytest.raises(LeaseLost, match=r"the job is over: conformance\.leave would not be accepted"):
            left[0].dispatch("conformance.leave")
        for call in (left[0].check, partial(left[0].progress, 1)):
            with pytest.raises(LeaseLost, match="the job is over: end what goes on after it"):
                call()


@pytest.mark.parametrize(
    ("kind", "status"),
    [
        ("async", S.FAILED),
        ("plain", S.FAILED),
        ("late", S.FAILED),
        ("cancelled", S.CANCELLED),
        ("superseded", S.SUCCEEDED),
    ],
)
async def test_nothing_of_an_attempt_is_left_for_the_collector(
    sqlite_writer: Writer, kind: str, status: JobStatus
) -> None:
    """Long-lived processes collect garbage rarely, so an error, its traceback and its job must not form a cycle."""
    left: list[weakref.ref[JobContext]] = []

    @handler("conformance.async", retry=ONCE)
    async def fail(job: JobContext) -> None:
        left.append(weakref.ref(job))
        raise ValueError("as ever")

    @handler("conformance.plain", retry=ONCE)
    def fail_plain(job: JobContext) -> None:
        left.append(weakref.ref(job))
        raise ValueError("as ever")

    @handler("conformance.late", retry=ONCE, timeout=timedelta(milliseconds=50))
    async def be_late(job: JobContext) -> None:
        left.append(weakref.ref(job))
        await asyncio.sleep(3600)

    @handler("conformance.cancelled", retry=ONCE)
    async def be_cancelled(job: JobContext) -> None:
        left.append(weakref.ref(job))
        everything = Visible(everything=True)
        await sqlite_writer.run(partial(commands.cancel, job_id=job.id, reason=None, visible=everything))
        await asyncio.sleep(3600)

    @handler("conformance.superseded", retry=ONCE)
    async def be_superseded(job: JobContext) -> None:
        left.append(weakref.ref(job))
        assert isinstance(job, Running)
        over = replace(job.job, fencing_token=0)
        refused = partial(recording.report_progress, job=over, progress=Progress(1))
        with suppress(Superseded):
            await sqlite_writer.run(refused)
        with suppress(Superseded):
            await asyncio.to_thread(sqlite_writer.run_sync, refused)
        sqlite_writer.post(refused)

    handlers = (fail, fail_plain, be_late, be_cancelled, be_superseded)
    chosen = next(one for one in handlers if one.name.endswith(kind))
    gc.disable()
    try:
        async with node(sqlite_writer, chosen) as here:
            for _ in range(3):
                assert (await here.run(chosen)).status is status
            async with asyncio.timeout(60):
                while any(job() is not None for job in left[:2]):  # the last one may still be named by its thread
                    await asyncio.sleep(0.01)
    finally:
        gc.enable()


async def test_a_drain_waits_for_the_writes_of_what_it_has_interrupted(sqlite_writer: Writer) -> None:
    """The ledger is busy when the process stops: a job is handed back all the same, before its process ends."""

    @handler("conformance.wait", retry=ONCE)
    async def wait(_job: JobContext) -> None:
        await asyncio.sleep(3600)

    async with node(sqlite_writer, wait) as here:
        job = await here.accept(wait)
        here.start(job)
        await here.is_now(job, S.RUNNING)
        busy = asyncio.create_task(sqlite_writer.run(lambda _tx: time.sleep(0.4)))
        await asyncio.sleep(0)
        await here.runner.drain(0.1)
        assert (await here.get(job)).status is S.QUEUED
        await busy


async def test_a_job_cancelled_before_its_first_piece_leaves_no_coroutine(
    sqlite_writer: Writer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Python would warn of a coroutine that is never awaited."""

    @handler("conformance.early", retry=ONCE)
    async def early(_job: JobContext) -> None:
        raise AssertionError("it was cancelled before")

    async with node(sqlite_writer, early) as here:
        steps = here.runner._executor._steps
        start = steps._start

        def cancelled(running: Running, *rest: Any) -> Any:
            started = start(running, *rest)
            running.interrupt(StopReason.CANCEL)
            return started

        monkeypatch.setattr(steps, "_start", cancelled)
        with warnings.catch_warnings(record=True) as warned:
            warnings.simplefilter("always")
            job = await here.run(early)
            gc.collect()
        assert [str(one.message) for one in warned] == []
        assert (job.status, job.error) == (S.CANCELLED, None)
