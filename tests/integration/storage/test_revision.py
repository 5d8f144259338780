"""The number that shows a process, without reading the ledger, that nothing has changed."""

from __future__ import annotations

import asyncio
import os
import random
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from onward.jobs import ledger
from onward.jobs.leases import Lease
from onward.jobs.model import NewJob
from onward.jobs.position import Snapshot
from onward.jobs.timings import Timings
from onward.storage import file_watch
from onward.storage import revision as looks
from onward.storage.engine import Database
from onward.storage.lock_order import LAST, PROCESSES
from onward.storage.postgresql import PostgreSQL, without
from onward.storage.revision import Revision, RevisionOfOthers
from onward.storage.tables import runners
from onward.storage.transaction import Tx
from onward.telemetry.metrics import Metrics
from onward.testing.waiting import until
from tests.ledgers import writing

NEVER_S = 3600.0


COUNT = 'UPDATE "_ledger.commits" SET n = n + 1'


def in_another_process(database: Database, statement: str) -> None:
    """Run a statement on the ledger's file, whose tables have their own names there."""
    program = "import sqlite3, sys; sqlite3.connect(sys.argv[1], isolation_level=None).execute(sys.argv[2])"
    subprocess.run([sys.executable, "-c", program, str(database.path), database.named(statement)], check=True)


def accept(tx: Tx) -> None:
    ledger.accept(
        tx, NewJob("item.process", "background", params="{}", params_version=1, steps='[{"n": "one"}]', max_attempts=1)
    )


def refuse(tx: Tx) -> None:
    accept(tx)
    tx.flush()
    raise ValueError("of mine")


def descriptors() -> int:
    return sum(1 for _ in Path("/dev/fd").iterdir())


async def counter(database: Database) -> int:
    found = await database.read(lambda tx: tx.scalar(sa.select(runners.c.beat)))
    assert isinstance(found, int)
    return found


async def known(revision: Revision | RevisionOfOthers) -> None:
    """Wait until the revision has a number: its connection is opened in another thread."""
    revision.has_changed()
    await until(lambda: not revision.has_changed())


async def test_only_commits_of_others_wake_a_process(sqlite_ledger: str) -> None:
    """A function that is refused, a transaction that writes nothing, and a heartbeat change nothing about it."""
    with writing(sqlite_ledger) as writer, writing(sqlite_ledger) as other:
        revision = RevisionOfOthers(writer.database)
        assert revision.has_changed()  # nothing is known yet
        await writer.run(accept)
        await known(revision)
        for _ in range(3):
            await writer.run(accept)
            assert not revision.has_changed()
        with pytest.raises(ValueError, match="of mine"):
            await writer.run(refuse)
        await writer.run(lambda _: None)
        revision.has_changed()  # it may say so once: a number was given back
        await writer.run(accept)
        assert not revision.has_changed()
        await other.run(accept)
        assert revision.has_changed()
        assert not revision.has_changed()
        await other.run(accept)
        await writer.run(accept)
        assert revision.has_changed()
        assert not revision.has_changed()


@pytest.mark.parametrize("seed", range(20))
async def test_no_commit_of_another_is_missed_in_any_order(sqlite_ledger: str, seed: int) -> None:
    with writing(sqlite_ledger) as writer, writing(sqlite_ledger) as other:
        revision = RevisionOfOthers(writer.database)
        await writer.run(accept)
        await known(revision)
        chance = random.Random(seed)
        missed = False
        for _ in range(60):
            match chance.choice(["mine", "refused", "other", "beat", "look", "look"]):
                case "mine":
                    await writer.run(accept)
                case "refused":
                    with suppress(ValueError):
                        await writer.run(refuse)
                case "other":
                    await other.run(accept)
                    missed = True
                case "beat":
                    await writer.run(lambda tx: tx.execute(sa.update(runners).values(beat=runners.c.beat)), PROCESSES)
                case "look":
                    assert revision.has_changed() or not missed
                    missed = False


async def test_a_commit_changes_the_revision_and_a_read_does_not(sqlite_ledger: str) -> None:
    with writing(sqlite_ledger) as writer:
        revision = Revision(writer.database, NEVER_S)
        assert revision.has_changed()  # nothing is known yet
        await known(revision)
        await writer.database.read(Snapshot.of)
        await writer.run(Snapshot.of)  # a transaction that writes nothing is no commit
        assert not revision.has_changed()
        await writer.run(accept)  # by another connection of this process
        assert [revision.has_changed(), revision.has_changed()] == [True, False]
        revision.forget()
        assert [revision.has_changed(), revision.has_changed()] == [True, False]


