"""`jobsUpdated(afterChange:)`: nothing is missed that changes while a subscriber is away."""

from __future__ import annotations

import asyncio
import random
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack, aclosing, asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import pytest

from onward.api.view import View
from onward.graphql.execution.requests import Request
from onward.graphql.viewer import Viewer
from onward.jobs import catch_up, commands
from onward.jobs.model import Job, Visible
from onward.jobs.position import MAX_OPEN, Position
from onward.storage.transaction import Tx
from onward.storage.writer import Writer
from tests import ledgers
from tests.integration.graphql.conftest import WAIT_TIMEOUT_S, running, settings_in, until
from tests.ledgers import accept, copied_postgres, copied_sqlite, route, writing
from tests.servers import postgres_server

ALL = Visible(everything=True)
ADMIN = Viewer(None, ("admin",))
ANN, BOB = Viewer("ann", ()), Viewer("bob", ())
LATER_US = 9_000_000_000_000_000
WRITE_TIMEOUT_S = 60.0  # a busy machine may take long for a commit
PAGE = "{ jobs(first: 200) { change nodes { id version status change } } }"
UPDATES = """subscription($filter: JobFilter, $ids: [ID!], $after: String) {
  jobsUpdated(filter: $filter, ids: $ids, afterChange: $after) { id version status change }
}"""


class Server:
    """The operations of a running application, and a writer like another process's."""

    def __init__(self, view: View, writer: Writer) -> None:
        self._operations, self._services, self.writer = view._operations, view._services, writer

    async def page(self, viewer: Viewer = ADMIN) -> Any:
        return (await self.answer(PAGE, viewer))["jobs"]

    async def answer(self, text: str, viewer: Viewer = ADMIN) -> Any:
        operation = await self._operations.prepare(Request(text, None, None, None))
        answer: Any = await self._operations.execute(operation, self._context(viewer), lambda *_: None)  # type: ignore[arg-type]
        return answer["data"]

    @asynccontextmanager
    async def updates(self, viewer: Viewer = ADMIN, **variables: Any) -> AsyncIterator[AsyncIterator[Any]]:
        operation = await self._operations.prepare(Request(UPDATES, variables, None, None))
        async with aclosing(self._operations.subscribe(operation, self._context(viewer))) as stream:  # type: ignore[arg-type]
            yield stream

    async def first(self, n: int, viewer: Viewer = ADMIN, **variables: Any) -> list[Any]:
        """Return the first messages of a subscription."""
        async with asyncio.timeout(WAIT_TIMEOUT_S), self.updates(viewer, **variables) as stream:
            return [(await anext(stream))["data"]["jobsUpdated"] for _ in range(n)]

    async def error(self, **variables: Any) -> str:
        """Return the code of the error that ends a subscription at once."""
        async with asyncio.timeout(WAIT_TIMEOUT_S), self.updates(**variables) as stream:
            [answer] = [answer async for answer in stream]
        return str(answer["errors"][0]["extensions"]["code"])

    def _context(self, viewer: Viewer) -> Any:
        return self._operations.context(self._services, viewer, "here")

    async def accept(self, owner: str | None = None) -> Job:
        """Accept a job that nobody runs."""
        return await self.writer.run(lambda tx: accept(tx, owner=owner, run_at=LATER_US, backend="background"))

    async def cancel(self, *ids: str) -> None:
        for job_id in ids:
            await self.writer.run(lambda tx, job_id=job_id: cancel(tx, job_id))  # type: ignore[misc]


def cancel(tx: Tx, job_id: str) -> None:
    commands.cancel(tx, job_id, reason=None, visible=ALL)


@asynccontextmanager
async def serving_on(url: str, folder: Path) -> AsyncIterator[Server]:
    async with running(settings_in(folder, database={"url": url})) as api:
        with writing(url, timeout_s=WRITE_TIMEOUT_S) as writer:
            yield Server(api.app.state.view, writer)


