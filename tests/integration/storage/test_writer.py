"""The writer: one durable commit for simultaneous functions, whose failures stay their own."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
import structlog

from database import users
from onward.jobs import ledger
from onward.storage import ledger_outage, lock_order
from onward.storage.base import DiskFull, Unavailable
from onward.storage.counters import FIGURES
from onward.storage.engine import Database
from onward.storage.lock_order import ALONE, LAST, PROCESSES, ROWS
from onward.storage.tables import meta
from onward.storage.transaction import Tx
from onward.storage.writer import Grouped, Writer
from tests.ledgers import writing

_put = sa.insert(meta).values(name=sa.bindparam("name_"), value=sa.bindparam("value_"))
_all = sa.select(meta.c.name)
_counts = sa.text("SELECT owner, status, n FROM _ledger.counts ORDER BY owner, status")
_figures = sa.text("SELECT data FROM _ledger.figures")


def put(tx: Tx, name: str) -> int:
    """Insert a row; return the number of its commit."""
    tx.execute(_put, name_=name, value_="")
    return tx.change


def names(database: Database) -> set[str]:
    return {row[0] for row in database.read_sync(lambda tx: tx.all(_all))}


def fill(tx: Tx) -> None:
    """Let the writer's connection find the disk full, until it is opened again."""
    tx.raw("PRAGMA max_page_count = 1")


class Held:
    """Block the writer inside a transaction function, so that later requests arrive together."""

    def __init__(self, writer: Writer) -> None:
        self._entered, self._go = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=writer.run_sync, args=(self._wait,))

    def _wait(self, _tx: Tx) -> None:
        self._entered.set()
        assert self._go.wait(10)

    def __enter__(self) -> None:
        self._thread.start()
        assert self._entered.wait(10)

    def __exit__(self, *_: object) -> None:
        self._go.set()
        self._thread.join(10)


async def together(writer: Writer, *functions: Callable[[Tx], object]) -> list[object]:
    """Return the results and exceptions of functions that were submitted while the writer was busy."""
    with Held(writer):
        waiting = [asyncio.create_task(writer.run(function)) for function in functions]
        await asyncio.sleep(0)  # each task submits its function
    return list(await asyncio.gather(*waiting, return_exceptions=True))


@pytest.mark.parametrize("ahead_s", [0, 3_600, -3_600])
def test_a_transaction_knows_how_far_the_process_s_clock_is_from_the_ledger_s(
    writer: Writer, monkeypatch: pytest.MonkeyPatch, ahead_s: int
) -> None:
    """Log lines are dated by it."""
    real = time.time_ns
    monkeypatch.setattr(time, "time_ns", lambda: real() + ahead_s * 10**9)
    shift = writer.run_sync(lambda tx: tx.clock_shift)
    assert abs(shift + ahead_s * 1_000_000) < 60_000_000


async def test_an_urgent_function_waits_for_one_separate_transaction_at_most(
    writer: Writer,
) -> None:
    """A heartbeat comes between the batches of a bulk retry, however many of them wait."""
    seen: list[str] = []

    def alone(tx: Tx) -> None:
        seen.append("alone")
        if len(seen) == 1:
            beat = partial(writer.run_sync, lambda _: seen.append("heartbeat"), PROCESSES, urgent=True)
            thread = threading.Thread(target=beat)
            thread.start()
            beats.append(thread)
            assert writer_has_urgent.wait(10)

    beats: list[threading.Thread] = []
    writer_has_urgent = threading.Event()
    put_ = writer._put

    def noticed(request: Any, *, urgent: bool = False) -> None:
        put_(request, urgent=urgent)
        if urgent:
            writer_has_urgent.set()

    writer._put = noticed  # type: ignore[method-assign]
    with Held(writer):
        waiting = [asyncio.create_task(writer.run(alone, ALONE)) for _ in range(5)]
        await asyncio.sleep(0)
    await asyncio.gather(*waiting)
    beats[0].join(10)
    assert seen.index("heartbeat") == 1


async def test_transaction_functions_that_arrive_together_share_one_commit(writer: Writer) -> None:
    """Fifty functions have one commit number."""
    found = await together(writer, *(lambda tx, n=n: put(tx, f"n{n}") for n in range(50)))
    assert len(set(found)) == 1
    assert len(names(writer.database)) == 50


