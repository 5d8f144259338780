"""Jobs that any code enqueues are accepted, and run by the serving process."""

from __future__ import annotations

import asyncio
import os
import signal
import sqlite3
import threading
from collections.abc import AsyncIterator, Generator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID

import pytest
import sqlalchemy as sa

from onward import (
    InvalidParameters,
    JobChunk,
    JobFailed,
    JobRequest,
    KeyReused,
    NotFound,
    Onward,
    Unavailable,
    UnknownHandler,
    Viewer,
)
from onward.backends.base import Role
from onward.config.settings import SettingsError, load
from onward.jobs import ledger
from onward.jobs.states import JobStatus
from onward.jobs.timings import Timings
from onward.runtime import wiring
from onward.storage.engine import Database
from onward.storage.tables import jobs, runners
from onward.testing import workload
from onward.testing.waiting import until
from tests.processes import running, wait_until

LONG = timedelta(seconds=60)
FAR = datetime.now(UTC) + timedelta(days=300)


def write_settings(folder: Path, ledger_url: str, more: str = "") -> Path:
    file = folder / "settings.toml"
    modules = '[handlers]\nmodules = ["onward.testing.workload"]\n'
    file.write_text(f'{more}\n{modules}[database]\nurl = "{ledger_url}"\n')
    return file


@pytest.fixture
def project(tmp_path: Path, ledger_url: str) -> Path:
    return write_settings(tmp_path, ledger_url)


@pytest.fixture
async def onward(project: Path) -> AsyncIterator[Onward]:
    async with Onward.from_settings(project) as opened:
        yield opened


async def test_a_job_is_run_by_the_process_that_serves_and_gives_its_result(project: Path, tmp_path: Path) -> None:
    async with (
        wiring.run_process(load(tmp_path), Role.ACCEPT, embedded=True) as serving,
        Onward.from_settings(project) as onward,
    ):
        given = workload.noted.job(folder=str(tmp_path), text="here")
        job_id = await onward.enqueue(given, owner="ada", priority=7)
        assert await onward.result(job_id, timeout=LONG) is not None
        job = await serving.database.read(lambda tx: ledger.get(tx, job_id))
        assert job is not None
        assert (job.owner, job.priority) == ("ada", -7)
        failing = await onward.enqueue(workload.permanent.job(folder=str(tmp_path)))
        with pytest.raises(JobFailed, match="FAILED") as failed:
            await onward.result(failing, timeout=LONG)
        assert failed.value.job.id == failing


async def test_output_is_read_as_it_comes_by_any_program(project: Path, tmp_path: Path) -> None:
    """From an event loop and from plain code, to the job's end, and behind an offset."""
    async with (
        wiring.run_process(load(tmp_path), Role.ACCEPT, embedded=True),
        Onward.from_settings(project) as onward,
    ):
        job_id = await onward.enqueue(workload.emits.job(folder=str(tmp_path), chunks=20))
        got: list[JobChunk] = []
        async with asyncio.timeout(LONG.total_seconds()):
            async for chunk in onward.output(job_id):
                got.append(chunk)
                if len(got) == 5:
                    break
            (tmp_path / "go").touch()
            got += [chunk async for chunk in onward.output(job_id, after=got[-1].offset)]
        with onward.sync:
            assert await asyncio.to_thread(lambda: list(onward.sync.output(job_id))) == got
            assert list(await asyncio.to_thread(lambda: list(onward.sync.output(job_id, after=20)))) == got[21:]
        with pytest.raises(NotFound):
            await anext(onward.output("job_0"))
        with pytest.raises(TypeError, match="after must be the offset of a chunk"):
            onward.output(job_id, after="1")  # type: ignore[arg-type]
    assert [chunk.data for chunk in got] == [*(f"{n} " for n in range(20)), {"second": 1}, "the end"]
    assert [chunk.offset for chunk in got] == list(range(22))


