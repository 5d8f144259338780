"""The ledger's database: its connections, and reads."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import sqlalchemy as sa

from onward.storage.base import StorageError, Unavailable
from onward.storage.driver import Driver
from onward.storage.file_watch import FileWatch
from onward.storage.ids import Ids
from onward.storage.place import DEFAULT_SCHEMA, Place
from onward.storage.revision import OwnCommits, RevisionReader
from onward.storage.transaction import Tx

T = TypeVar("T")
READERS = 4


class Database:
    """The ledger's database. Opens nothing until something is read or written; closed by its owner.

    `migrations` is a folder of the project's own migrations, for tables of its own beside the ledger's. `schema` is
    the ledger's own, or on SQLite the prefix of its tables' names. It is `embedded` in a process whose other code may
    open the database.
    """

    def __init__(
        self, url: str, migrations: Path | None = None, schema: str = DEFAULT_SCHEMA, *, embedded: bool = False
    ) -> None:
        self.migrations = migrations
        self.url = sa.engine.make_url(url)
        self.driver = _driver(self.url, schema, embedded=embedded)
        self.ids = Ids()
        self._readers = ThreadPoolExecutor(READERS, thread_name_prefix="ledger-read")
        self._idle: list[Any] = []
        self._idle_lock = threading.Lock()
        self._closed = False
        self.heartbeat_at = 0.0  # when this process began to write its last heartbeat, by its own clock
        self.own_commits = OwnCommits()
        self._revision = RevisionReader(self)
        self._file_watch = None if self.path is None else FileWatch(self.path, self)

    @property
    def dialect(self) -> str:
        """The kind of database: "sqlite" or "postgresql"."""
        return self.driver.name

    def named(self, sql: str) -> str:
        """The statement with the tables' own names where it says `_ledger.jobs`: for one that no driver compiles."""
        return self.driver.place.named(sql)

    @property
    def path(self) -> Path | None:
        """The SQLite file."""
        return Path(self.url.database) if self.dialect == "sqlite" and self.url.database else None

    @property
    def where(self) -> str:
        """The database's place for messages, without a password."""
        return str(self.path) if self.dialect == "sqlite" else self.url.render_as_string(hide_password=True)

    def connect(self) -> Any:
        """A driver's connection in autocommit mode. Raises Unavailable."""
        try:
            return self.driver.connect()
        except StorageError:
            raise
        except Exception as error:
            raise Unavailable("the ledger cannot be reached") from error

    def read_sync(self, fn: Callable[[Tx], T], *, snapshot: bool = False) -> T:
        """Run the function on one connection and return its result; its statements see one state in a snapshot.

        It is run again where the connection was lost. Raises Unavailable, or the error of the function, and so the
        driver's for a statement that the database refuses.
        """
        for attempt in (1, 2):
            connection = self._acquire() if attempt == 1 else self.connect()
            try:
                result = self._read_on(connection, fn, snapshot=snapshot)
            except Exception as error:
                lost = isinstance(error, Unavailable) or self.driver.is_lost(error, connection)
                if not lost and self.driver.is_idle(connection):
                    self._release(connection)
                    raise
                with suppress(Exception):
                    connection.close()
                if not lost:
                    raise
                if attempt == 1 and self.driver.server_limit_s(error) is None:
                    continue
                raise Unavailable("the ledger cannot be read") from error
            self._release(connection)
            return result
        raise AssertionError("unreachable")

    def _read_on(self, connection: Any, fn: Callable[[Tx], T], *, snapshot: bool) -> T:
        self.driver.begin_read(connection, snapshot=snapshot)
        tx = Tx(self, connection)
        try:
            result = fn(tx)
        except BaseException:
            if snapshot:
                with suppress(Exception):  # the connection is lost, or the function has ended the transaction
                    tx.raw("ROLLBACK")
            raise
        finally:
            tx.close()
        self.driver.end_read(connection)
        return result

    async def read(self, fn: Callable[[Tx], T], *, snapshot: bool = False) -> T:
        """The same in a thread of the pool. Raises Unavailable."""
        return await self.begin_read(fn, snapshot=snapshot)

    def begin_read(self, fn: Callable[[Tx], T], *, snapshot: bool = False) -> asyncio.Future[T]:
        """Begin the same, and return its future. Raises Unavailable."""
        read = partial(self.read_sync, snapshot=True) if snapshot else self.read_sync
        try:
            return asyncio.get_running_loop().run_in_executor(self._readers, read, fn)
        except RuntimeError as error:
            raise Unavailable("the ledger is closed, or the machine starts no further thread") from error

    def revision(self) -> int | None:
        """Return a number that each commit changes, except one of heartbeats alone; None if there is none, or none yet.

        Call it from one thread.
        """
        return None if self._closed else self._revision.revision()

    def watch(self, changed: Callable[[], None]) -> Callable[[], None]:
        """Call the function after each commit; return how to end that.

        It is called on the running event loop where a look takes microseconds, else in a thread.
        """
        return (self._file_watch or self._revision).watch(changed)

    def _acquire(self) -> Any:
        with self._idle_lock:
            if self._idle:
                return self._idle.pop()
        return self.connect()

    def _release(self, connection: Any) -> None:
        with self._idle_lock:
            if not self._closed and len(self._idle) < READERS:
                self._idle.append(connection)
                return
        connection.close()

    def close(self) -> None:
        """Wait for running reads, and close the connections. May be called twice."""
        self._closed = True
        self._revision.close()
        self._readers.shutdown(wait=True)
        with self._idle_lock:
            for connection in self._idle:
                connection.close()
            self._idle.clear()


def _driver(url: sa.URL, schema: str, *, embedded: bool) -> Driver:
    """Return the driver for a URL.

    Each loads its dialect of SQLAlchemy, tens of milliseconds that only its users pay.
    """
    name = url.get_backend_name()
    if name == "sqlite":
        from onward.storage.sqlite import SQLite  # noqa: PLC0415

        return SQLite(url, Place(name, schema), embedded=embedded)
    if name == "postgresql":
        from onward.storage.postgresql import PostgreSQL  # noqa: PLC0415

        return PostgreSQL(url, Place(name, schema))
    raise StorageError(f"database.url: must begin with sqlite:/// or postgresql:// (got {name!r})")