async def test_an_answered_write_is_committed(writer: Writer, ledger_url: str) -> None:
    """Another connection sees it as soon as `run` returns."""
    other = Database(ledger_url)
    for n in range(20):
        await writer.run(lambda tx, n=n: put(tx, f"n{n}"))  # type: ignore[misc]
        assert f"n{n}" in names(other)
    other.close()


async def test_an_exception_in_a_transaction_function_affects_no_other(writer: Writer) -> None:
    """Functions before and after it are written; its caller gets the exception."""

    def fails(tx: Tx) -> None:
        put(tx, "half")
        raise ValueError("mine")

    found = await together(writer, lambda tx: put(tx, "before"), fails, lambda tx: put(tx, "behind"))
    assert isinstance(found[1], ValueError)
    assert found[0] == found[2]
    assert names(writer.database) == {"before", "behind"}


async def test_a_violated_constraint_affects_no_other_transaction_function(writer: Writer) -> None:
    """PostgreSQL's errors spoil a whole transaction, and still the other functions are written."""
    await writer.run(lambda tx: put(tx, "taken"))
    found = await together(writer, lambda tx: put(tx, "a"), lambda tx: put(tx, "taken"), lambda tx: put(tx, "b"))
    assert type(found[1]).__name__ in ("IntegrityError", "UniqueViolation")
    assert names(writer.database) == {"taken", "a", "b"}


async def test_rows_inserted_together_are_visible_afterwards_and_affect_no_others(writer: Writer) -> None:
    insert = sa.insert(meta)

    def add(tx: Tx, name: str) -> None:
        tx.insert(insert, {"name": name, "value": ""})

    def add_and_raise(tx: Tx) -> None:
        add(tx, "half")
        raise ValueError("mine")

    def add_and_look(tx: Tx) -> set[str]:
        add(tx, "seen")
        return {row[0] for row in tx.all(_all)}

    many = [lambda tx, n=n: add(tx, f"n{n}") for n in range(20)]
    found = await together(writer, *many, lambda tx: add(tx, "n3"), add_and_raise, add_and_look)
    assert [type(error).__name__ for error in found[20:22]] in (
        ["IntegrityError", "ValueError"],
        ["UniqueViolation", "ValueError"],
    )
    assert found[:20] == [None] * 20
    assert found[22] == names(writer.database) == {*(f"n{n}" for n in range(20)), "seen"}
    await together(writer, *(lambda tx, n=n: add(tx, f"m{n}") for n in range(20)))
    assert {f"m{n}" for n in range(20)} < names(writer.database)


async def test_a_single_transaction_function_that_raises_leaves_nothing(writer: Writer) -> None:
    def fails(tx: Tx) -> None:
        put(tx, "half")
        raise ValueError("mine")

    with pytest.raises(ValueError, match="mine"):
        await writer.run(fails)
    await writer.run(lambda tx: put(tx, "whole"))
    assert names(writer.database) == {"whole"}


async def test_counters_change_only_with_committed_rows(writer: Writer) -> None:
    """Each function counts once, although a batch with a failing one is run twice."""

    def counts(tx: Tx) -> None:
        tx.count("ann", "QUEUED", 2)
        tx.move("ann", "QUEUED", "RUNNING", ("some", 1))

    def fails(tx: Tx) -> None:
        tx.count("ann", "QUEUED", 100)
        tx.move("ann", "QUEUED", "RUNNING", ("some", 1))
        raise ValueError("mine")

    await together(writer, counts, fails, counts)
    found = {(row[0], row[1]): row[2] for row in writer.database.read_sync(lambda tx: tx.all(_counts))}
    assert found == dict.fromkeys([("", "QUEUED"), ("", "RUNNING"), ("ann", "QUEUED"), ("ann", "RUNNING")], 2)
    (figures,) = writer.database.read_sync(lambda tx: tx.all(_figures))
    assert json.loads(figures[0]) == [["some", 1, 2]]


