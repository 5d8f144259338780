"""Accepting and delivering: the runner that owns a job, and the time that a backend may take from a request."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
import structlog
from hypothesis import given
from hypothesis import strategies as st

from onward.backends.base import Backend, BackendError, Defer, Delivery, Health, Role, Run
from onward.config import settings
from onward.dispatch import dispatcher
from onward.dispatch.patterns import Routes
from onward.handlers.base import InvalidParameters
from onward.jobs import concurrency, due, ledger
from onward.jobs.model import Job
from onward.jobs.states import JobStatus
from onward.jobs.timings import Timings
from onward.runtime import wiring
from onward.storage.tables import jobs
from onward.storage.transaction import Tx
from onward.testing import node
from onward.testing.waiting import until
from tests import application

S = JobStatus
QUICK = Timings(delivery_grace_s=0.8, tick_interval_s=0.1, health_interval_s=0.05)


class Pigeonholes(Backend):
    """A broker in this process's memory, which works, hangs or fails as the test asks."""

    runs_elsewhere = True

    def __init__(self, run: Run) -> None:
        self.run = run
        self.held: list[str] = []
        self.deliveries = 0
        self.mood = "well"
        self.identity = "first"

    async def deliver(self, deliveries: Sequence[Delivery], *, after_response: Defer) -> None:  # noqa: ARG002
        self.deliveries += 1
        if self.mood == "hangs":
            await asyncio.Event().wait()
        if self.mood == "fails":
            raise BackendError("as the test asked")
        if self.mood == "cancelled delivery":
            raise asyncio.CancelledError
        self.held += [delivery.job_id for delivery in deliveries]

    async def health(self) -> Health:
        if self.mood == "cancelled health":
            raise asyncio.CancelledError
        return Health(reachable=self.mood != "away", identity=self.identity, depth=len(self.held))


class Clumsy(Backend):
    """A backend that runs jobs here and raises errors that the interface forbids."""

    runs_elsewhere = False

    def __init__(self, run: Run) -> None:
        self.run = run

    async def deliver(self, deliveries: Sequence[Delivery], *, after_response: Defer) -> None:  # noqa: ARG002
        raise ZeroDivisionError


@asynccontextmanager
async def running(folder: Path, backend: str, **tables: Any) -> AsyncIterator[wiring.Runtime]:
    application.write(folder)
    custom = {"holes": {"class": f"{__name__}:Pigeonholes"}, "clumsy": {"class": f"{__name__}:Clumsy"}}
    given = application.tables({**tables, "handlers": {"modules": ["onward.testing.workload"]}})
    loaded = settings.load(folder, backend=backend, backends=custom, **given)
    async with wiring.run_process(loaded, Role.ACCEPT, timings=QUICK) as onward:
        yield onward


@pytest.fixture
async def onward(tmp_path: Path, anyio_backend: str) -> AsyncIterator[wiring.Runtime]:
    """A process whose jobs go to pigeonholes."""
    async with running(tmp_path, "holes") as onward:
        yield onward


def holes(onward: wiring.Runtime) -> Any:
    return onward.dispatcher.backends["holes"]


async def send(onward: wiring.Runtime, n: int = 1) -> list[Job]:
    """Accept and deliver jobs, as one request does."""
    jobs = await node.accept(
        onward, [{"handler": "conformance.result", "params": {"kind": "nothing"}} for _ in range(n)]
    )
    await onward.dispatcher.deliver(jobs, after_response=onward.dispatcher.defer)
    return jobs


async def test_a_job_is_delivered_once(onward: wiring.Runtime) -> None:
    """Without a fault, maintenance does not deliver it again, however long it waits."""
    (job,) = await send(onward)
    await asyncio.sleep(2.4)  # three times the grace: what must not happen has no condition to wait for
    assert holes(onward).held == [job.id]


