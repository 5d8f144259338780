"""A copy of a SQLite ledger is complete, even during writes."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest

from onward.storage import sqlite
from onward.storage.backup import backup
from onward.storage.base import StorageError
from onward.storage.engine import Database
from tests.ledgers import accept, writing


def rows(file: Path, statement: str) -> list[tuple[object, ...]]:
    with closing(sqlite.dbapi().connect(str(file))) as connection:
        return [tuple(row) for row in connection.execute(statement).fetchall()]


@pytest.mark.anyio
async def test_a_copy_during_writes_is_consistent(sqlite_ledger: str, tmp_path: Path) -> None:
    """The copy has everything accepted before, and the first of the later jobs, with their counts."""
    copy, accepted, done = tmp_path / "copy.db", [], asyncio.Event()
    with writing(sqlite_ledger) as writer:

        async def write() -> None:
            while not done.is_set():
                accepted.append((await writer.run(accept)).id)

        writing_on = asyncio.create_task(write())
        while len(accepted) < 50:
            await asyncio.sleep(0.01)
        before = len(accepted)
        await asyncio.to_thread(backup, writer.database, copy)
        while len(accepted) < before + 50:
            await asyncio.sleep(0.01)
        done.set()
        await writing_on
    kept = [row[0] for row in rows(copy, "SELECT id FROM onward_jobs ORDER BY id")]
    assert kept == accepted[: len(kept)]
    assert before <= len(kept) < len(accepted)
    assert rows(copy, "SELECT sum(n) FROM onward_counts WHERE owner = ''") == [(len(kept),)]


def test_a_copy_replaces_the_previous_one(sqlite_ledger: str, tmp_path: Path) -> None:
    copy = tmp_path / "copy.db"
    with writing(sqlite_ledger) as writer:
        for n in range(2):
            writer.run_sync(accept)
            backup(writer.database, copy)
            assert rows(copy, "SELECT count(*) FROM onward_jobs") == [(n + 1,)]
    assert [file.name for file in tmp_path.glob("*copy*")] == ["copy.db"]


def test_a_copy_of_an_older_release_s_file_is_one_that_shrinks(sqlite_ledger: str, tmp_path: Path) -> None:
    """The copy can shrink; the file itself keeps all its space, as SQLite's files do by default."""
    file, copy = Path(sqlite_ledger.removeprefix("sqlite:///")), tmp_path / "copy.db"
    with closing(sqlite.dbapi().connect(str(file), isolation_level=None)) as connection:
        connection.execute("PRAGMA auto_vacuum=NONE")
        connection.execute("VACUUM")
    database = Database(sqlite_ledger)
    backup(database, copy)
    database.close()
    modes = [rows(one, "PRAGMA auto_vacuum")[0][0] for one in (file, copy)]
    assert modes == [0, sqlite.INCREMENTAL]


def test_simultaneous_copies_are_all_complete(sqlite_ledger: str, tmp_path: Path) -> None:
    """All may have one process id, as in containers."""
    copy = tmp_path / "copy.db"
    with writing(sqlite_ledger) as writer, ThreadPoolExecutor(4) as threads:
        writer.run_sync(accept)
        for _ in threads.map(lambda _: backup(writer.database, copy), range(12)):
            assert rows(copy, "SELECT count(*) FROM onward_jobs") == [(1,)]
    assert [file.name for file in tmp_path.glob("*copy*")] == ["copy.db"]


def test_a_damaged_ledger_is_not_copied(sqlite_ledger: str, tmp_path: Path) -> None:
    """The earlier copy stays."""
    file, copy = Path(sqlite_ledger.removeprefix("sqlite:///")), tmp_path / "copy.db"
    copy.write_text("the one before")
    with file.open("r+b") as ledger:
        ledger.seek(3 * 4096)
        ledger.write(b"\xff" * 20 * 4096)
    database = Database(sqlite_ledger)
    with pytest.raises(StorageError):
        backup(database, copy)
    database.close()
    assert copy.read_text() == "the one before"
    assert [found.name for found in tmp_path.glob("*copy*")] == ["copy.db"]


def test_a_failed_copy_is_reported(sqlite_ledger: str, tmp_path: Path) -> None:
    cases = (
        (sqlite_ledger, Path(sqlite_ledger.removeprefix("sqlite:///")), "the ledger itself"),
        (sqlite_ledger, tmp_path / "nowhere" / "copy.db", f"there is no folder {tmp_path / 'nowhere'}; make it first"),
        (sqlite_ledger, tmp_path, "is a folder; name a file in it"),
        (f"sqlite:///{tmp_path}/none.db", tmp_path / "copy.db", "no ledger at"),
        ("postgresql://onward@127.0.0.1/onward", tmp_path / "copy.db", "pg_dump"),
    )
    for url, target, words in cases:
        database = Database(url)
        with pytest.raises(StorageError, match=words):
            backup(database, target)
        database.close()
    assert not (tmp_path / "none.db").exists()