async def test_plain_code_may_stop_reading_output_early(project: Path, tmp_path: Path) -> None:
    """The generator is collected in any thread, that of `onward.sync` as well, or after the end of `onward.sync`."""
    async with (
        wiring.run_process(load(tmp_path), Role.ACCEPT, embedded=True),
        Onward.from_settings(project) as onward,
    ):
        job_id = await onward.enqueue(workload.emits.job(folder=str(tmp_path), chunks=20))

        def read() -> Generator[JobChunk, None, None]:
            chunks = onward.sync.output(job_id)
            assert next(chunks).offset == 0
            return chunks

        late, held = await asyncio.to_thread(read), [await asyncio.to_thread(read)]
        thread, collected = onward.sync._open(), threading.Event()
        outputs = thread.enqueuer._changes._outputs
        assert len(outputs[job_id]) == 2
        thread._loop.call_soon_threadsafe(held.clear)
        thread._loop.call_soon_threadsafe(collected.set)
        assert await asyncio.to_thread(collected.wait, 30), "the loop waits for itself"
        await asyncio.to_thread(wait_until, lambda: len(outputs[job_id]) == 1)
        onward.sync.close()
        late.close()
        (tmp_path / "go").touch()
        await onward.result(job_id, timeout=LONG)


async def test_a_program_that_enqueues_is_no_process_of_the_installation_and_runs_nothing(
    onward: Onward, ledger_url: str, tmp_path: Path
) -> None:
    job_id = await onward.enqueue(workload.noted.job(folder=str(tmp_path)))
    with pytest.raises(TimeoutError):
        await onward.result(job_id, timeout=timedelta(seconds=0.5))
    database = Database(ledger_url, embedded=True)
    try:
        job = await database.read(lambda tx: ledger.get(tx, job_id))
        assert job is not None
        assert (job.status, job.delivered_to) == (JobStatus.QUEUED, None)
        assert await database.read(lambda tx: tx.all(sa.select(runners.c.id))) == []
    finally:
        database.close()


@pytest.mark.parametrize("way", ["one", "with a key", "many"])
async def test_an_idle_server_is_woken_by_a_job_of_another_process(project: Path, tmp_path: Path, way: str) -> None:
    """A free slot of its own accord would look an hour later."""
    timings = Timings(slot_check_s=3600.0)
    async with (
        wiring.run_process(load(tmp_path), Role.ACCEPT, embedded=True, timings=timings),
        Onward.from_settings(project) as onward,
    ):
        given = workload.noted.job(folder=str(tmp_path), text="here")
        if way == "many":
            found = await onward.enqueue_many([given] * 3)
        else:
            found = [await onward.enqueue(given, idempotency_key="k" if way == "with a key" else None)]
        for job_id in found:
            assert await onward.result(job_id, timeout=LONG) is not None


@pytest.mark.slow
async def test_ten_thousand_requests_are_accepted_by_short_commits_and_run_by_nobody_here(
    sqlite_ledger: str, tmp_path: Path
) -> None:
    async with Onward.from_settings(write_settings(tmp_path, sqlite_ledger)) as onward:
        given = workload.noted.job(folder=str(tmp_path))
        ids = await onward.enqueue_many([given] * 10_000)
        assert ids == sorted(set(ids))
        assert len(ids) == 10_000
        database = onward._open()._writer.database
        commits = sa.select(sa.func.count()).select_from(jobs).group_by(jobs.c.changed)
        sizes = await database.read(lambda tx: tx.scalars(commits))
        assert max(sizes) <= 200
        assert sum(sizes) == 10_000
        states = sa.select(jobs.c.status, jobs.c.token, jobs.c.runner).distinct()
        assert await database.read(lambda tx: tx.all(states)) == [("QUEUED", 0, None)]
        assert await database.read(lambda tx: tx.all(sa.select(runners.c.id))) == []


@pytest.mark.slow
async def test_a_dramatiq_worker_runs_what_another_process_enqueues(
    postgres_ledger: str, tmp_path: Path, redis_url: str, namespace: str
) -> None:
    redis = f'[backends.dramatiq]\nurl = "{redis_url}"\nnamespace = "{namespace}"\n'
    project = write_settings(tmp_path, postgres_ledger, f'backend = "dramatiq"\n{redis}')
    with running("worker", "--processes", "1", "--threads", "2", project=tmp_path):
        async with Onward.from_settings(project) as onward:
            ids = await onward.enqueue_many([workload.noted.job(folder=str(tmp_path), text="far")] * 5)
            for job_id in ids:
                assert await onward.result(job_id, timeout=LONG) is not None
    assert sorted(note.job for note in workload.notes(tmp_path)) == ids


