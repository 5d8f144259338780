"""PostgreSQL with cut connections, a commit's lost answer, and deadlocks."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import psycopg
import pytest
import sqlalchemy as sa

from onward.jobs.timings import Timings
from onward.storage.base import DiskFull, Unavailable
from onward.storage.counters import FIGURES
from onward.storage.engine import Database
from onward.storage.tables import meta
from onward.storage.transaction import Tx
from onward.storage.writer import Writer
from tests.integration.storage.test_writer import names, put
from tests.ledgers import accept, writing
from tests.servers import free_port, postgres_server

_update = sa.update(meta).where(meta.c.name == sa.bindparam("name_")).values(value=sa.bindparam("value_"))


def cut(url: str) -> int:
    """Cut every other connection to that database, and return their number."""
    with psycopg.connect(url, autocommit=True) as connection:
        rows = connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        ).fetchall()
    return len(rows)


def test_a_connection_cut_while_idle_is_not_noticed(postgres_ledger: str) -> None:
    """The next transaction function and the next read get new connections."""
    with writing(postgres_ledger) as writer:
        writer.run_sync(lambda tx: put(tx, "before"))
        assert names(writer.database) == {"before"}
        assert cut(postgres_ledger) >= 2
        writer.run_sync(lambda tx: put(tx, "after"))
        cut(postgres_ledger)
        assert names(writer.database) == {"before", "after"}


@pytest.mark.parametrize("code", ["53100", "57014", "53200", "58030"])
def test_an_overloaded_server_is_unavailable(postgres_ledger: str, code: str) -> None:
    """A full disk, a statement timeout, no memory and a failing device are not the fault of a transaction function."""
    raised = sa.text(f"DO $$ BEGIN RAISE EXCEPTION USING ERRCODE = '{code}'; END $$")
    with writing(postgres_ledger) as writer:
        with pytest.raises(Unavailable):
            writer.run_sync(lambda tx: tx.execute(raised))
        writer.run_sync(lambda tx: put(tx, "after"))
        assert names(writer.database) == {"after"}


def test_a_connection_cut_inside_a_transaction_function_is_retried(postgres_ledger: str) -> None:
    """The function is run again, and written once."""
    runs = []

    def function(tx: Tx) -> None:
        put(tx, "once")
        runs.append(tx.change)
        if len(runs) == 1:
            cut(postgres_ledger)

    with writing(postgres_ledger) as writer:
        writer.run_sync(function)
        assert len(runs) == 2
        assert names(writer.database) == {"once"}


@pytest.mark.parametrize("committed", [True, False])
def test_a_commit_with_a_lost_answer_is_looked_up(
    postgres_ledger: str, monkeypatch: pytest.MonkeyPatch, *, committed: bool
) -> None:
    """The function is run again only if there was no commit."""
    runs: list[int] = []
    lost: list[str] = []
    raw = Tx.raw

    def loses_its_answer(tx: Tx, sql: str) -> None:
        if sql == "COMMIT" and not lost:
            lost.append(sql)
            if committed:
                raw(tx, sql)
                with suppress(psycopg.ProgrammingError):  # it has no rows: the server is asked for its answer at once
                    tx.first_row()
            cut(postgres_ledger)
            raw(tx, "SELECT 1")
        raw(tx, sql)

    def function(tx: Tx) -> str:
        runs.append(tx.change)
        put(tx, f"run {len(runs)}")
        tx.count(None, "QUEUED", 1)
        return f"run {len(runs)}"

    with writing(postgres_ledger) as writer:
        writer.run_sync(lambda _tx: None)
        monkeypatch.setattr(Tx, "raw", loses_its_answer)
        found = writer.run_sync(function)
        monkeypatch.undo()
        assert found == ("run 1" if committed else "run 2")
        assert names(writer.database) == {found}
        (row,) = writer.database.read_sync(lambda tx: tx.all(sa.text("SELECT n FROM _ledger.counts")))
        assert row[0] == 1


REFUSE = """
CREATE FUNCTION _ledger.refuse() RETURNS trigger LANGUAGE plpgsql AS
$$BEGIN RAISE EXCEPTION 'refused' USING ERRCODE = '{}'; END$$
"""
REFUSES = "CREATE TRIGGER refuse BEFORE INSERT ON _ledger.figures FOR EACH ROW EXECUTE FUNCTION _ledger.refuse()"


@pytest.mark.parametrize(("state", "error"), [("53100", DiskFull), ("57014", Unavailable)])
def test_the_servers_refusal_of_a_last_row_is_no_lost_answer(
    state: str, error: type[Exception], postgres_ledger: str
) -> None:
    """Nothing was committed, and there is no outcome to look for: the answer comes at once."""
    runs: list[int] = []

    def function(tx: Tx) -> None:
        runs.append(tx.change)
        tx.insert(FIGURES, {"at": 1, "data": "[]"})

    with writing(postgres_ledger) as writer:
        for statement in (REFUSE.format(state), REFUSES):
            writer.run_sync(lambda tx, statement=statement: tx.execute(sa.text(statement)))  # type: ignore[misc]
        with pytest.raises(error):
            writer.run_sync(function)
        assert len(runs) == 1


def test_a_connection_that_cannot_end_what_it_has_sent_together_is_lost(
    postgres_ledger: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A COPY waits for its rows to be read, as the commit does after a server has said that it ends."""
    runs: list[int] = []
    raw = Tx.raw

    def with_a_copy(tx: Tx, sql: str) -> None:
        if sql == "COMMIT" and len(runs) == 1:
            raw(tx, "COPY (SELECT 1) TO STDOUT")
        raw(tx, sql)

    def function(tx: Tx) -> None:
        runs.append(tx.change)
        put(tx, f"run {len(runs)}")

    with writing(postgres_ledger) as writer:
        monkeypatch.setattr(Tx, "raw", with_a_copy)
        writer.run_sync(function)
        assert names(writer.database) == {"run 1"}
        assert len(runs) == 1, "its commit is looked up"


