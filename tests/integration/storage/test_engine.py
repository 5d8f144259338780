"""Connections, ids, statements, and the small tables beside the jobs."""

from __future__ import annotations

import copy
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psycopg
import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy.dialects.postgresql import JSONB

from database import users
from database.items import ItemStore
from database.tables import items
from onward import Ledger
from onward.storage import driver
from onward.storage.base import StorageError, Unavailable
from onward.storage.engine import Database
from onward.storage.ids import RANDOM_BYTES, Ids
from onward.storage.sql import as_list, in_array, insert_new
from onward.storage.tables import meta
from onward.storage.transaction import Tx
from onward.storage.writer import Writer
from tests.integration.storage.test_writer import put
from tests.ledgers import writing

_among = sa.select(meta.c.name).where(in_array(meta.c.name, "names"))


@given(st.lists(st.integers(min_value=0, max_value=2**44)))
def test_ids_grow_even_if_the_clock_goes_back(times_ms: list[int]) -> None:
    """The clock may also stand still."""
    ids = Ids()
    found = [ids.next("job", ms) for ms in times_ms]
    assert found == sorted(set(found))
    assert all(len(one) == len("job_") + 32 for one in found)


def test_a_fork_of_a_process_makes_other_ids(monkeypatch: pytest.MonkeyPatch) -> None:
    ids = Ids()
    ids.next("job", 1)
    fork = copy.copy(ids)
    fork._lock = threading.Lock()
    mine = ids.next("job", 1)
    monkeypatch.setattr(os, "getpid", lambda: -1)
    assert fork.next("job", 1) != mine


def test_no_random_bytes_are_used_twice() -> None:
    ids, found = Ids(), set()
    for _ in range(3 * RANDOM_BYTES):
        before = ids._last
        ids.next("job", 1)
        found.add(ids._last - before)
    assert len(found) > 3 * RANDOM_BYTES - 10  # of 2**32, so that two equal ones are rare


def test_an_id_is_random_even_within_the_same_millisecond() -> None:
    one, other = Ids(), Ids()
    for ids in (one, other):
        ids.seen(1_000)
    assert one.next("job", 1_000)[:-9] != other.next("job", 1_000)[:-9]


def test_ids_of_many_threads_are_distinct() -> None:
    ids = Ids()
    found: list[str] = []

    def take() -> None:
        found.extend(ids.next("job", 1) for _ in range(500))

    threads = [threading.Thread(target=take) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(found)) == 2000


def test_a_list_of_texts_is_one_parameter(writer: Writer) -> None:
    """The list may have any length, and texts with any characters."""
    odd = ["plain", 'a"b', "a'b", "a\\b", "\u00e4\U0001f680", "a,b", "[]", "", "%s :x"]

    def fill(tx: Tx) -> None:
        for name in odd:
            put(tx, name)

    writer.run_sync(fill)
    for wanted in (odd, odd[:1], [], ["not there"], odd * 300):
        rows = writer.database.read_sync(lambda tx, wanted=wanted: tx.all(_among, names=as_list(wanted)))  # type: ignore[misc]
        assert {row[0] for row in rows} == set(wanted) & set(odd)


def test_an_exception_of_a_reader_is_passed_on(writer: Writer) -> None:
    """The reader can be used again afterwards."""

    def fails(_tx: Tx) -> None:
        raise LookupError("mine")

    with pytest.raises(LookupError, match="mine"):
        writer.database.read_sync(fails)
    assert writer.database.read_sync(lambda tx: tx.now) > 0


def test_an_unsupported_database_is_refused_with_a_reason() -> None:
    with pytest.raises(StorageError, match="mysql"):
        Database("mysql://localhost/onward")


def test_a_ledger_that_cannot_be_opened_is_unavailable() -> None:
    database = Database("sqlite:////proc/nowhere/onward.db")
    with pytest.raises(Unavailable):
        database.read_sync(lambda tx: tx.now)
    database.close()


def test_names_and_addresses_are_unique_without_regard_to_case(writer: Writer) -> None:
    """Taken names the fields; stored values stay as they were given."""
    ann = writer.run_sync(lambda tx: users.add(tx, username="Stra\u00dfe", email="Ann@Example.org"))
    assert writer.database.read_sync(lambda tx: users.get(tx, ann.id)) == ann
    for name, email, fields in (
        ("STRASSE", "b@example.org", ("username",)),
        ("b", "aNN@eXample.org", ("email",)),
        ("strasse", "ann@example.org", ("username", "email")),
    ):
        with pytest.raises(users.Taken) as caught:
            writer.run_sync(lambda tx, name=name, email=email: users.add(tx, username=name, email=email))  # type: ignore[misc]
        assert caught.value.fields == fields
    writer.run_sync(lambda tx: users.add(tx, username="b", email="b@example.org"))


