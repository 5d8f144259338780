"""The number that shows a process, without reading the ledger, that nothing has changed."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from onward.jobs import ledger
from onward.jobs.model import NewJob
from onward.storage import revision as looks
from onward.storage.engine import Database
from onward.storage.revision import Revision
from onward.storage.transaction import Tx
from onward.testing.waiting import until
from tests.ledgers import writing

NEVER_S = 3600.0


def accept(tx: Tx) -> None:
    ledger.accept(
        tx, NewJob("item.process", "background", params="{}", params_version=1, steps='[{"n": "one"}]', max_attempts=1)
    )


async def known(revision: Revision) -> None:
    """Wait until the revision has a number: its connection is opened in another thread."""
    revision.has_changed()
    await until(lambda: not revision.has_changed())


async def test_a_commit_changes_the_revision_and_a_read_does_not(sqlite_ledger: str) -> None:
    with writing(sqlite_ledger) as writer:
        revision = Revision(writer.database, NEVER_S)
        assert revision.has_changed()  # nothing is known yet
        await known(revision)
        await writer.database.read(ledger.horizon)
        await writer.run(ledger.horizon)  # a transaction that writes nothing is no commit
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
        program = (
            "import sqlite3, sys; sqlite3.connect(sys.argv[1], isolation_level=None).execute('CREATE TABLE t (a)')"
        )
        await asyncio.to_thread(subprocess.run, [sys.executable, "-c", program, str(writer.database.path)], check=True)
        assert [revision.has_changed(), revision.has_changed()] == [True, False]


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