@pytest.mark.parametrize("alone", [True, False])
@pytest.mark.parametrize("wrong", ["taken", "too large", "half a character"])
async def test_a_last_row_that_is_refused_at_the_commit_is_its_own_functions_error(
    writer: Writer, wrong: str, *, alone: bool
) -> None:
    """The row is buffered, and goes with the commit; the functions beside it are written, without an outage."""

    def insert(tx: Tx, at: object, data: object = "[]") -> None:
        tx.insert(FIGURES, {"at": at, "data": data})

    def taken(tx: Tx) -> None:
        insert(tx, None)  # it may not be null

    def too_large(tx: Tx) -> None:
        insert(tx, 2**70)

    def half(tx: Tx) -> None:
        insert(tx, 1, "\ud800")

    def right(tx: Tx) -> None:
        insert(tx, 7)

    function = {"taken": taken, "too large": too_large, "half a character": half}[wrong]
    found = await together(writer, *([] if alone else [right]), function)
    assert isinstance(found[-1], Exception)
    assert not isinstance(found[-1], Unavailable)
    assert found[:-1] == [None] * (not alone)
    assert not writer.failing
    assert len(writer.database.read_sync(lambda tx: tx.all(_figures))) == (not alone)


async def test_moves_of_a_part_that_is_undone_are_not_counted(writer: Writer) -> None:
    def function(tx: Tx) -> int:
        tx.move("ann", "QUEUED", "RUNNING", ("some", 1))
        with suppress(ValueError), tx.part():
            tx.move("ann", "QUEUED", "RUNNING", ("some", 1))
            raise ValueError
        tx.move("ann", "RUNNING", "SUCCEEDED", ("some", 2))
        return ledger.count_open(tx, "ann")

    assert await writer.run(function) == -1
    found = {(row[0], row[1]): row[2] for row in writer.database.read_sync(lambda tx: tx.all(_counts))}
    assert {key[1]: n for key, n in found.items() if key[0] == "ann" and n} == {"QUEUED": -1, "SUCCEEDED": 1}
    (figures,) = writer.database.read_sync(lambda tx: tx.all(_figures))
    assert json.loads(figures[0]) == [["some", 1, 1], ["some", 2, 1]]


class Kind:
    """A function for many requests that puts their names, or refuses, and what it was called with."""

    def __init__(self, refused: str = "") -> None:
        self.refused = refused
        self.called: list[list[str]] = []

    def each(self, tx: Tx, names: Sequence[str]) -> list[int]:
        self.called.append([*names])
        found = [put(tx, name) for name in names]
        if self.refused in names:
            raise ValueError(self.refused)
        return found

    def one(self, tx: Tx, name: str) -> str:
        put(tx, name)
        if name == self.refused:
            raise ValueError(name)
        return f"{name} alone"


async def in_kinds(writer: Writer, *requests: tuple[Kind, str]) -> list[object]:
    """Return the results and exceptions of requests that came together, each of a kind and with a name."""
    with Held(writer):
        waiting = [
            asyncio.create_task(
                writer.run(partial(kind.one, name=name), lock_order.job(name), Grouped(kind.each, name))
            )
            for kind, name in requests
        ]
        await asyncio.sleep(0)
    return list(await asyncio.gather(*waiting, return_exceptions=True))


async def test_requests_of_one_kind_run_together(writer: Writer) -> None:
    """Each gets its own result; one that is alone runs by itself."""
    kind, other = Kind(), Kind()
    found = await in_kinds(writer, (kind, "a"), (kind, "c"), (other, "b"), (kind, "d"))
    assert found[2] == "b alone"
    assert (kind.called, other.called) == ([["a", "c", "d"]], [])
    assert len({found[0], found[1], found[3]}) == 1
    assert {"a", "b", "c", "d"} <= names(writer.database)


async def test_requests_that_cannot_run_together_run_by_themselves(writer: Writer) -> None:
    kind = Kind(refused="b")
    found = await in_kinds(writer, (kind, "a"), (kind, "b"), (kind, "c"))
    assert (found[0], found[2], type(found[1])) == ("a alone", "c alone", ValueError)
    assert names(writer.database) & {"a", "b", "c"} == {"a", "c"}