async def test_an_item_is_stored_once_for_each_job(writer: Writer) -> None:
    """A repeated step keeps the first item."""
    store = ItemStore(Ledger(writer))
    for text in ("first", "second"):
        await store.put("job_1", text=text, characters=5, words=1, lines=1, sha256="0")
    rows = writer.database.read_sync(lambda tx: tx.all(sa.select(items.c.job_id, items.c.text)))
    assert rows == [("job_1", "first")]


def test_many_processes_can_open_a_new_file_together(tmp_path: Path) -> None:
    """A process that arrives while another creates the file waits."""
    for n in range(40):
        together = threading.Barrier(6)

        def opened(file: Path = tmp_path / f"{n}.db", together: threading.Barrier = together) -> None:
            database = Database(f"sqlite:///{file}")
            together.wait()
            connection = database.connect()
            connection.execute("CREATE TABLE IF NOT EXISTS made (a)")
            connection.close()
            database.close()

        with ThreadPoolExecutor(6) as pool:
            for opening in [pool.submit(opened) for _ in range(6)]:
                opening.result()


def test_a_database_that_cannot_store_every_character_is_refused(postgres_server_url: str) -> None:
    """After initdb without a locale the driver would return bytes, and a migration a traceback."""
    with psycopg.connect(postgres_server_url, autocommit=True) as connection:
        connection.execute("CREATE DATABASE ascii ENCODING 'SQL_ASCII' TEMPLATE template0")
        database = Database(postgres_server_url.rsplit("/", 1)[0] + "/ascii")
        try:
            with pytest.raises(StorageError, match=r"encoding is SQL_ASCII and has to be UTF8: createdb -E UTF8"):
                database.connect()
        finally:
            database.close()
            connection.execute("DROP DATABASE ascii WITH (FORCE)")


async def test_a_read_after_the_end_or_without_a_thread_is_unavailable(
    sqlite_ledger: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A request may come in while its process ends, and a machine may start no further thread."""
    database = Database(sqlite_ledger)

    def refused(*_: object) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", refused)
        with pytest.raises(Unavailable, match="no further thread"):
            await database.read(lambda tx: tx.now)
    database.close()
    with pytest.raises(Unavailable, match="is closed"):
        await database.read(lambda tx: tx.now)


def test_statements_that_are_built_for_each_call_do_not_pile_up(
    writer: Writer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A project writes them so. Each is known by its id, which the next one may have when it is gone."""
    monkeypatch.setattr(driver, "KEPT_STATEMENTS", 3)
    for n in range(20):
        assert writer.run_sync(lambda tx, n=n: tx.scalar(sa.select(sa.literal(n)))) == n  # type: ignore[misc]
        writer.run_sync(lambda tx, n=n: [tx.insert(sa.insert(meta), _row(f"{n} {m}")) for m in range(3)])  # type: ignore[misc]
    assert len(writer.database.driver._statements) <= 3
    assert len(writer.run_sync(lambda tx: tx.scalars(_named_by_number))) == 60


def _row(name: str) -> dict[str, str]:
    return {"name": name, "value": name}


_named_by_number = sa.select(meta.c.name).where(meta.c.name.like("% %"))


@pytest.mark.parametrize("kind", ["insert_new", "returning", "text"])
def test_rows_of_somebody_s_own_table_are_inserted_together(postgres_ledger: str, kind: str) -> None:
    """With a column without a type, and one of a type that is no text in JSON."""
    own = sa.table("visits", sa.column("n"), sa.column("data", JSONB))
    insert: Any = insert_new(own)
    if kind == "returning":
        insert = sa.insert(own).returning(own.c.n)
    elif kind == "text":
        insert = sa.text("INSERT INTO visits (n, data) VALUES (:n, CAST(:data AS JSONB)) ON CONFLICT (n) DO NOTHING")
    with writing(postgres_ledger) as writer:
        writer.run_sync(lambda tx: tx.raw("CREATE TABLE visits (n BIGINT PRIMARY KEY, data JSONB)"))
        writer.run_sync(lambda tx: [tx.insert(insert, {"n": n, "data": f'{{"n": {n}}}'}) for n in range(3)])  # type: ignore[func-returns-value]
        found = writer.database.read_sync(lambda tx: tx.all(sa.text("SELECT n, data ->> 'n' FROM visits ORDER BY n")))
        assert [tuple(row) for row in found] == [(0, "0"), (1, "1"), (2, "2")]
