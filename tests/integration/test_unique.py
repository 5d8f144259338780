"""Unique jobs of any caller: there is one, in the transaction of whoever enqueues it."""

from __future__ import annotations

import asyncio
import json
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator
from datetime import timedelta
from itertools import product
from pathlib import Path
from typing import Any

import psycopg
import pytest
import sqlalchemy as sa
from cryptography.fernet import Fernet

from onward import InvalidParameters, JobRequest, NotUnique, Onward, Unavailable
from onward.backends.base import Role
from onward.config.settings import load
from onward.jobs import claims, ledger
from onward.jobs.model import Job
from onward.jobs.states import JobStatus
from onward.runtime import wiring
from onward.storage.engine import Database
from onward.storage.tables import jobs
from onward.testing.waiting import until
from onward.testing.workload import notes
from tests.integration.test_sessions import ALL, calling
from tests.integration.unique_handlers import everything, fresh, index, make, mark, months, send
from tests.ledgers import pass_a_moment
from tests.processes import environment
from tests.processes import onward as command

pytestmark = pytest.mark.anyio
LONG = timedelta(seconds=60)
CALLERS = """
import asyncio, json, sys
from pathlib import Path
from onward import Onward
from tests.integration.unique_handlers import make

async def main(folder, number):
    async with Onward.from_settings(folder) as onward:
        await onward.enqueue(make.job(month=-number))
        (folder / f"ready-{number}").touch()
        while not (folder / "go").exists():
            await asyncio.sleep(0.001)
        found = []
        for month in range(20):
            calls = [onward.enqueue(make.job(month=month)) for _ in range(10)]
            found.append(sorted(set(await asyncio.gather(*calls))))
        print(json.dumps(found))

asyncio.run(main(Path(sys.argv[1]), int(sys.argv[2])))
"""


@pytest.fixture
def project(tmp_path: Path, ledger_url: str) -> Path:
    file = tmp_path / "settings.toml"
    file.write_text(
        f'[handlers]\nmodules = ["tests.integration.unique_handlers"]\n[database]\nurl = "{ledger_url}"\n'
        f'[secrets]\nkeys = ["{Fernet.generate_key().decode()}"]\n'
    )
    return file


@pytest.fixture
async def onward(project: Path) -> AsyncIterator[Onward]:
    async with Onward.from_settings(project) as opened:
        yield opened


async def rows(url: str) -> dict[str, Job]:
    """Return all jobs by their ids."""
    database = Database(url, embedded=True)
    try:
        ids = await database.read(lambda tx: tx.scalars(sa.select(jobs.c.id)))
        return await database.read(lambda tx: ledger.get_many(tx, ids))
    finally:
        database.close()


async def test_enqueueing_again_gives_the_job_that_is_there(onward: Onward, ledger_url: str) -> None:
    first = await onward.enqueue(make.job(month=1, words="a"), owner="ada")
    assert await onward.enqueue(make.job(month=1, words="b"), owner="ada") == first
    assert await onward.enqueue(make.job(month=1), owner="bob") != first, "each owner has a job"
    two = await onward.enqueue(make.job(month=2), owner="ada")
    assert await onward.enqueue_many([make.job(month=month) for month in (1, 2, 1)], owner="ada") == [first, two, first]
    assert (await rows(ledger_url))[first].params["words"] == "a"


async def test_an_idempotency_key_is_looked_up_first(onward: Onward) -> None:
    first = await onward.enqueue(make.job(month=1), idempotency_key="k")
    assert await onward.enqueue(make.job(month=1), idempotency_key="other") == first
    await onward._open()._writer.run(lambda tx: tx.execute(sa.update(jobs).values(status="SUCCEEDED")))
    assert await onward.enqueue(make.job(month=1), idempotency_key="k") == first
    assert await onward.enqueue(make.job(month=1), idempotency_key="other") == first
    assert await onward.enqueue(make.job(month=1)) != first


async def test_a_debounced_job_has_the_newest_parameters_and_its_bound(onward: Onward, ledger_url: str) -> None:
    first = await onward.enqueue(index.job(month=1, words="a"))
    before = (await rows(ledger_url))[first]
    pass_a_moment()
    assert await onward.enqueue(index.job(month=1, words="b")) == first
    after = (await rows(ledger_url))[first]
    assert (before.status, after.params["words"]) == (JobStatus.SCHEDULED, "b")
    assert before.due_at < after.due_at <= before.created_at + 600_000_000


async def test_new_parameters_are_checked_as_those_of_a_new_job(onward: Onward, ledger_url: str) -> None:
    first = await onward.enqueue(index.job(month=1, words="a"))
    with pytest.raises(InvalidParameters):
        await onward.enqueue(JobRequest("report.index", {"month": 1, "words": 7}))
    assert (await rows(ledger_url))[first].params["words"] == "a"