async def test_a_key_gives_the_same_job_to_one_owner_and_one_handler(onward: Onward, tmp_path: Path) -> None:
    given = workload.noted.job(folder=str(tmp_path), text="a")
    first = await onward.enqueue(given, owner="ada", idempotency_key="k")
    assert await onward.enqueue(given, owner="ada", idempotency_key="k") == first
    # A default that is given or left out makes no difference; another owner or handler has keys of its own.
    assert await onward.enqueue(given, owner="bob", idempotency_key="k") != first
    assert await onward.enqueue(given, idempotency_key="k") != first
    other = workload.wait.job(folder=str(tmp_path))
    assert await onward.enqueue(other, owner="ada", idempotency_key="k") != first
    for wrong in (
        onward.enqueue(workload.noted.job(folder=str(tmp_path), text="b"), owner="ada", idempotency_key="k"),
        onward.enqueue(given, owner="ada", idempotency_key="k", run_at=FAR),
        onward.enqueue(given, owner="ada", idempotency_key="k", priority=1),
        onward.enqueue(given, owner="ada", idempotency_key="k", expires=LONG),
    ):
        with pytest.raises(KeyReused, match="take a new key"):
            await wrong


async def test_an_enqueued_job_expires(onward: Onward, ledger_url: str, tmp_path: Path) -> None:
    """The option of the handler is the default; the time counts from the due time."""
    handlers = (workload.noted, workload.fleeting)
    note, fleeting = (handler.job(folder=str(tmp_path)) for handler in handlers)
    ids = [await onward.enqueue(note, expires=LONG, run_at=FAR), *await onward.enqueue_many([note, fleeting])]
    ids += await onward.enqueue_many([fleeting], expires=LONG)
    database = Database(ledger_url, embedded=True)
    try:
        found = await database.read(lambda tx: [ledger.get(tx, job_id) for job_id in ids])
    finally:
        database.close()
    spans = [job and job.expires_at and timedelta(microseconds=job.expires_at - job.due_at) for job in found]
    assert spans == [LONG, None, timedelta(hours=1), LONG]


async def test_calls_with_one_key_at_the_same_time_make_one_job(onward: Onward, tmp_path: Path) -> None:
    given = workload.noted.job(folder=str(tmp_path))
    made = await asyncio.gather(*(onward.enqueue(given, idempotency_key="k") for _ in range(20)))
    assert len(set(made)) == 1


async def test_errors_have_types_and_nothing_is_accepted(onward: Onward, ledger_url: str, tmp_path: Path) -> None:
    good = workload.noted.job(folder=str(tmp_path))
    with pytest.raises(UnknownHandler, match=r"no.such"):
        await onward.enqueue(JobRequest("no.such", {}))
    with pytest.raises(TypeError, match="requests must be a list of jobs"):
        await onward.enqueue_many(good)  # type: ignore[arg-type]
    with pytest.raises(InvalidParameters, match="text"):
        await onward.enqueue_many([good] * 300 + [JobRequest("conformance.note", {"folder": "x", "text": 5})])
    for text in ("x" * 1_000_000, "é" * 500_000):
        with pytest.raises(InvalidParameters, match="take more than 1,000,000 bytes as JSON: store"):
            await onward.enqueue(workload.noted.job(folder=str(tmp_path), text=text))
    with pytest.raises(NotFound):
        await onward.result("job_0")
    for options in ({"owner": ""}, {"priority": 1_001}, {"run_at": datetime(2099, 1, 1)}, {"idempotency_key": "\0"}):  # noqa: DTZ001
        with pytest.raises(ValueError, match=next(iter(options))):
            await onward.enqueue(good, **options)
    for owner in (True, 1.5, b"ada", ["ada"]):
        with pytest.raises(TypeError, match=r"^owner must be a string, an integer or a UUID \(got "):
            await onward.enqueue(good, owner=owner)  # type: ignore[arg-type]
    assert await count(ledger_url) == 0


