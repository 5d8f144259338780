"""A copy of a SQLite ledger, taken while it is in use."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from onward.storage import sqlite
from onward.storage.base import StorageError
from onward.storage.engine import Database


def backup(database: Database, target: Path, *, on_start: Callable[[Path], object] = lambda _: None) -> None:
    """Write the ledger as it is at one moment to `target`; a file of that name is replaced in one step.

    Other processes write meanwhile. `on_start` is called with the file that grows until it is whole.
    Raises StorageError, and then `target` is as it was.
    """
    source = database.path
    if source is None:
        raise StorageError("a ledger on PostgreSQL is backed up with pg_dump: docs/backup.md tells how")
    if not source.is_file():
        raise StorageError(f"there is no ledger at {source} yet")
    if target.exists() and target.samefile(source):
        raise StorageError(f"{target} is the ledger itself; name another file")
    if target.is_dir():
        raise StorageError(f"{target} is a folder; name a file in it")
    if not target.parent.is_dir():
        raise StorageError(f"{target} was not written: there is no folder {target.parent}; make it first")
    aside = _aside(target)
    on_start(aside)
    try:
        with closing(database.connect()) as connection:
            if connection.execute("PRAGMA auto_vacuum").fetchone()[0] == 0:  # as an older release made it
                connection.execute("PRAGMA auto_vacuum=INCREMENTAL")  # of the copy: the file keeps its own
            connection.execute("VACUUM INTO ?", (str(aside),))
        _check(aside)
        shutil.copymode(source, aside)
        _synced(aside)
        aside.replace(target)
        _synced(target.parent)
    except Exception as error:
        aside.unlink(missing_ok=True)
        if database.driver.is_error(error) or isinstance(error, OSError):
            raise StorageError(f"{target} was not written") from error
        raise


def _aside(target: Path) -> Path:
    """Create an empty file beside the target, with a random name, readable by its owner alone. Raises StorageError."""
    try:
        descriptor, name = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
    except OSError as error:
        raise StorageError(f"{target} was not written") from error
    os.close(descriptor)
    return Path(name)


def _check(copy: Path) -> None:
    with closing(sqlite.dbapi().connect(str(copy))) as connection:
        found = connection.execute("PRAGMA integrity_check").fetchone()[0]
    if found != "ok":
        raise StorageError(f"the ledger is damaged: {found}")


def _synced(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
