"""Checks the ledger's database: that it can be opened and is safe, and that its tables are of this release."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from onward.findings import Finding, State, check_writable, in_one_line
from onward.storage import migrate, sqlite
from onward.storage.base import NotALedger, StorageError, Unavailable
from onward.storage.engine import Database
from onward.storage.other_ledgers import elsewhere

SCHEMA = "database.schema"
MIN_FREE_BYTES = 1_000_000  # below that a disk counts as full: a commit writes its pages into the log first


def check(database: Database) -> Iterator[Finding]:
    """Check the database and the tables of each series of migrations."""
    if database.path is not None and not database.path.exists():
        folder = check_writable("database", database.path.parent, "database.url")
        if folder.state is State.WRONG:
            yield folder
            return
        with closing(sqlite.dbapi().connect(":memory:")) as connection:  # no file is made for a check
            yield database.driver.check(connection)
        yield from _check_series(database)
        return
    try:
        connection = database.connect()
    except NotALedger as error:
        yield _not_a_ledger(error)
        return
    except StorageError as error:
        start = "start PostgreSQL, or " if database.dialect == "postgresql" else ""
        words = f"cannot be opened: {in_one_line(error.__cause__ or error).removeprefix('database.url: ')}"
        yield Finding("database", State.WRONG, words, f"{start}correct database.url")
        return
    try:
        found = database.driver.check(connection)
    finally:
        connection.close()
    yield (database.path and _full_disk(database.path)) or found
    yield from _check_series(database)


def _full_disk(file: Path) -> Finding | None:
    free_bytes = shutil.disk_usage(file.parent).free
    if free_bytes >= MIN_FREE_BYTES:
        return None
    return Finding(
        "database", State.WRONG, f"the disk of {file} is full ({free_bytes:,} bytes free)", "free some space"
    )


def _check_series(database: Database) -> Iterator[Finding]:
    try:
        every = migrate.all_of(database)
    except StorageError as error:
        yield Finding("database", State.WRONG, in_one_line(error), "correct database.migrations")
        return
    for series in every:
        try:
            yield _check_tables(database, series)
        except NotALedger as error:
            yield _not_a_ledger(error)
            return
        except Unavailable as error:
            yield Finding("database", State.WRONG, in_one_line(error.__cause__ or error), "correct database.url")
            return
        except StorageError as error:
            yield _wrong(in_one_line(error))
            return


def _wrong(message: str, state: State = State.WRONG) -> Finding:
    """A finding of a message that ends with what to do."""
    words, _, fix = message.partition(": ")
    return Finding("database", state, words, fix or "correct database.url")


def _not_a_ledger(error: NotALedger) -> Finding:
    words, _, fix = in_one_line(error).removeprefix("database.url: ").rpartition("; ")
    return Finding("database", State.WRONG, words, fix if SCHEMA in fix else f"correct database.url: {fix}")


def _check_tables(database: Database, series: migrate.Migrations) -> Finding:
    revision, whose = series.revision(database), "its" if series is migrate.LEDGER else "the project's"
    if revision == series.head:
        return Finding("database", State.OK, f"{whose} tables are those of this release ({revision})")
    if series is migrate.LEDGER and revision is None:
        obstacle, former = migrate.prospect(database)
        if obstacle:
            return _wrong(obstacle)
        revision = former
    if revision is None and series is migrate.LEDGER and (words := elsewhere(database)):
        return _wrong(words, State.WARNING if database.dialect == "sqlite" else State.WRONG)
    if revision is None and database.dialect == "sqlite":
        have = "has no tables yet" if series is migrate.LEDGER else "the project's tables are not there yet"
        return Finding("database", State.OK, f"{have}; the first start makes them")
    if revision is not None and revision > series.head:
        words = f"{whose} tables ({revision}) are of a newer release"
        return Finding("database", State.WRONG, words, series.newer_fix)
    words = f"{whose} tables ({revision}) are of an older release" if revision else "has no tables yet"
    state = State.OK if database.dialect == "sqlite" else State.WRONG
    return Finding("database", state, words, "run onward migrate")
