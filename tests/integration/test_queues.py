"""Queues that only some processes take: where jobs go, which process runs them, and what is said of those that wait."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from onward.backends.base import Backend, Defer, Delivery, Health, Role, Run
from onward.config import settings
from onward.config.settings import SettingsError
from onward.dispatch.patterns import Routes
from onward.jobs import claims, commands, due, ledger, waiting
from onward.jobs.model import Job, Visible
from onward.jobs.states import JobStatus
from onward.jobs.timings import Timings
from onward.runtime import backends, wiring
from onward.storage.tables import jobs
from onward.testing import node
from onward.testing.waiting import until
from onward.testing.workload import QUEUE, notes
from tests import application
from tests.ledgers import accept, new_job
from tests.processes import onward as run

S = JobStatus
pytestmark = pytest.mark.anyio
APART = f"background:{QUEUE}"
QUICK = Timings(tick_interval_s=0.05, delivery_grace_s=0.1, reconcile_interval_s=0.1, commit_check_s=0.05)


class Mixing(Backend):
    """A backend as an author wrote it who knows of no queues: all of its instances have the messages of all queues."""

    runs_elsewhere = True
    made: list[Mixing] = []  # noqa: RUF012 - of one test

    def __init__(self, run: Run) -> None:
        self.run = run
        self.role: Role | None = None
        self.delivered: list[str] = []
        self.made.append(self)

    async def start(self, role: Role) -> None:
        self.role = role

    async def deliver(self, deliveries: Sequence[Delivery], *, after_response: Defer) -> None:  # noqa: ARG002
        self.delivered += [delivery.job_id for delivery in deliveries]


class Apart(Mixing):
    """The same, with a place of its own for each queue."""

    def __init__(self, run: Run, *, place: str = "") -> None:
        super().__init__(run)
        self.place = place

    @classmethod
    def for_queue(cls, queue: str, options: Mapping[str, Any]) -> Mapping[str, Any]:
        return {**options, "place": f"{options['place']}/{queue}"}


class Broker(Mixing):
    """The same, with an identity: it confirms what it has."""

    async def health(self) -> Health:
        return Health(reachable=True, identity="a broker", depth=len(self.delivered))


@pytest.fixture(autouse=True)
def project(tmp_path: Path) -> Path:
    Mixing.made.clear()
    application.write(tmp_path, '[handlers]\nmodules = ["onward.testing.workload"]\n')
    return tmp_path


@asynccontextmanager
async def process(
    project: Path, role: Role = Role.ACCEPT, takes: str = "", **tables: Any
) -> AsyncIterator[wiring.Runtime]:
    given = application.tables({"handlers": {"modules": ["onward.testing.workload"]}, **tables})
    loaded = settings.load(project, worker={"queues": takes}, **given)
    async with wiring.run_process(loaded, role, timings=QUICK) as running:
        yield running


def mixing(name: str = "Mixing", **options: str) -> dict[str, Any]:
    return {"backend": "mine", "backends": {"mine": {"class": f"{__name__}:{name}", **options}}}


async def get(onward: wiring.Runtime, job: Job) -> Job:
    found = await onward.database.read(lambda tx: ledger.get(tx, job.id))
    assert found is not None
    return found


async def request(onward: wiring.Runtime, handler: str, folder: Path) -> Job:
    (job,) = await node.accept(onward, [{"handler": handler, "params": {"folder": str(folder)}}])
    await onward.dispatcher.deliver([job], after_response=onward.dispatcher.defer)
    return job


def test_the_settings_win_over_the_handler_and_default_is_no_queue() -> None:
    declared = {"video.cut": "gpu", "video.list": "gpu", "email.send": "default", "a.b": "gpu"}
    queues = {"video.*": "tpu", "video.list": "default", "email.*": None}
    route = Routes("background", {"video.*": "dramatiq", "a.b": "background"}, queues, declared)
    assert route("video.cut") == "dramatiq:tpu"
    assert route("video.list") == "dramatiq"
    assert route("email.send") == "background"
    assert route("a.b") == "background:gpu"
    assert set(route.destinations) == {"background", "dramatiq", "dramatiq:tpu", "background:gpu"}


def test_a_job_of_a_handler_that_is_not_known_here_keeps_its_queue() -> None:
    route = Routes("background", {"video.*": "dramatiq"}, {"sound.*": "cpu"})
    assert route("video.cut") == "dramatiq"
    assert route("video.cut", "background:gpu") == "dramatiq:gpu"
    assert route("sound.cut", "background:gpu") == "background:cpu"


@pytest.mark.parametrize("command", ["serve", "worker", "up"])
def test_an_unknown_queue_stops_the_start_with_one_line(project: Path, command: str) -> None:
    """The names that there are, and the one that may be meant."""
    outcome = run(command, "--queues", "default,appart", project=project, ONWARD_BACKEND="dramatiq")
    words = 'worker.queues: no handler has the queue "appart"; the queues are default, apart; did you mean apart?'
    assert (outcome.returncode, outcome.stdout, outcome.stderr) == (2, "", f"onward: {words}\n")


def test_a_worker_of_a_queue_that_goes_to_no_worker_is_refused(project: Path) -> None:
    outcome = run("worker", "--queues", QUEUE, project=project, ONWARD_ROUTES='{"email.*": "dramatiq"}')
    words = f"worker.queues: no job of {QUEUE} goes to a worker: take other queues, or run `onward serve` with these"
    assert (outcome.returncode, outcome.stdout, outcome.stderr) == (2, "", f"onward: {words}\n")


@pytest.mark.parametrize(
    ("role", "takes", "taken", "roles"),
    [
        (Role.ACCEPT, "", set(), {"mine": Role.ACCEPT, "mine:apart": Role.ACCEPT, "mine:gpu": Role.ACCEPT}),
        (Role.RUN, "", {"mine", "mine:apart", "mine:gpu"}, dict.fromkeys(("mine", "mine:apart", "mine:gpu"), Role.RUN)),
        (Role.RUN, "gpu", {"mine:gpu"}, {"mine": Role.ACCEPT, "mine:apart": Role.ACCEPT, "mine:gpu": Role.RUN}),
        (
            Role.RUN,
            "default, apart",
            {"mine", "mine:apart"},
            {"mine": Role.RUN, "mine:apart": Role.RUN, "mine:gpu": Role.ACCEPT},
        ),
    ],
)
async def test_a_backend_runs_jobs_of_the_queues_that_the_process_takes(
    project: Path, role: Role, takes: str, taken: set[str], roles: dict[str, Role]
) -> None:
    """The backend only delivers in a process that does not take its queue; the ledger knows what each process takes."""
    queues = {"email.*": {"queue": "gpu"}}
    async with process(project, role, takes, queues=queues, **mixing()) as onward:
        assert onward.takes == taken
        started = {name: one.role for name, one in onward.dispatcher.backends.items() if isinstance(one, Mixing)}
        assert started == roles
        assert await onward.database.read(waiting.taken) == taken


async def test_a_process_leaves_jobs_of_other_queues_in_the_ledger(project: Path) -> None:
    """The process accepts them and reserves none for itself; another one that takes them claims them undelivered."""
    async with process(project, takes="default") as one:
        job = await request(one, "conformance.queued", project)
        assert job.delivered_to is None
        assert (await until_done(one, await request(one, "conformance.note", project))).status is S.SUCCEEDED
        assert (await get(one, job)).attempts == ()
        assert one.dispatcher.waiting_for(job, await one.dispatcher.health()) == "a worker that takes the queue apart"
        async with process(project, takes=QUEUE) as two:
            assert (await until_done(one, job)).status is S.SUCCEEDED
            own = await request(two, "conformance.queued", project)
            assert own.delivered_to == two.lease.id, "it runs here at once"
            assert (await until_done(one, own)).status is S.SUCCEEDED
            other = await request(two, "conformance.note", project)
            assert (await until_done(two, other)).status is S.SUCCEEDED
    done = await accepted(project, job, own, other)
    assert [one.attempts[0].backend for one in done] == [APART, APART, "background"]
    assert [(one.backend_name, one.queue) for one in done] == [("background", QUEUE)] * 2 + [("background", "default")]


async def until_done(onward: wiring.Runtime, job: Job) -> Job:
    async def over() -> bool:
        return (await get(onward, job)).done

    await until(over)
    return await get(onward, job)


async def accepted(project: Path, *found: Job) -> list[Job]:
    async with process(project, Role.RUN) as onward:
        return [await get(onward, job) for job in found]


async def test_a_job_that_has_to_run_isolated_does_so_only_where_its_queue_is_taken(project: Path) -> None:
    crashed = sa.update(jobs).values(deaths=claims.CRASHES_BEFORE_ISOLATION)
    async with process(project, takes="default") as onward:
        job = await request(onward, "conformance.queued", project)
        await onward.writer.run(lambda tx: tx.execute(crashed))
        onward.dispatcher.wake()
        assert (await until_done(onward, await request(onward, "conformance.note", project))).status is S.SUCCEEDED
        assert (await get(onward, job)).status is S.QUEUED
        async with process(project, takes=QUEUE):
            done = await until_done(onward, job)
    assert (done.status, done.attempts[0].backend) == (S.SUCCEEDED, APART)


async def test_a_message_of_another_queue_is_claimed_where_that_is_taken_and_delivered_again_elsewhere(
    project: Path,
) -> None:
    """A backend may know of no queues, and a message may be of the time before a job went to its queue."""
    async with process(project, Role.RUN, "default", **mixing()) as onward:
        mine, apart = (onward.dispatcher.backends[name] for name in ("mine", f"mine:{QUEUE}"))
        assert isinstance(mine, Mixing)
        assert isinstance(apart, Mixing)
        job = await request(onward, "conformance.queued", project)
        assert (mine.delivered, apart.delivered) == ([], [job.id])
        confirm = [(job.id, job.fencing_token)]
        await onward.writer.run(lambda tx: due.confirm(tx, confirm, identity="a broker"))
        assert not await mine.run(job.id)
        assert (await get(onward, job)).delivered_to is None
        await until(lambda: len(apart.delivered) > 1)
        async with process(project, Role.RUN, **mixing()) as other:
            first = other.dispatcher.backends["mine"]
            assert isinstance(first, Mixing)
            assert await first.run(job.id)
            assert not await first.run(job.id)
        done = await get(onward, job)
    assert (done.status, done.backend) == (S.SUCCEEDED, f"mine:{QUEUE}")
    assert len(notes(project)) == 1


async def test_jobs_are_delivered_again_where_the_leading_process_does_not_know_their_queue(project: Path) -> None:
    """The leading process has other handlers: of another release, or of another program on the ledger."""
    others: dict[str, Any] = {"handlers": {"modules": []}}
    async with process(project, **mixing("Broker"), **others) as leading:
        assert f"mine:{QUEUE}" not in leading.dispatcher.backends
        async with process(project, Role.RUN, **mixing("Broker")) as taker:
            assert (leading.lease.leads, taker.lease.leads) == (True, False)
            job = await taker.writer.run(lambda tx: accept(tx, handler="conformance.queued", backend=f"mine:{QUEUE}"))
            apart = taker.dispatcher.backends[f"mine:{QUEUE}"]
            assert isinstance(apart, Mixing)
            await until(lambda: bool(apart.delivered))

            async def confirmed() -> bool:
                return (await get(taker, job)).delivered_to == "a broker"

            await until(confirmed)
            assert apart.delivered == [job.id]


async def test_one_of_the_processes_that_take_a_queue_delivers_where_the_leading_one_does_not(project: Path) -> None:
    async with process(project, Role.RUN, **mixing()) as one, process(project, Role.RUN, **mixing()) as two:
        found = await one.database.read(lambda tx: waiting.first_taker(tx, f"mine:{QUEUE}"))
        assert found == min(one.lease.id, two.lease.id)
        assert await one.database.read(lambda tx: waiting.first_taker(tx, "mine:gone")) is None


async def test_a_backend_may_have_a_place_for_each_queue(project: Path) -> None:
    async with process(project, **mixing("Apart", place="spool")) as onward:
        places = {name: one.place for name, one in onward.dispatcher.backends.items() if isinstance(one, Apart)}
    assert places == {"mine": "spool", f"mine:{QUEUE}": f"spool/{QUEUE}"}


async def test_waiting_jobs_follow_the_queue_that_their_handler_has_now(project: Path) -> None:
    """Jobs of a handler that is not known here stay where another process takes them, and go on where none does."""
    async with process(project, takes=QUEUE) as onward:
        job = await request(onward, "conformance.note", project)
        unknown = [
            await onward.writer.run(lambda tx, to=to: accept_at(tx, to))  # type: ignore[misc]
            for to in (APART, "background:gone")
        ]
        moved = {"conformance.note": {"queue": QUEUE}}
        async with process(project, takes="default", queues=moved):
            assert (await until_done(onward, job)).status is S.SUCCEEDED
            done = [await until_done(onward, one) for one in unknown]
    assert [one.attempts[0].backend for one in done] == [APART, "background"]
    assert {one.error.code for one in done if one.error} == {"HANDLER_MISSING"}


def accept_at(tx: Any, destination: str) -> Job:
    return ledger.accept(tx, new_job("unknown.handler", backend=destination))


async def test_a_retry_by_a_terminal_keeps_the_queue_of_the_job(project: Path) -> None:
    """The terminal loads no handlers, and knows the settings."""
    async with process(project, Role.RUN) as onward:
        job = await onward.writer.run(lambda tx: accept(tx, handler="conformance.queued", backend=APART))
        await onward.writer.run(lambda tx: commands.cancel(tx, job.id, reason=None, visible=Visible(everything=True)))
        outcome = run("jobs", "retry", job.id, project=project)
        assert outcome.returncode == 0, outcome
        assert (await get(onward, job)).backend == APART
        shown = run("jobs", "show", job.id, project=project)
        assert "waits for a worker that takes the queue apart" in shown.stdout


async def test_check_warns_of_jobs_in_a_queue_that_no_process_takes(project: Path) -> None:
    async with process(project, takes="default") as onward:
        for _ in range(2):
            await request(onward, "conformance.queued", project)
        words = f"2 jobs wait on background in the queue {QUEUE}, which no process takes"
        assert words in run("check", project=project).stdout
        async with process(project, takes=QUEUE):
            assert "queues" not in run("check", project=project).stdout


def test_a_queue_s_name_with_odd_characters_is_refused(project: Path) -> None:
    for given in ({"worker": {"queues": "gpu;cpu"}}, {"queues": {"a.b": {"queue": "a b"}}}):
        with pytest.raises(SettingsError, match="queue"):
            settings.load(project, **given)
    with pytest.raises(SettingsError, match="must have no colon"):
        settings.load(project, backends={"a:b": {"class": "a:B"}})


def test_the_options_of_a_backend_for_a_queue_are_its_own(project: Path) -> None:
    found = backends.build_backend(settings.load(project), "dramatiq:gpu", backends.ProbeRunner())
    assert found.broker.namespace == "onward:gpu"  # type: ignore[attr-defined]
