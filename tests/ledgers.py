"""Ledgers for tests: migrated once for all, then copied; and jobs to put into them."""

from __future__ import annotations

import shutil
import time
import uuid
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest

from onward.jobs import ledger
from onward.jobs.model import Job, NewJob, Step
from onward.jobs.row import encode_steps
from onward.storage import migrate
from onward.storage.engine import Database
from onward.storage.transaction import Tx
from onward.storage.writer import Writer
from tests import application

OLDER = {"takes": None, "role": None, "version": None, "memory": None, "draining": None}
"""The columns of a process that older releases leave out."""


def migrated_sqlite(folder: Path) -> Path:
    """Return a ledger's file with tables and no rows."""
    database = Database(f"sqlite:///{folder / 'template.db'}", application.MIGRATIONS)
    migrate.upgrade(database)
    database.close()
    return folder / "template.db"


def migrated_postgres(server_url: str) -> str:
    """Return the name of a PostgreSQL database with the ledger's tables and no rows."""
    name = f"template_{uuid.uuid4().hex}"
    with psycopg.connect(server_url, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
    database = Database(server_url.rsplit("/", 1)[0] + f"/{name}", application.MIGRATIONS)
    migrate.upgrade(database)
    database.close()
    return name


def copied_sqlite(template: Path, folder: Path) -> str:
    file = folder / f"{uuid.uuid4().hex}.db"
    shutil.copy(template, file)
    return f"sqlite:///{file}"


@contextmanager
def copied_postgres(server_url: str, template: str) -> Iterator[str]:
    name = f"ledger_{uuid.uuid4().hex}"
    with psycopg.connect(server_url, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name} TEMPLATE {template}")
    try:
        yield server_url.rsplit("/", 1)[0] + f"/{name}"
    finally:
        with psycopg.connect(server_url, autocommit=True) as connection:
            connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


def note_statements(writer: Writer, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return a list that gets the text of each statement that the ledger runs from now on, of inserted rows as well."""
    seen: list[str] = []
    driver = type(writer.database.driver)
    for name in ("execute", "insert_many", "update_each"):
        before = getattr(driver, name)

        def noted(self: Any, cursor: Any, statement: Any, given: Any, before: Any = before) -> Any:
            seen.append(self.compiled(statement)[0])
            return before(self, cursor, statement, given)

        monkeypatch.setattr(driver, name, noted)
    return seen


def pass_a_moment() -> None:
    """Wait until the ledger's clock has moved on: SQLite's counts milliseconds."""
    time.sleep(0.002)


@contextmanager
def writing(url: str, **options: Any) -> Iterator[Writer]:
    """Open a writer with its own connections, like another process's."""
    database = Database(url)
    writer = Writer(database, **options)
    writer.start()
    try:
        yield writer
    finally:
        writer.close()
        database.close()


@contextmanager
def locked(writer: Writer, job: Job) -> Iterator[Any]:
    """Lock the row of a job, as the open transaction of another process does, and roll back."""
    with closing(writer.database.connect()) as other:
        other.execute("BEGIN")
        other.execute(writer.database.named("SELECT FROM _ledger.jobs WHERE id = %s FOR UPDATE"), (job.id,))
        yield other
        other.execute("ROLLBACK")


def new_job(
    handler: str = "conformance.job", *, steps: tuple[str, ...] = ("only",), max_attempts: int = 3, **values: Any
) -> NewJob:
    """Return a job as the dispatcher would prepare it."""
    pending = tuple(Step(name, index) for index, name in enumerate(steps))
    written = encode_steps(pending)
    return NewJob(handler, values.pop("backend", "here"), "{}", 1, written, max_attempts, pending=pending, **values)


def accept(tx: Tx, handler: str = "conformance.job", **values: Any) -> Job:
    return ledger.accept(tx, new_job(handler, **values))


def route(_handler: str, _present: str = "") -> str:
    return "here"