async def test_a_job_of_another_owner_is_a_typed_error(onward: Onward, ledger_url: str) -> None:
    first = await onward.enqueue(everything.job(), owner="ada")
    for call in (
        onward.enqueue(everything.job(), owner="bob"),
        onward.enqueue(everything.job(), owner="bob", idempotency_key="k"),
        onward.enqueue_many([everything.job()], owner="bob"),
    ):
        with pytest.raises(NotUnique) as refused:
            await call
        assert first not in str(refused.value)
    assert list(await rows(ledger_url)) == [first]


async def test_a_secret_parameter_may_be_in_the_key(onward: Onward, ledger_url: str) -> None:
    first = await onward.enqueue(send.job(pin="4711-0815"))
    assert await onward.enqueue(send.job(pin="4711-0815")) == first
    assert await onward.enqueue(send.job(pin="4711-0816")) != first
    assert "4711-081" not in repr(await rows(ledger_url))


@pytest.mark.slow
async def test_plain_code_and_the_terminal_get_the_same_job(project: Path, ledger_url: str) -> None:
    onward = Onward.from_settings(project)
    with onward.sync:
        first = onward.sync.enqueue(make.job(month=1))
        assert onward.sync.enqueue_many([make.job(month=1), make.job(month=1)]) == [first, first]
    sent = await asyncio.to_thread(command, "jobs", "send", "report.make", "--month", "1", project=project.parent)
    assert sent.stdout.split() == [first], sent.stderr
    assert list(await rows(ledger_url)) == [first]


async def test_dispatched_jobs_with_one_key_are_one(project: Path, ledger_url: str) -> None:
    async with (
        wiring.run_process(load(project.parent), Role.ACCEPT, embedded=True),
        Onward.from_settings(project) as onward,
    ):
        parent = await onward.enqueue(months.job(words="a"))
        first, again, other = await onward.result(parent, timeout=LONG)
        assert await onward.result(first, timeout=LONG) == "a"
        assert await onward.result(other, timeout=LONG) == "a"
    assert (await rows(ledger_url)).keys() == {parent, first, other}
    assert again not in {first, other}


async def test_the_one_job_runs_once(project: Path, tmp_path: Path) -> None:
    async with (
        wiring.run_process(load(project.parent), Role.ACCEPT, embedded=True),
        Onward.from_settings(project) as onward,
    ):
        given = mark.job(folder=str(tmp_path))
        first = await onward.enqueue(given)
        await until(lambda: bool(notes(tmp_path)), 60)
        assert set(await asyncio.gather(*(onward.enqueue(given) for _ in range(20)))) == {first}
        (tmp_path / "go").touch()
        await onward.result(first, timeout=LONG)
        second = await onward.enqueue(given)
        await onward.result(second, timeout=LONG)
        assert [note.job for note in notes(tmp_path)] == [first, second]


def waiting_for_locks(url: str) -> int:
    """Count the connections that wait for others' rows."""
    with psycopg.connect(url) as connection:
        waiting = (
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
        )
        return int(connection.execute(waiting).fetchone()[0])  # type: ignore[index]


async def _enqueued(onward: Onward, requests: list[JobRequest], session: object) -> list[str]:
    return await onward.enqueue_many(requests, session=session)