@pytest.fixture(scope="module")
def postgres_server_url() -> Iterator[str]:
    """A PostgreSQL of these tests' own: transactions of others, in any of its databases, have changes sent again."""
    with postgres_server() as server:
        yield server.url


@pytest.fixture(scope="module")
def migrated_postgres(postgres_server_url: str) -> str:
    return ledgers.migrated_postgres(postgres_server_url)


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
async def server(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, anyio_backend: str
) -> AsyncIterator[Server]:
    """A server whose jobs stay as the tests leave them, on both databases."""
    folder = tmp_path_factory.mktemp("onward")
    with ExitStack() as stack:
        if request.param == "sqlite":
            url = copied_sqlite(request.getfixturevalue("migrated_sqlite"), folder)
        else:
            names = [request.getfixturevalue(name) for name in ("postgres_server_url", "migrated_postgres")]
            url = stack.enter_context(copied_postgres(*names))
        async with serving_on(url, folder) as server:
            yield server


@contextmanager
def held(url: str, write: Callable[[Tx], object]) -> Iterator[threading.Event]:
    """Keep a transaction open that has written, until the event is set or the block ends."""
    entered, end = threading.Event(), threading.Event()

    def holds(tx: Tx) -> None:
        write(tx)
        entered.set()
        end.wait(WAIT_TIMEOUT_S)

    with writing(url, timeout_s=WRITE_TIMEOUT_S) as writer:
        thread = threading.Thread(target=writer.run_sync, args=(holds,))
        thread.start()
        assert entered.wait(WAIT_TIMEOUT_S)
        try:
            yield end
        finally:
            end.set()
            thread.join()


async def test_what_has_changed_since_a_page_comes_first(server: Server) -> None:
    """The change of each job of the page will do, and that of the page."""
    jobs = [await server.accept() for _ in range(3)]
    page = await server.page()
    await server.cancel(jobs[1].id)
    assert [one["id"] for one in await server.first(1, after=page["change"])] == [jobs[1].id]
    # In the order of their changes: that of a job brings again what was accepted after it.
    assert len({node["change"] for node in page["nodes"][:3]}) == 3
    for before, token in enumerate(node["change"] for node in page["nodes"][:3]):
        found = await server.first(before + (before < 2), after=token)
        assert (found[-1]["id"], found[-1]["status"], found[-1]["version"]) == (jobs[1].id, "CANCELLED", 2)


async def test_an_empty_page_has_a_change_too(server: Server) -> None:
    """The first job of a viewer is not missed."""
    viewer = Viewer("new", ())
    page = await server.page(viewer)
    assert page["nodes"] == []
    job = await server.accept("new")
    [found] = await server.first(1, viewer, after=page["change"])
    assert found["id"] == job.id


async def test_after_the_last_message_only_later_changes_come(server: Server) -> None:
    """Each is sent once."""
    before = (await server.page())["change"]
    jobs = [await server.accept() for _ in range(3)]
    seen = await server.first(3, after=before)
    assert {one["id"] for one in seen} == {job.id for job in jobs}
    await server.cancel(jobs[0].id)
    async with asyncio.timeout(WAIT_TIMEOUT_S), server.updates(after=seen[-1]["change"]) as stream:
        found = (await anext(stream))["data"]["jobsUpdated"]
        await server.cancel(jobs[2].id)
        assert [found["id"], (await anext(stream))["data"]["jobsUpdated"]["id"]] == [jobs[0].id, jobs[2].id]


async def test_a_cut_between_messages_loses_none(server: Server) -> None:
    """After each of them the subscriber goes on from the change that it has."""
    token = (await server.page())["change"]
    wanted = {(await server.accept()).id for _ in range(5)}
    seen = []
    for _ in wanted:
        [one] = await server.first(1, after=token)
        seen.append(one["id"])
        token = one["change"]
    assert set(seen) == wanted