async def test_the_thread_that_asks_opens_no_connection(sqlite_ledger: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The thread runs the event loop, and opening a connection may wait for a lock."""
    with writing(sqlite_ledger) as writer:
        connect, threads = writer.database.driver.connect, list[int]()

        def noted() -> Any:
            threads.append(threading.get_ident())
            return connect()

        monkeypatch.setattr(writer.database.driver, "connect", noted)
        await known(Revision(writer.database, NEVER_S))
        assert len(threads) == 1
        assert threads[0] != threading.get_ident()


async def test_the_revision_changes_with_commits_of_other_processes(sqlite_ledger: str) -> None:
    with writing(sqlite_ledger) as writer:
        revision = Revision(writer.database, NEVER_S)
        await known(revision)
        await asyncio.to_thread(in_another_process, writer.database, "CREATE TABLE t (a)")
        assert not revision.has_changed()  # a table of somebody else's, in the same file
        await asyncio.to_thread(in_another_process, writer.database, COUNT)
        assert [revision.has_changed(), revision.has_changed()] == [True, False]


async def test_heartbeats_alone_are_no_change(sqlite_ledger: str) -> None:
    """The processes of an idle ledger do not wake each other."""
    with writing(sqlite_ledger) as writer:
        revision = Revision(writer.database, NEVER_S)
        await known(revision)
        lease = Lease(writer, Metrics(), name="a process", on_lost=lambda: None, timings=Timings(heartbeat_s=0.02))
        lease.start()  # it registers
        try:
            before = await counter(writer.database)
            await until(revision.has_changed)
            await known(revision)
            while await counter(writer.database) < before + 3:
                await asyncio.sleep(0.01)
            assert not revision.has_changed()
        finally:
            await asyncio.to_thread(lease.close)
        await until(revision.has_changed)  # it is gone


async def test_a_process_on_postgresql_knows_its_own_heartbeats(postgres_ledger: str) -> None:
    """Transactions of heartbeats alone are remembered, and no others."""
    with writing(postgres_ledger) as writer:
        driver = writer.database.driver
        assert isinstance(driver, PostgreSQL)
        for order, known in ((PROCESSES, True), (LAST, False)):
            number = await writer.run(lambda tx: tx.change, order)
            assert (number in driver._heartbeats) is known


@pytest.mark.parametrize(
    ("snapshot", "found"),
    [
        (b"10:10:", (10, 10, b"")),  # before
        (b"12:12:", (10, 10, b"")),  # after heartbeats
        (b"13:13:", (13, 13, b"")),  # another one after them
        (b"9:12:9", (9, 10, b"9")),  # while another one is open
    ],
)
def test_a_snapshot_is_read_as_if_the_newest_heartbeats_had_not_been(
    snapshot: bytes, found: tuple[int, int, bytes]
) -> None:
    assert without(snapshot, {10, 11}) == found


@pytest.mark.parametrize("system", ["reports writes", "reports nothing"])
async def test_a_watcher_is_called_after_commits_of_any_process(
    sqlite_ledger: str, system: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a system that reports writes, the watch looks at nothing while there are none."""
    if system == "reports nothing":
        monkeypatch.setattr(file_watch, "_open_inotify", lambda _: None)
    with writing(sqlite_ledger) as writer:
        await known(Revision(writer.database, NEVER_S))
        called: list[None] = []
        ends = [writer.database.watch(lambda: called.append(None)) for _ in range(2)]
        await writer.run(accept)
        await until(lambda: len(called) == 2)
        ends[0]()
        await asyncio.to_thread(in_another_process, writer.database, COUNT)
        await until(lambda: len(called) == 3)
        watch = writer.database._file_watch
        assert watch is not None
        if watch._events is not None:  # on Linux
            await until(lambda: watch._timer is None)
        ends[1]()
        before = descriptors()
        writer.database.watch(lambda: None)()
        assert descriptors() == before


def test_a_ledger_without_a_revision_is_always_read(postgres_ledger: str) -> None:
    with writing(postgres_ledger) as writer:
        revision = Revision(writer.database, NEVER_S)
        assert [revision.has_changed(), revision.has_changed()] == [True, True]


def test_a_ledger_that_cannot_be_opened_has_no_revision(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path / 'is a folder'}")
    (tmp_path / "is a folder").mkdir()
    assert database.revision() is None
    database.close()
    assert database.revision() is None


async def test_an_answer_that_does_not_come_leaves_no_revision(
    postgres_ledger: str, anyio_backend: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The network may be cut, and the look waits for it: those who ask read the ledger then."""
    monkeypatch.setattr(looks, "STALE_S", 0.2)
    goes_on = threading.Event()
    database = Database(postgres_ledger)
    read = database.driver.read_revision
    try:
        await until(lambda: database.revision() is not None)
        monkeypatch.setattr(
            database.driver, "read_revision", lambda connection: (goes_on.wait(60), read(connection))[1]
        )
        await until(lambda: database.revision() is None)
        goes_on.set()
        await until(lambda: database.revision() is not None)
    finally:
        goes_on.set()
        database.close()


def test_numbers_of_heartbeats_are_forgotten_with_their_connection(postgres_ledger: str) -> None:
    """A server that has crashed gives those of unfinished transactions out again."""
    with writing(postgres_ledger) as writer:
        driver: Any = writer.database.driver
        writer.run_sync(lambda _tx: None, PROCESSES)
        assert len(driver._heartbeats) == 1
        writer._connection.close()
        writer.run_sync(lambda _tx: None)
        assert not driver._heartbeats


def test_the_thread_looks_more_often_for_those_alone_who_ask_as_often(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A timer that asks four times a second leaves an idle process asleep."""
    now = 100.0
    monkeypatch.setattr(looks, "monotonic", lambda: now)
    database = Database(f"sqlite:///{tmp_path / 'ledger.db'}")
    reader = database._revision
    pauses = []
    for asks in (True, False, True, True, True, False):
        if asks:
            reader.revision()
        pauses.append(reader._pause_s())
        now += pauses[-1]
    database.close()
    idle, busy = looks.WATCH_POLL_S, looks.POLL_S
    assert pauses == [idle, idle, idle, busy, busy, busy]
    assert idle < 0.1 - busy / 2  # the docs promise that an idle server begins a job within a tenth of a second


async def test_a_commit_is_seen_through_a_link_and_after_a_slow_disk(
    sqlite_ledger: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SQLite writes beside the file that the link names; a commit is visible only when the disk has confirmed it."""
    (elsewhere := tmp_path / "elsewhere").mkdir()
    (elsewhere / "link.db").symlink_to(Path(sqlite_ledger.removeprefix("sqlite:///")))
    monkeypatch.setattr(file_watch, "SLOW_SYNC_S", (0.01, 0.01, 0.01))
    with writing(f"sqlite:///{elsewhere / 'link.db'}") as writer:
        await known(Revision(writer.database, NEVER_S))
        called: list[None] = []
        end = writer.database.watch(lambda: called.append(None))
        watch = writer.database._file_watch
        assert watch is not None
        has_changed, looks = watch._revision.has_changed, iter(range(5))  # the first three follow the report
        await until(lambda: watch._revision.has_changed() is False)
        monkeypatch.setattr(watch._revision, "has_changed", lambda: next(looks, None) is None and has_changed())
        await asyncio.to_thread(in_another_process, writer.database, COUNT)
        await until(lambda: len(called) == 1)
        end()


async def test_an_error_of_a_look_does_not_end_the_watch(sqlite_ledger: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with writing(sqlite_ledger) as writer:
        await known(Revision(writer.database, NEVER_S))
        called: list[None] = []

        def changed() -> None:
            called.append(None)
            if len(called) == 1:
                raise RuntimeError("no further thread")

        end = writer.database.watch(changed)
        for n in (1, 2):
            await writer.run(accept)
            await until(lambda n=n: len(called) >= n)  # type: ignore[misc]
        end()


async def test_a_folder_that_is_written_all_the_time_does_not_hold_the_loop(
    sqlite_ledger: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A tracer that writes its log there reports each of the process's own reads."""
    with writing(sqlite_ledger) as writer:
        called: list[None] = []
        end = writer.database.watch(lambda: called.append(None))
        watch = writer.database._file_watch
        assert watch is not None
        if watch._events is not None:  # on Linux
            log = writer.database.path.parent / "trace.log"  # type: ignore[union-attr]
            read, reads = os.read, 0

            def traced(descriptor: int, size: int) -> bytes:
                nonlocal reads
                reads += 1
                with log.open("a") as file:
                    file.write("read")
                if reads > 1_000:
                    raise BlockingIOError
                return read(descriptor, size)

            monkeypatch.setattr(os, "read", traced)
            await asyncio.to_thread(log.write_text, "begun")
            await asyncio.sleep(4 * file_watch.POLL_S)
            assert reads < 1_000
        await writer.run(accept)
        await until(lambda: bool(called))
        end()