async def test_a_broker_that_cannot_tell_when_it_forgets_gets_a_job_again_from_time_to_time(
    onward: wiring.Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(holes(onward), "identity", "")
    await until(lambda: onward.dispatcher.health_of("holes").identity.startswith("unknown/"))
    monkeypatch.setattr(dispatcher, "FORGETS_EACH_S", 10.0**12)
    (job,) = await send(onward)
    await asyncio.sleep(2.4)  # three times the grace, as above
    assert holes(onward).held == [job.id]
    monkeypatch.setattr(dispatcher, "FORGETS_EACH_S", 0.1)
    await until(lambda: len(holes(onward).held) > 1)


async def test_many_deliveries_are_confirmed_a_part_in_each_commit(
    onward: wiring.Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The deliveries of a bulk retry are so many."""
    sizes, confirm = list[int](), due.confirm

    def noted(tx: Tx, waits: Sequence[tuple[str, int]], *, identity: str) -> int:
        sizes.append(len(waits))
        return confirm(tx, waits, identity=identity)

    monkeypatch.setattr(due, "confirm", noted)
    monkeypatch.setattr(dispatcher, "CONFIRMED", 2)
    await send(onward, 5)
    confirmed = sa.select(sa.func.count()).where(jobs.c.delivered_to == "first")
    await until(lambda: onward.database.read_sync(lambda tx: tx.scalar(confirmed)) == 5)
    assert max(sizes) <= 2


async def test_a_broker_without_an_identity_gets_the_job_of_a_caller_s_transaction_once(
    onward: wiring.Runtime,
) -> None:
    """Each commit has the callers' jobs looked for again."""
    holes(onward).identity = ""
    await until(lambda: onward.dispatcher.health_of("holes").identity.startswith("unknown/"))
    new = onward.dispatcher.prepare("conformance.result", {"kind": "nothing"}, owner=None)
    theirs: list[str] = []
    for _ in range(3):
        job = await onward.writer.run(lambda tx: ledger.accept(tx, new, local_runner=ledger.UNDELIVERED))
        theirs.append(job.id)
        await until(lambda: theirs[-1] in holes(onward).held)
    assert holes(onward).held == theirs


async def test_jobs_of_simultaneous_requests_are_delivered_together(onward: wiring.Runtime) -> None:
    """One commit answers all requests; each job is delivered once, and a request's jobs stay in order."""
    accepted = await node.accept(
        onward, [{"handler": "conformance.result", "params": {"kind": "nothing"}} for _ in range(30)]
    )
    requests = [accepted[n : n + 3] for n in range(0, 30, 3)]
    defer = onward.dispatcher.defer
    await asyncio.gather(*(onward.dispatcher.deliver(jobs, after_response=defer) for jobs in requests))
    assert holes(onward).deliveries == 1
    assert holes(onward).held == [job.id for job in accepted]


async def test_a_cancelled_request_affects_no_other_request_s_jobs(onward: wiring.Runtime) -> None:
    """The jobs that are delivered together with its own still arrive, and so do its own."""
    accepted = await node.accept(
        onward, [{"handler": "conformance.result", "params": {"kind": "nothing"}} for _ in range(2)]
    )
    first, second = (
        asyncio.create_task(onward.dispatcher.deliver([job], after_response=onward.dispatcher.defer))
        for job in accepted
    )
    await asyncio.sleep(0)  # both wait
    first.cancel()
    await second
    assert first.cancelled()
    await until(lambda: holes(onward).held == [job.id for job in accepted])


async def test_a_hanging_backend_delays_a_request_by_fifty_milliseconds(onward: wiring.Runtime) -> None:
    """Maintenance delivers the request's jobs once the backend works again."""
    assert Timings().deliver_timeout_s == QUICK.deliver_timeout_s == 0.05
    holes(onward).mood = "hangs"  # until the mood changes: without a limit this would be the end of it
    (job,) = await send(onward)
    holes(onward).mood = "well"
    await until(lambda: job.id in holes(onward).held)


async def test_a_failed_backend_is_not_called_for_a_while(onward: wiring.Runtime) -> None:
    """Requests do not try it again; maintenance delivers everything once it works."""
    holes(onward).mood = "fails"
    started = time.monotonic()
    jobs = [job for _ in range(20) for job in await send(onward)]
    asked = (
        time.monotonic() - started
    ) / QUICK.health_interval_s  # it says that it is well each time, and is tried once more
    assert holes(onward).deliveries <= 3 + asked
    holes(onward).mood = "well"
    await until(lambda: {job.id for job in jobs} <= set(holes(onward).held))


async def test_messages_lost_by_a_broker_are_delivered_again(onward: wiring.Runtime) -> None:
    """The broker has another identity, so that all waiting jobs are delivered to it again."""
    jobs = await send(onward, 5)
    await asyncio.sleep(0.5)  # for the confirmation
    holes(onward).held.clear()
    holes(onward).held.append("somebody else's")
    holes(onward).identity = "second"
    await until(lambda: {job.id for job in jobs} <= set(holes(onward).held))


async def test_jobs_are_delivered_again_if_the_broker_is_empty_while_they_wait(onward: wiring.Runtime) -> None:
    """The broker keeps its identity, as after a restart from an old file, but holds nothing at two looks in a row."""
    jobs = await send(onward, 5)
    await asyncio.sleep(0.5)
    holes(onward).held.clear()
    await until(lambda: {job.id for job in jobs} <= set(holes(onward).held))


async def test_a_long_backlog_is_no_reason_to_deliver_again(onward: wiring.Runtime) -> None:
    """Five hundred jobs wait longer than the grace period, and each is in the broker once."""
    jobs = [job for _ in range(50) for job in await send(onward, 10)]
    await asyncio.sleep(2.4)
    assert sorted(holes(onward).held) == sorted(job.id for job in jobs)


async def test_a_backend_that_raises_fails_no_request(tmp_path: Path, anyio_backend: str) -> None:
    """The job is accepted, and waits."""
    async with running(tmp_path, "clumsy") as onward:
        (job,) = await send(onward)
        assert job.status is S.QUEUED


async def test_a_delivery_that_lets_a_cancellation_out_has_failed(onward: wiring.Runtime) -> None:
    """Nobody has cancelled maintenance: it delivers again."""
    backend = holes(onward)
    backend.mood = "cancelled delivery"
    (job,) = await send(onward)
    await until(lambda: backend.deliveries > 1)
    backend.mood = "well"
    await until(lambda: job.id in backend.held)


async def test_a_backend_whose_health_lets_a_cancellation_out_is_asked_again(onward: wiring.Runtime) -> None:
    holes(onward).mood = "cancelled health"
    await until(lambda: not onward.dispatcher.health_of("holes").reachable)
    holes(onward).mood = "well"
    await until(lambda: onward.dispatcher.health_of("holes").reachable)


async def test_a_silent_backend_is_logged_once_and_once_more_when_it_answers(
    tmp_path: Path, anyio_backend: str
) -> None:
    async with running(tmp_path, "holes") as onward:
        with structlog.testing.capture_logs() as logs:
            for count, mood in enumerate(("away", "well"), start=1):
                holes(onward).mood = mood
                await until(lambda count=count: len(logs) >= count)  # type: ignore[misc]
                await asyncio.sleep(QUICK.health_interval_s * 2)  # it is asked again
        assert [line["event"].partition(";")[0] for line in logs] == [
            "the backend does not answer",
            "the backend answers again",
        ]


async def test_each_handler_goes_where_its_route_says(tmp_path: Path, anyio_backend: str) -> None:
    """Two backends run in one process; `waiting_for` names the one that a job waits for."""
    async with running(tmp_path, "background", routes={"conformance.res*": "holes"}) as onward:
        (there,) = await send(onward)
        (here,) = await node.accept(onward, [{"handler": "conformance.note", "params": {"folder": str(tmp_path)}}])
        assert (there.backend, here.backend) == ("holes", "background")
        assert holes(onward).held == [there.id]


async def test_jobs_blocked_by_a_pause_wait_for_their_limit_after_the_resume(
    tmp_path: Path, anyio_backend: str
) -> None:
    """While the handler is paused, the job waits for the resume, whatever blocked it first."""
    for folder, pausing, words in (
        ("resumed", False, "its turn: at most 5/s of conformance.result begin"),
        ("paused", True, None),
    ):
        (tmp_path / folder).mkdir()
        async with running(tmp_path / folder, "holes", queues={"conformance.result": {"rate": "5/s"}}) as onward:
            if pausing:
                await onward.writer.run(lambda tx: concurrency.pause(tx, "conformance.result", by=None))
            (job,) = await send(onward)
            health = await onward.dispatcher.health()
            for reason in (concurrency.PAUSED, concurrency.RATE):
                found = onward.dispatcher.waiting_for(replace(job, blocked=reason), health)
                assert found == (words or "the handler conformance.result to be resumed")


async def test_unserialisable_parameters_are_refused_when_dispatched(onward: wiring.Runtime) -> None:
    """Refused are an unknown handler, a missing or unknown parameter, a wrong type, no JSON, and more than 64 bits."""
    for handler, params in (
        ("conformance.unknown", {}),
        ("conformance.note", {}),
        ("conformance.note", {"folder": "f", "further": 1}),
        ("conformance.note", {"folder": 1}),
        ("conformance.note", {"folder": b"f"}),
        ("conformance.note", {"folder": "\ud800"}),
        ("conformance.progress", {"of": 2**70}),
    ):
        with pytest.raises(InvalidParameters):
            onward.dispatcher.prepare(handler, params, owner=None)


names = st.sampled_from(["a.b", "a.b.c", "a.c", "b.a"])
patterns = st.sampled_from(["*", "a.*", "a.b*", "*.c", "b.*"])


@given(st.dictionaries(names | patterns, st.sampled_from(["x", "y", "z"])), names)
def test_an_exact_route_beats_a_pattern_and_a_longer_pattern_a_shorter_one(routes: dict[str, str], name: str) -> None:
    from fnmatch import fnmatchcase

    found = Routes("default", routes)(name)
    matching = [pattern for pattern in routes if "*" in pattern and fnmatchcase(name, pattern)]
    if name in routes:
        assert found == routes[name]
    elif matching:
        longest = max(len(pattern) for pattern in matching)
        assert found in {routes[pattern] for pattern in matching if len(pattern) == longest}
    else:
        assert found == "default"