async def test_an_owner_is_a_subject_as_that_of_a_viewer_is(onward: Onward, ledger_url: str, tmp_path: Path) -> None:
    """One key belongs to an owner in either form."""
    given, key = workload.noted.job(folder=str(tmp_path)), UUID(int=7)
    owners: list[str | int | UUID] = [42, "42", key, str(key)]
    ids = [await onward.enqueue(given, owner=owner, idempotency_key="k") for owner in owners]
    assert ids[::2] == ids[1::2]
    database = Database(ledger_url, embedded=True)
    try:
        found = await database.read(lambda tx: [ledger.get(tx, job_id) for job_id in ids[::2]])
    finally:
        database.close()
    assert [job and job.owner for job in found] == [Viewer(42).subject, Viewer(key).subject] == ["42", str(key)]


async def test_thousands_are_accepted_in_order_while_others_write(
    onward: Onward, ledger_url: str, tmp_path: Path
) -> None:
    many = asyncio.create_task(
        onward.enqueue_many(workload.noted.job(folder=str(tmp_path), text=str(n)) for n in range(1_001))
    )
    await asyncio.sleep(0)
    between = await onward.enqueue(workload.noted.job(folder=str(tmp_path)))
    assert not many.done()
    ids = await many
    assert len(set(ids)) == 1_001
    assert ids == sorted(ids)
    assert between not in ids
    assert await count(ledger_url) == 1_002


def test_plain_code_enqueues_from_any_thread_and_closes(project: Path, tmp_path: Path) -> None:
    before = set(threading.enumerate())
    onward = Onward.from_settings(project)
    found: list[str] = []
    with onward.sync:
        given = workload.noted.job(folder=str(tmp_path))
        calls = [threading.Thread(target=lambda: found.append(onward.sync.enqueue(given))) for _ in range(4)]
        for call in calls:
            call.start()
        for call in calls:
            call.join()
        found += onward.sync.enqueue_many([given, given], run_at=FAR)
        with pytest.raises(TimeoutError):
            onward.sync.result(found[0], timeout=timedelta(seconds=0.05))
    assert len(set(found)) == 6
    assert {thread.name for thread in set(threading.enumerate()) - before} <= set()
    assert onward.sync.enqueue(given)  # it opens again
    onward.sync.close()
    onward.sync.close()


def test_a_close_ends_the_calls_of_other_threads(tmp_path: Path, sqlite_ledger: str) -> None:
    """The loop that they wait for has stopped, and with it the timers of their timeouts."""
    sync = Onward.from_settings(write_settings(tmp_path, sqlite_ledger)).sync
    job_id = sync.enqueue(workload.noted.job(folder=str(tmp_path)), run_at=FAR)
    errors: list[Exception] = []

    def wait() -> None:
        try:
            sync.result(job_id, timeout=LONG)
        except Exception as error:  # noqa: BLE001 - for the test's thread
            errors.append(error)

    waiter = threading.Thread(target=wait, daemon=True)
    waiter.start()
    opened = sync._open()
    wait_until(lambda: opened.enqueuer._changes._jobs.get(job_id))
    sync.close()
    waiter.join(30)
    assert [type(error) for error in errors] == [Unavailable]
    assert "close onward.sync after the last call" in str(errors[0])
    with pytest.raises(Unavailable, match="was closed"):
        opened.run(opened.enqueuer.result(job_id))  # it had opened before the close, and began after it


async def test_the_end_of_the_block_ends_waits_for_a_result_and_for_output(project: Path, tmp_path: Path) -> None:
    """Nothing would wake them."""
    opened = Onward.from_settings(project)
    async with opened, asyncio.timeout(LONG.total_seconds()):
        job_id = await opened.enqueue(workload.noted.job(folder=str(tmp_path)), run_at=FAR)
        chunks = opened.output(job_id)
        waits = [asyncio.ensure_future(opened.result(job_id)), asyncio.ensure_future(anext(chunks))]
        enqueuer = opened._open()
        await until(lambda: len(enqueuer._changes._jobs.get(job_id, ())) == 2)
    for wait in waits:
        with pytest.raises(Unavailable):
            await asyncio.wait_for(wait, LONG.total_seconds())