class TestSessions:
    """Uniqueness in the transaction of a caller."""

    @pytest.fixture
    def ledger_url(self, request: pytest.FixtureRequest) -> str:
        url: str = request.getfixturevalue(request.param)
        return url

    @pytest.mark.parametrize(("kind", "ledger_url"), ALL, indirect=["ledger_url"])
    async def test_a_key_is_free_again_when_the_caller_rolls_back(
        self, kind: str, onward: Onward, ledger_url: str
    ) -> None:
        async with calling(kind, ledger_url) as caller:
            gone = await onward.enqueue(make.job(month=1), session=caller.session)
            assert await onward.enqueue(make.job(month=1), session=caller.session) == gone
            await caller.rollback()
        first = await onward.enqueue(make.job(month=1))
        assert first != gone
        async with calling(kind, ledger_url) as caller:
            wanted = [make.job(month=month) for month in (2, 1, 2)]
            two, again, both = await onward.enqueue_many(wanted, session=caller.session)
            assert (again, both) == (first, two)
            put_off = await onward.enqueue(index.job(month=1, words="a"), session=caller.session)
            assert await onward.enqueue(index.job(month=1, words="b"), session=caller.session) == put_off
            await caller.commit()
        found = await rows(ledger_url)
        assert found.keys() == {first, two, put_off}
        assert found[put_off].params["words"] == "b"

    @pytest.mark.parametrize("ledger_url", ["postgres_ledger"], indirect=True)
    async def test_a_caller_waits_for_the_transaction_that_took_the_key_and_no_other_with_it(
        self, onward: Onward, ledger_url: str
    ) -> None:
        """The key is that of a unique job, or an idempotency key."""
        onward._open()._writer.timeout_s = 60.0
        for n, (commits, keyed) in enumerate(product((True, False), repeat=2)):
            given, key = (months.job(words="a"), f"key-{n}") if keyed else (make.job(month=n), None)
            with psycopg.connect(ledger_url) as connection:
                taken = await onward.enqueue(given, session=connection, idempotency_key=key)
                waiting = asyncio.create_task(onward.enqueue(given, idempotency_key=key))
                for _ in range(3):
                    async with asyncio.timeout(5):
                        assert await onward.enqueue(months.job(words="meanwhile"))
                assert not waiting.done()
                (connection.commit if commits else connection.rollback)()
            assert (await waiting == taken) is commits

    @pytest.mark.parametrize("ledger_url", ["postgres_ledger"], indirect=True)
    async def test_two_transactions_with_the_same_unique_jobs_in_opposite_order_both_commit(
        self, onward: Onward, ledger_url: str
    ) -> None:
        """`enqueue_many` takes the keys in one order, those of each handler, and then the jobs that hold them.

        Both have met keys of each other: one in the middle is another caller's until both wait.
        """
        wanted = [one.job(month=month) for month in range(40) for one in (make, fresh)]
        middle = wanted[len(wanted) // 2]

        def enqueue(requests: list[JobRequest]) -> set[str]:
            with psycopg.connect(ledger_url) as connection:
                return set(asyncio.run(_enqueued(onward, requests, connection)))

        for _ in range(2):
            with psycopg.connect(ledger_url) as other:
                await onward.enqueue(middle, session=other)
                calls = [asyncio.create_task(asyncio.to_thread(enqueue, given)) for given in (wanted, wanted[::-1])]
                await until(lambda: waiting_for_locks(ledger_url) == 2, 60)
                other.rollback()
            one, two = await asyncio.gather(*calls)
            assert one == two == (await rows(ledger_url)).keys()

    @pytest.mark.parametrize("ledger_url", ["postgres_ledger"], indirect=True)
    async def test_a_key_that_is_not_decided_in_time_is_unavailable(self, onward: Onward, ledger_url: str) -> None:
        onward._open()._writer.timeout_s = 0.2
        with psycopg.connect(ledger_url) as connection:
            await onward.enqueue(make.job(month=1), session=connection)
            with pytest.raises(Unavailable, match="try again later"):
                await onward.enqueue(make.job(month=1))
        assert len(await rows(ledger_url)) == 1

    @pytest.mark.parametrize("ledger_url", ["postgres_ledger"], indirect=True)
    async def test_a_job_that_counts_until_it_begins_does_not_begin_before_the_commit(
        self, onward: Onward, ledger_url: str
    ) -> None:
        """A start before the commit would miss the rows of the caller that the job was given to."""

        async def claimed() -> list[str]:
            line = {"runner": "one", "worker": "w", "backend": "background"}
            found = await onward._open()._writer.run(lambda tx: claims.claim_due(tx, limit=5, **line))  # type: ignore[arg-type]
            return [job.id for job in found]

        first = await onward.enqueue(fresh.job(month=1))
        with psycopg.connect(ledger_url) as connection:
            assert await onward.enqueue(fresh.job(month=1), session=connection) == first
            assert await claimed() == []
        assert await claimed() == [first]
        assert await onward.enqueue(fresh.job(month=1)) != first

    @pytest.mark.parametrize("ledger_url", ["sqlite_ledger"], indirect=True)
    async def test_a_foreign_job_leaves_the_caller_s_transaction_as_it_is(
        self, onward: Onward, ledger_url: str
    ) -> None:
        await onward.enqueue(everything.job(), owner="ada")
        file = sqlite3.connect(sa.make_url(ledger_url).database or "")
        file.execute("CREATE TABLE orders (id INTEGER)")
        file.execute("INSERT INTO orders VALUES (1)")
        with pytest.raises(NotUnique):
            await onward.enqueue(everything.job(), owner="bob", session=file)
        file.commit()
        assert file.execute("SELECT id FROM orders").fetchall() == [(1,)]
        file.execute("DROP TABLE orders")
        file.close()


@pytest.mark.slow
async def test_fifty_callers_in_five_processes_make_one_job(project: Path, ledger_url: str, tmp_path: Path) -> None:
    """Twenty times over, with ten calls at once in each process."""
    (tmp_path / "callers.py").write_text(CALLERS)
    started = [
        subprocess.Popen(  # noqa: ASYNC220 - it returns at once
            [sys.executable, str(tmp_path / "callers.py"), str(tmp_path), str(number)],
            env=environment(),
            stdout=subprocess.PIPE,
        )
        for number in range(1, 6)
    ]
    try:
        await until(lambda: len(list(tmp_path.glob("ready-*"))) == 5, 120)
        (tmp_path / "go").touch()
        answers: list[Any] = [
            json.loads((await asyncio.to_thread(process.communicate, timeout=120))[0]) for process in started
        ]
    finally:
        for process in started:
            process.kill()
    assert all(answer == answers[0] for answer in answers)
    assert [len(ids) for ids in answers[0]] == [1] * 20
    assert len(await rows(ledger_url)) == 5 + 20