@pytest.mark.parametrize(("function", "waits"), [("statement", 3), ("rows", 2)])
def test_a_commit_waits_for_the_server_as_often_as_it_has_to(
    function: str, waits: int, postgres_ledger: str, tmp_path: Path
) -> None:
    """For its number and time, for each statement of its functions, and for its commit, together with the last rows.

    The server may be far.
    """

    def statement(tx: Tx) -> None:
        put(tx, f"at {tx.now}")
        tx.count(None, "QUEUED", 1)

    chosen: Callable[[Tx], object] = accept if function == "rows" else statement
    with writing(postgres_ledger) as writer, (tmp_path / "sent").open("w") as sent:
        for _ in range(6):  # then its statements are prepared
            writer.run_sync(chosen)
        connection = writer._connection._connection.pgconn
        connection.trace(sent.fileno())
        writer.run_sync(chosen)
        connection.untrace()
    messages = [line.split()[4] for line in (tmp_path / "sent").read_text().splitlines() if "\tF\t" in line]
    assert (messages.count("Sync"), messages.count("Query")) == (waits, 0)


def test_two_deadlocked_writers_both_finish(postgres_ledger: str) -> None:
    """PostgreSQL ends one of them; it is run again, and no caller sees an error."""
    barrier = threading.Barrier(2, timeout=10)
    errors: list[BaseException] = []

    def locking(first: str, then: str) -> Callable[[Tx], None]:
        runs: list[int] = []

        def function(tx: Tx) -> None:
            runs.append(1)
            tx.execute(_update, name_=first, value_=f"{first}{then}")
            if len(runs) == 1:
                barrier.wait()
            tx.execute(_update, name_=then, value_=f"{first}{then}")

        return function

    def run(writer: Writer, function: Callable[[Tx], None]) -> None:
        try:
            writer.run_sync(function)
        except BaseException as error:  # noqa: BLE001 - reported below
            errors.append(error)

    with writing(postgres_ledger) as one, writing(postgres_ledger) as two:
        one.run_sync(lambda tx: put(tx, "a"))
        one.run_sync(lambda tx: put(tx, "b"))
        threads = [
            threading.Thread(target=run, args=(writer, locking(*order)))
            for writer, order in ((one, ("a", "b")), (two, ("b", "a")))
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(20)
        assert errors == []
        rows = one.database.read_sync(lambda tx: tx.all(sa.select(meta.c.value)))
        assert len({row[0] for row in rows}) == 1


def test_a_deadlock_in_one_transaction_function_affects_no_other_of_its_commit(postgres_ledger: str) -> None:
    """A function that PostgreSQL ended is written at the second run, and so are others of its commit."""
    runs = []

    def fails_once(tx: Tx) -> Any:
        runs.append(1)
        put(tx, "again")
        if len(runs) == 1:
            tx.raw("DO $$ BEGIN RAISE EXCEPTION 'as if' USING ERRCODE = '40P01'; END $$")

    with writing(postgres_ledger) as writer:
        writer.post(lambda tx: put(tx, "beside"))
        writer.run_sync(fails_once)
        assert names(writer.database) == {"beside", "again"}


@pytest.mark.slow
def test_an_absent_server_is_reported_and_its_return_is_noticed() -> None:
    """Writes and reads raise Unavailable within their timeout, and work again later."""
    port = free_port()
    database = Database(f"postgresql://onward@127.0.0.1:{port}/postgres")
    with writing(f"postgresql://onward@127.0.0.1:{port}/postgres", timeout_s=0.5) as writer:
        with pytest.raises(Unavailable):
            writer.run_sync(lambda _tx: None)
        with pytest.raises(Unavailable):
            database.read_sync(lambda tx: tx.now)
        with postgres_server(port=port) as server:
            with psycopg.connect(server.url) as connection:
                connection.execute("CREATE SCHEMA onward")
                connection.execute("CREATE TABLE onward.marks (writer text PRIMARY KEY, mark text NOT NULL)")
                connection.execute("CREATE TABLE onward.gates ()")
            assert writer.run_sync(lambda tx: tx.change) > 0
            assert database.read_sync(lambda tx: tx.now) > 0
    database.close()


def test_an_absent_server_is_tried_less_and_less_often(monkeypatch: pytest.MonkeyPatch) -> None:
    """An outage costs each process a few connections a second; at first it is tried at once, as after a deadlock."""
    tried: list[float] = []
    connect = psycopg.connect

    def counted(*arguments: Any, **named: Any) -> Any:
        tried.append(time.monotonic())
        return connect(*arguments, **named)

    monkeypatch.setattr(psycopg, "connect", counted)
    absent = f"postgresql://127.0.0.1:{free_port()}/nothing"
    with writing(absent, timeout_s=2.0) as writer, pytest.raises(Unavailable):
        writer.run_sync(lambda tx: put(tx, "a"))
    assert 3 <= len(tried) <= 30, "a pause of 20 ms at most would make some two hundred of them"


def test_a_commit_is_synced(postgres_ledger: str) -> None:
    """`synchronous_commit` is on, whatever the server's default."""
    with psycopg.connect(postgres_ledger, autocommit=True) as connection:
        connection.execute("ALTER DATABASE " + connection.info.dbname + " SET synchronous_commit = off")
    with writing(postgres_ledger) as writer:
        assert writer.run_sync(lambda tx: tx.one(sa.text("SHOW synchronous_commit"))) == ("on",)


@pytest.mark.slow
def test_a_transaction_of_a_process_that_stands_still_ends_before_the_process_is_taken_for_dead(
    postgres_ledger: str,
) -> None:
    """The locks would delay the rescue of the jobs; the function is run again if the process goes on."""
    runs = []

    def stands_still(tx: Tx) -> None:
        put(tx, "once")
        runs.append(tx.now)
        if len(runs) == 1:
            time.sleep(Timings().lease_timeout_s - 0.5)

    with writing(postgres_ledger, timeout_s=20.0) as writer:
        thread = threading.Thread(target=writer.run_sync, args=(stands_still,))
        thread.start()
        with psycopg.connect(postgres_ledger, autocommit=True) as other:
            while not runs:
                time.sleep(0.01)
            began = time.monotonic()
            other.execute("INSERT INTO onward.meta (name, value) VALUES ('once', 'other') ON CONFLICT DO NOTHING")
            assert time.monotonic() - began < Timings().lease_timeout_s - 1
            other.execute("DELETE FROM onward.meta WHERE name = 'once'")
        thread.join(20)
        assert (len(runs), names(writer.database)) == (2, {"once"})