async def test_a_change_stays_the_same_while_its_job_does(server: Server) -> None:
    """A page that is asked for again changes nothing in a cache; after many commits each job's is renewed."""
    jobs = [await server.accept() for _ in range(2)]
    before = {node["id"]: node["change"] for node in (await server.page())["nodes"]}
    await server.cancel(jobs[1].id)
    after = {node["id"]: node["change"] for node in (await server.page())["nodes"]}
    assert after[jobs[0].id] == before[jobs[0].id]
    assert after[jobs[1].id] != before[jobs[1].id]


async def test_ids_name_the_jobs(server: Server) -> None:
    """Others that change send nothing, unknown ones are passed over, and a number of changes keeps nobody away."""
    page = await server.page()
    mine, other = await server.accept(), await server.accept()
    ids = [mine.id, "job_0", "nope", "user_1", ""]
    [found] = await server.first(1, ids=ids, after=page["change"])
    assert found["id"] == mine.id
    async with asyncio.timeout(WAIT_TIMEOUT_S), server.updates(ids=ids, after=found["change"]) as stream:
        await server.cancel(other.id, mine.id)
        assert (await anext(stream))["data"]["jobsUpdated"]["id"] == mine.id


async def test_a_mutation_s_answer_holds_the_change_that_it_made(server: Server) -> None:
    """By `version` a client tells that it is newer than what it has; a subscription may go on from it."""
    jobs = [await server.accept() for _ in range(2)]
    answer = await server.answer(
        f'mutation {{ cancelJob(input: {{id: "{jobs[0].id}"}}) {{ job {{ version change }} }} }}'
    )
    answered = answer["cancelJob"]["job"]
    assert answered["version"] == jobs[0].version + 1
    await server.cancel(jobs[1].id)
    found = await server.first(2, after=answered["change"])
    assert [(one["id"], one["version"]) for one in found] == [(jobs[0].id, 2), (jobs[1].id, 2)]


async def test_too_many_ids_are_refused(server: Server) -> None:
    assert await server.error(ids=["job_0"] * 201) == "INVALID"


async def test_a_job_that_left_the_filter_meanwhile_is_sent(server: Server) -> None:
    """The subscriber still has it among those inside."""
    job = await server.accept()
    page = await server.page()
    await server.cancel(job.id)
    [found] = await server.first(1, filter={"status": ["SCHEDULED"]}, after=page["change"])
    assert (found["id"], found["status"]) == (job.id, "CANCELLED")


async def test_a_viewer_gets_her_own_jobs_alone(server: Server) -> None:
    """With ids, with a filter and without."""
    token = (await server.page(BOB))["change"]
    ann, bob = await server.accept("ann"), await server.accept("bob")
    for variables in ({}, {"ids": [ann.id, bob.id]}, {"filter": {"handler": ["*"]}}):
        [found] = await server.first(1, BOB, after=token, **variables)
        assert found["id"] == bob.id
        [found] = await server.first(1, ANN, after=token, **variables)
        assert found["id"] == ann.id