async def test_jobs_are_locked_in_order_before_requests_of_other_kinds_are_passed(
    writer: Writer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two transactions that take the same jobs in opposite orders would wait for each other on PostgreSQL."""
    seen: list[bool] = []
    monkeypatch.setattr(writer._connection, "lock_jobs", lambda _tx, _batch, *, in_order: seen.append(in_order))
    kind, other = Kind(), Kind()
    await in_kinds(writer, (kind, "a"), (kind, "b"), (other, "c"), (other, "d"))
    await in_kinds(writer, (kind, "e"), (other, "f"), (kind, "g"))
    await in_kinds(writer, (kind, "h"), (other, "i"))
    assert [one for one in seen if not one] == [False]


async def test_a_request_of_the_same_job_as_the_one_before_stays_behind_it(writer: Writer) -> None:
    """Like the end of a job behind its progress."""
    kind, seen = Kind(), list[str]()

    def progress(_tx: Tx) -> None:
        seen.extend(name for names in kind.called for name in names)

    with Held(writer):
        waiting = [
            asyncio.create_task(
                writer.run(partial(kind.one, name=name), lock_order.job(name), Grouped(kind.each, name))
            )
            for name in "ac"
        ]
        await asyncio.sleep(0)
        waiting.append(asyncio.create_task(writer.run(progress, lock_order.job("b"))))
        await asyncio.sleep(0)
        last = asyncio.create_task(
            writer.run(partial(kind.one, name="b"), lock_order.job("b"), Grouped(kind.each, "b"))
        )
        await asyncio.sleep(0)
    await asyncio.gather(*waiting)
    assert await last == "b alone"
    assert seen == ["a", "c"]


async def test_jobs_are_locked_after_the_rows_of_lower_rank(writer: Writer, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []
    monkeypatch.setattr(writer._connection, "lock_jobs", lambda *_, **__: seen.append("lock"))
    with Held(writer):
        waiting = [
            asyncio.create_task(writer.run(lambda _, name=name: seen.append(name), order))  # type: ignore[misc]
            for name, order in (("job", lock_order.job("a")), ("row", ROWS), ("last", LAST))
        ]
        await asyncio.sleep(0)
    await asyncio.gather(*waiting)
    assert seen[-4:] == ["row", "lock", "job", "last"]


async def test_what_waits_for_a_commit_runs_once_and_for_committed_functions_alone(writer: Writer) -> None:
    """A function that shares a commit with one that raises runs again."""
    runs: list[str] = []
    ran: list[str] = []

    def does(tx: Tx, name: str, *, fails: bool = False) -> None:
        runs.append(name)
        with suppress(ValueError), tx.part():
            tx.once_committed.append(partial(ran.append, "undone"))
            raise ValueError
        tx.once_committed.append(partial(ran.append, name))
        assert name not in ran
        if fails:
            raise KeyError(name)

    answers = await together(writer, *(partial(does, name=name, fails=name == "b") for name in "abc"))
    assert [type(answer) for answer in answers] == [type(None), KeyError, type(None)]
    assert runs.count("a") > 1
    assert ran == ["a", "c"]


async def test_a_posted_transaction_function_is_written_without_a_waiting_caller(writer: Writer) -> None:
    """The function is written within half a second, or with the next commit."""
    writer.post(lambda tx: put(tx, "later"))
    async with asyncio.timeout(2):
        while "later" not in names(writer.database):
            await asyncio.sleep(0.01)


async def test_an_exception_in_a_posted_transaction_function_affects_no_other(writer: Writer) -> None:
    """A write requested in the same commit is written."""

    def fails(_tx: Tx) -> None:
        raise ValueError("nobody hears it")

    writer.post(fails)
    await writer.run(lambda tx: put(tx, "asked for"))
    assert names(writer.database) == {"asked for"}


async def test_a_cancelled_caller_affects_no_other(writer: Writer) -> None:
    """A cancelled `run` may be written or not; the other one is."""
    with Held(writer):
        given_up = asyncio.ensure_future(writer.run(lambda tx: put(tx, "given up")))
        waiting = asyncio.ensure_future(writer.run(lambda tx: put(tx, "kept")))
        await asyncio.sleep(0)
        given_up.cancel()
    await waiting
    assert "kept" in names(writer.database)


def test_closing_a_writer_writes_all_pending_requests(ledger_url: str) -> None:
    """Later requests are refused."""
    with writing(ledger_url) as writer:
        threads = [threading.Thread(target=writer.run_sync, args=(lambda tx, n=n: put(tx, f"n{n}"),)) for n in range(9)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        writer.close()
        writer.close()
        assert len(names(writer.database)) == 9
        with pytest.raises(Unavailable):
            writer.run_sync(lambda tx: put(tx, "too late"))


def test_a_write_during_the_close_is_answered(ledger_url: str) -> None:
    """The write is made or refused; no caller waits for ever."""
    with writing(ledger_url) as writer:
        answers: list[str] = []

        def knock(n: int) -> None:
            for i in range(10_000):
                try:
                    writer.run_sync(lambda tx: put(tx, f"n{n}.{i}"))  # noqa: B023
                except Unavailable:
                    answers.append("refused")
                    return

        threads = [threading.Thread(target=knock, args=(n,), daemon=True) for n in range(8)]
        for thread in threads:
            thread.start()
        writer.close()
        for thread in threads:
            thread.join(5)
        assert answers == ["refused"] * 8


async def test_all_functions_of_a_commit_see_the_same_time(writer: Writer) -> None:
    """The time comes from the ledger's clock, and is close to this machine's."""
    import time

    found = await together(writer, lambda tx: tx.now, lambda tx: tx.now)
    assert found[0] == found[1]
    assert isinstance(found[0], int)
    assert abs(found[0] / 1_000_000 - time.time()) < 30


async def test_ids_grow_in_the_order_of_commits(writer: Writer) -> None:
    """A page ordered by id is therefore ordered by time."""
    found = [await writer.run(lambda tx: [tx.new_id("job") for _ in range(3)]) for _ in range(20)]
    ids = [one for three in found for one in three]
    assert ids == sorted(set(ids))


async def test_writers_of_two_processes_work_together(ledger_url: str) -> None:
    """Two parallel writers write two hundred functions."""
    with writing(ledger_url) as one, writing(ledger_url) as two:
        await asyncio.gather(
            *(w.run(lambda tx, n=n, k=k: put(tx, f"{k}-{n}")) for n in range(100) for k, w in enumerate((one, two)))  # type: ignore[misc]
        )
        assert len(names(one.database)) == 200


async def test_one_of_two_simultaneous_registrations_gets_the_name(ledger_url: str) -> None:
    """Two processes register the same name; one gets it, and the other a Taken that names the field."""
    with writing(ledger_url) as one, writing(ledger_url) as two:
        for n in range(10):
            found = await asyncio.gather(
                one.run(lambda tx, n=n: users.add(tx, username=f"Ann{n}", email=f"a{n}@example.org")),  # type: ignore[misc]
                two.run(lambda tx, n=n: users.add(tx, username=f"ANN{n}", email=f"b{n}@example.org")),  # type: ignore[misc]
                return_exceptions=True,
            )
            (refused,) = [one for one in found if isinstance(one, users.Taken)]
            assert refused.fields == ("username",)
            assert sum(isinstance(one, users.User) for one in found) == 1


def test_an_outage_is_logged_once_with_a_count_and_its_end(
    sqlite_ledger: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = Path(sqlite_ledger.removeprefix("sqlite:///"))
    with structlog.testing.capture_logs() as lines, writing(sqlite_ledger, timeout_s=0.1) as writer:
        writer.run_sync(lambda tx: put(tx, "before"))
        file.rename(tmp_path / "away.db")
        for _ in range(5):
            with pytest.raises(Unavailable):
                writer.run_sync(lambda tx: put(tx, "refused"))
        assert [line["requests"] for line in lines if line["event"] == "ledger not written"] == [1]
        monkeypatch.setattr(ledger_outage, "LOG_EVERY_S", 0)
        with pytest.raises(Unavailable):
            writer.run_sync(lambda tx: put(tx, "refused"))
        assert [line["requests"] for line in lines if line["event"] == "ledger not written"] == [1, 5]
        (tmp_path / "away.db").rename(file)
        writer.run_sync(lambda tx: put(tx, "after"))
        assert [line["refused"] for line in lines if line["event"] == "ledger written again"] == [6]


def test_a_full_disk_has_an_error_of_its_own(sqlite_ledger: str) -> None:
    with writing(sqlite_ledger, timeout_s=0.1) as writer:
        writer.run_sync(fill)
        with pytest.raises(DiskFull, match="the ledger's disk is full, and nothing was written: free some space"):
            writer.run_sync(lambda tx: tx.execute(_put, name_="big", value_="x" * 1_000_000))
        assert writer.disk_is_full
        writer.run_sync(lambda tx: put(tx, "after"))
        assert not writer.disk_is_full