def test_a_fork_may_open_while_another_thread_of_its_parent_does(project: Path) -> None:
    sync = Onward.from_settings(project).sync
    with sync._opening:
        if (pid := os.fork()) == 0:
            signal.signal(signal.SIGALRM, signal.SIG_DFL)
            signal.alarm(30)  # a process that hangs is ended
            sync.close()  # it takes the lock that an open takes
            os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


async def test_dramatiq_has_the_message_at_once(
    tmp_path: Path, sqlite_ledger: str, redis_url: str, namespace: str
) -> None:
    redis = f'[backends.dramatiq]\nurl = "{redis_url}"\nnamespace = "{namespace}"\n'
    project = write_settings(tmp_path, sqlite_ledger, f'backend = "dramatiq"\n{redis}')
    async with Onward.from_settings(project) as onward:
        await onward.enqueue(workload.noted.job(folder=str(tmp_path)))
        await onward.enqueue_many([workload.noted.job(folder=str(tmp_path))] * 3)
        health = onward._open()._dispatcher.backends["dramatiq"]
        assert (await health.health()).depth == 4


async def test_an_object_that_is_not_open_says_so(project: Path, tmp_path: Path) -> None:
    onward = Onward.from_settings(project)
    with pytest.raises(RuntimeError, match="async with onward"):
        await onward.enqueue(workload.noted.job(folder="x"))
    with pytest.raises(SettingsError, match=r"settings\.toml"):
        Onward.from_settings(tmp_path / "other.toml")
    async with onward:
        with pytest.raises(RuntimeError, match="open already"):
            await onward.__aenter__()
        kept = onward._open()
    with pytest.raises(Unavailable):
        await kept._writer.run(lambda tx: tx.now)


async def count(ledger_url: str) -> int:
    database = Database(ledger_url, embedded=True)
    try:
        return int(await database.read(lambda tx: tx.scalar(sa.select(sa.func.count()).select_from(jobs))) or 0)
    finally:
        database.close()


async def test_a_handler_instead_of_its_job_is_refused(onward: Onward) -> None:
    with pytest.raises(TypeError, match=r"HANDLER\.job"):
        await onward.enqueue(workload.noted)  # type: ignore[arg-type]


async def test_settings_may_be_given_in_the_program_and_win(
    tmp_path: Path, ledger_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = write_settings(tmp_path, "sqlite:////proc/no/where.db")
    monkeypatch.setenv("ONWARD_DATABASE__URL", "sqlite:////proc/no/where/else.db")
    async with Onward.from_settings(file, overrides={"database": {"url": ledger_url}}) as onward:
        await onward.enqueue(workload.noted.job(folder=str(tmp_path)))  # the file's other keys stay
    assert await count(ledger_url) == 1
    for wrong, words in (({"databse": {}}, "databse"), ({"project": "."}, "project is not a setting")):
        with pytest.raises(SettingsError, match=words):
            Onward.from_settings(file, overrides=wrong)


def test_plain_code_may_open_the_ledger_inside_a_transaction_that_has_written(
    sqlite_ledger: str, tmp_path: Path
) -> None:
    """On SQLite that transaction holds the file's only lock, for which the opening must not wait."""
    onward = Onward.from_settings(write_settings(tmp_path, sqlite_ledger))
    with onward.sync:
        onward.sync.enqueue(workload.noted.job(folder=str(tmp_path)))  # the ledger has its id
    with closing(sqlite3.connect(sqlite_ledger.removeprefix("sqlite:///"))) as mine:
        mine.execute("CREATE TABLE mine (name TEXT)")
        mine.execute("INSERT INTO mine VALUES ('held')")
        try:
            onward.sync.enqueue(workload.noted.job(folder=str(tmp_path)), session=mine)
            mine.commit()
        finally:
            onward.sync.close()
        assert mine.execute("SELECT count(*) FROM onward_jobs").fetchone() == (2,)