async def test_a_subscriber_too_far_behind_is_told(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """The jobs are loaded again, and the subscriber goes on. Jobs that are named are few enough."""
    monkeypatch.setattr(catch_up, "MAX_CHANGES", 3)
    token = (await server.page())["change"]
    jobs = [await server.accept() for _ in range(4)]
    assert await server.error(after=token) == "LAGGING"
    assert len(await server.first(4, ids=[job.id for job in jobs], after=token)) == 4
    page = await server.page()
    await server.cancel(jobs[0].id)
    assert [one["id"] for one in await server.first(1, after=page["change"])] == [jobs[0].id]


async def test_a_text_that_is_no_change_is_refused(server: Server) -> None:
    for token in ("", "nope", "ü", "YWJj", "a" * 100_000, Position("", 2**63, ()).token(1)):
        assert await server.error(after=token) == "BAD_CHANGE"


async def test_a_change_of_another_ledger_or_of_the_future_is_refused(server: Server) -> None:
    """A ledger that was restored from a backup is behind the changes that clients have."""
    position = Position.of((await server.page())["change"])
    assert await server.error(after=position._replace(ledger="00000000").token(1)) == "BAD_CHANGE"
    assert await server.error(after=position._replace(end=2**40).token(1)) == "BAD_CHANGE"


async def test_ids_and_a_filter_by_status_see_a_job_leave(
    sqlite_ledger: str, tmp_path: Path, anyio_backend: str
) -> None:
    """A job that was outside before is not sent."""
    async with serving_on(sqlite_ledger, tmp_path) as server:
        jobs = [await server.accept() for _ in range(3)]
        await server.cancel(jobs[0].id)
        page = await server.page()
        await server.cancel(jobs[1].id)
        variables: Any = {"ids": [job.id for job in jobs], "filter": {"status": ["SCHEDULED"]}, "after": page["change"]}
        async with asyncio.timeout(WAIT_TIMEOUT_S), server.updates(**variables) as stream:
            assert (await anext(stream))["data"]["jobsUpdated"]["id"] == jobs[1].id
            await server.writer.run(
                lambda tx: commands.retry(tx, jobs[0].id, from_start=False, visible=ALL, route=route)
            )
            await server.cancel(jobs[2].id)
            found = (await anext(stream))["data"]["jobsUpdated"]
            assert (found["id"], found["status"]) == (jobs[2].id, "CANCELLED")


async def test_a_commit_that_ends_late_is_not_missed(postgres_ledger: str, tmp_path: Path, anyio_backend: str) -> None:
    """The number is smaller than those that the subscriber has seen; an open transaction brings nothing twice."""
    async with serving_on(postgres_ledger, tmp_path) as server:
        early, late = await server.accept(), await server.accept()
        with held(postgres_ledger, lambda tx: cancel(tx, early.id)) as end:
            await server.cancel(late.id)
            page = await server.page()
            seen = {node["id"]: node for node in page["nodes"]}
            assert (seen[early.id]["status"], seen[late.id]["status"]) == ("SCHEDULED", "CANCELLED")
            further = await server.accept()
            [message] = await server.first(1, after=page["change"])
            assert message["id"] == further.id
            end.set()
            await until(lambda: _is_cancelled(server, early.id))
        for token in (message["change"], page["change"], seen[late.id]["change"], seen[early.id]["change"]):
            assert early.id in {one["id"] for one in await server.first(1, after=token)}


async def _is_cancelled(server: Server, job_id: str) -> bool:
    return any(node["id"] == job_id and node["status"] == "CANCELLED" for node in (await server.page())["nodes"])


async def test_many_open_transactions_make_no_long_token(
    postgres_ledger: str, tmp_path: Path, anyio_backend: str
) -> None:
    """The position begins before those that it does not name."""
    async with serving_on(postgres_ledger, tmp_path) as server:
        jobs = [await server.accept() for _ in range(MAX_OPEN + 2)]
        with ExitStack() as stack:
            for job in jobs:
                stack.enter_context(held(postgres_ledger, lambda tx, job_id=job.id: cancel(tx, job_id)))  # type: ignore[misc]
            await server.accept()
            token = (await server.page())["change"]
        assert len(Position.of(token).open) <= MAX_OPEN
        found = await server.first(len(jobs), after=token, ids=[job.id for job in jobs])
        assert {one["id"] for one in found} == {job.id for job in jobs}


class Browser:
    """A client that keeps rows as a page does. Its socket is cut now and then."""

    def __init__(self, server: Server, chance: random.Random, viewer: Viewer, *, picks: bool) -> None:
        self._server, self._chance, self._viewer, self._picks = server, chance, viewer, picks
        self._ids: list[str] | None = None
        self._task: asyncio.Task[None] | None = None
        self._token = ""
        self.rows: dict[str, tuple[int, str]] = {}

    async def load(self) -> None:
        page = await self._server.page(self._viewer)
        self._token = self._chance.choice([page["change"], *(node["change"] for node in page["nodes"])])
        self.rows = {node["id"]: (node["version"], node["status"]) for node in page["nodes"]}
        self._ids = list(self.rows) if self._picks else None

    def connect(self) -> None:
        if self._task is None:
            self._task = asyncio.create_task(self._follow())

    async def cut(self) -> None:
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.wait((task,))
            if not task.cancelled():
                task.result()

    async def _follow(self) -> None:
        async with self._server.updates(self._viewer, ids=self._ids, after=self._token) as stream:
            async for answer in stream:
                job = answer["data"]["jobsUpdated"]
                assert job["version"] >= self.rows.get(job["id"], (0, ""))[0], "a row went backwards"
                self.rows[job["id"]] = (job["version"], job["status"])
                self._token = job["change"]
                if self._chance.random() < 0.1:
                    await asyncio.sleep(0.01)  # the changes pile up

    async def is_true(self) -> bool:
        """Return whether the rows are those of the ledger."""
        if self._task is not None and self._task.done():
            self._task.result()
        page = await self._server.page(self._viewer)
        found = {node["id"]: (node["version"], node["status"]) for node in page["nodes"]}
        return all(
            self.rows.get(job_id) == row for job_id, row in found.items() if self._ids is None or job_id in self._ids
        )


async def test_random_cuts_leave_every_row_as_the_ledger_has_it(
    ledger_url: str, tmp_path: Path, anyio_backend: str
) -> None:
    """Changes, cuts and reloads in any order; on PostgreSQL some transactions end late."""
    async with serving_on(ledger_url, tmp_path) as server:
        await History(server, ledger_url, random.Random(20)).run(steps=150)


class History:
    """Random changes of jobs, while browsers come and go."""

    def __init__(self, server: Server, url: str, chance: random.Random) -> None:
        self._server, self._url, self._chance = server, url, chance
        self._open: list[str] = []  # jobs that can be cancelled
        self._late: list[threading.Event] = []  # transactions that have not ended
        self._stack = ExitStack()
        viewers = enumerate((ADMIN, ANN, BOB) * 3)
        self.browsers = [Browser(server, chance, viewer, picks=n % 2 == 1) for n, viewer in viewers]

    async def run(self, steps: int) -> None:
        for browser in self.browsers:
            await self._accept()
            await browser.load()
        with self._stack:
            for _ in range(steps):
                act = self._chance.choice((self._accept, self._accept, self._cancel, self._late_one, self._browse))
                await act()
                if self._chance.random() < 0.2:
                    await asyncio.sleep(0.005)  # lets the feed read
        for browser in self.browsers:
            browser.connect()
        for browser in self.browsers:
            await until(browser.is_true)
            await browser.cut()

    async def _accept(self) -> None:
        self._open.append((await self._server.accept(self._chance.choice(["ann", "bob"]))).id)

    async def _cancel(self) -> None:
        if self._open:
            await self._server.cancel(self._open.pop(self._chance.randrange(len(self._open))))

    async def _late_one(self) -> None:
        """Begin a transaction that ends after others of greater numbers, or end one. SQLite has no such."""
        if self._url.startswith("sqlite"):
            return
        if len(self._late) > 2 or not self._open:
            self._late.pop(self._chance.randrange(len(self._late))).set()
        else:
            taken = self._open.pop()
            self._late.append(self._stack.enter_context(held(self._url, lambda tx: cancel(tx, taken))))

    async def _browse(self) -> None:
        browser = self._chance.choice(self.browsers)
        match self._chance.randrange(10):
            case 0:
                await browser.cut()
                await browser.load()
            case 1 | 2 | 3 | 4:
                await browser.cut()
            case _:
                browser.connect()
