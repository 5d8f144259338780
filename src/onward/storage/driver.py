"""The interface of a kind of database: how it connects, compiles statements and commits the writer's transactions.

Statements are SQLAlchemy Core, compiled once an object and run on the driver's own cursor: the ledger's hot path is a
handful of statements a job, and SQLAlchemy's execution costs several times what SQLite takes for the statement itself.
Every connection is in the driver's autocommit mode; code that wants a transaction says BEGIN.
"""

from __future__ import annotations

import json
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar

from onward.findings import Finding
from onward.storage.clock_shift import ClockShift
from onward.storage.lock_order import Ordered
from onward.storage.place import Place
from onward.storage.transaction import Tx

if TYPE_CHECKING:
    from onward.storage.engine import Database


KEPT_STATEMENTS = 1_000  # compiled; the ledger has fewer, and a project may build one for each call

V = TypeVar("V")


class StatementCache(Generic[V]):
    """The values that a function makes of statements: made once a statement, and kept for a while."""

    def __init__(self, make: Callable[[Any], V]) -> None:
        self._make = make
        self._entries: dict[int, tuple[V, Any]] = {}  # with the statement, so that its id stays its own
        self._lock = threading.Lock()

    def __call__(self, statement: Any) -> V:
        found = self._entries.get(id(statement))
        if found is None:
            found = (self._make(statement), statement)
            with self._lock:
                while len(self._entries) >= KEPT_STATEMENTS:
                    del self._entries[next(iter(self._entries))]
                self._entries[id(statement)] = found
        return found[0]

    def __len__(self) -> int:
        return len(self._entries)


class Driver(ABC):
    """One kind of database."""

    name: ClassVar[str]
    modules: ClassVar[Collection[str]]
    """The packages whose exceptions are the driver's."""
    is_local: ClassVar[bool] = False
    """Does `read_revision` take microseconds? Then an event loop can wait for it."""
    tables: str
    """A statement that reads the names of all tables and views in the ledger's schema, or file."""
    ledgers: str
    """A statement that reads the schema of each ledger in the database."""
    clock: Any
    """A statement that reads the database's time in microseconds since 1970."""

    def __init__(self, compiler: Any, place: Place) -> None:
        self.place = place
        self._compiler = compiler
        self.compiled = StatementCache(self.rendered)
        self._statements: StatementCache[Any] = self.compiled

    def rendered(self, statement: Any) -> tuple[str, dict[str, Any]]:
        """Return a statement's text, with names for values, and the values that it brings along."""
        done = statement.compile(dialect=self._compiler, compile_kwargs={"render_postcompile": True})
        return self.place.named(str(done)), defaults_of(done)

    def execute(self, cursor: Any, statement: Any, params: dict[str, Any]) -> None:
        """Run a statement that is kept; `params` may have more names than it needs."""
        text, defaults = self.compiled(statement)
        cursor.execute(text, {**defaults, **params} if defaults else params)

    def insert_many(self, cursor: Any, insert: Any, rows: list[dict[str, Any]]) -> None:
        """Insert rows, each with a value for each column that the statement names, in their order."""
        text, _ = self.compiled(insert)
        for row in rows:
            cursor.execute(text, row)

    def update_each(self, cursor: Any, statement: Any, rows: Sequence[dict[str, Any]]) -> int:
        """Run a statement that is kept once for each of the rows, in order; return how many rows it has touched."""
        touched = 0
        for row in rows:
            self.execute(cursor, statement, row)
            touched += self.rows_touched(cursor)
        return touched

    def rows_touched(self, cursor: Any) -> int:
        """Return how many rows the statement that a cursor has just run has inserted, updated or deleted."""
        return int(cursor.rowcount)

    def is_error(self, error: BaseException) -> bool:
        """Return whether an exception came out of the driver."""
        return type(error).__module__.partition(".")[0] in self.modules

    def refuses_values(self, error: BaseException) -> bool:
        """Return whether values were refused for what they are, so that they would be again: by a constraint, say."""
        if not self.is_error(error):
            return isinstance(
                error, UnicodeError | OverflowError | json.JSONDecodeError
            )  # before they came to the database
        return any(kind.__name__ in {"DataError", "IntegrityError"} for kind in type(error).__mro__)

    @abstractmethod
    def is_lost(self, error: BaseException, connection: Any) -> bool:
        """Return whether the connection, the disk, the server or a lock failed; else a statement was refused."""

    @abstractmethod
    def is_transient(self, error: BaseException) -> bool:
        """Return whether the error is a conflict with another transaction, so that trying again may help."""

    def limit_lock_waits(self, tx: Tx, ms: int | None) -> None:  # noqa: B027 - SQLite has one lock, which a writer has
        """Let the transaction's later statements wait so long for locked rows; None is as long as usual."""

    writers_lock_timeout_s = 0.0
    """How long a transaction of the writer waits for a locked row."""

    def is_lock_timeout(self, error: BaseException) -> bool:  # noqa: ARG002 - likewise
        """Return whether a statement was ended because it waited too long for a locked row."""
        return False

    def server_limit_s(self, error: BaseException) -> float | None:  # noqa: ARG002 - SQLite has none
        """Return the server's limit for a statement or its wait for a lock, if the error is that it was ended.

        If less time has passed, then the statement had a limit of its own, or somebody cancelled it.
        """
        return None

    def is_too_slow(self, error: BaseException) -> bool:  # noqa: ARG002 - likewise
        """Return whether the server ended a statement that took too long, or a transaction between two of them."""
        return False

    @abstractmethod
    def is_disk_full(self, error: BaseException) -> bool:
        """Return whether the database refused a write for lack of space."""

    @abstractmethod
    def is_idle(self, connection: Any) -> bool:
        """Return whether the connection is in no transaction."""

    @abstractmethod
    def read_revision(self, connection: Any) -> int:
        """Return a number that each commit changes, except one of heartbeats alone. Raises the driver's errors."""

    @abstractmethod
    def connect(self) -> Any:
        """A connection in autocommit mode. Raises StorageError, or an error of the driver's."""

    def verify(self) -> None:  # noqa: B027 - only a file can be taken away
        """Raise FileReplaced if the open connections use other files than the ledger's."""

    @abstractmethod
    def begin_read(self, connection: Any, *, snapshot: bool = False) -> None:
        """Prepare a connection for the statements of one function; in a snapshot they see one state of the database."""

    def end_read(self, connection: Any) -> None:
        """End the transaction that `begin_read` may have begun."""
        if not self.is_idle(connection):
            connection.execute("COMMIT")

    def give_back_space(self, tx: Tx, limit: int) -> int:  # noqa: ARG002 - PostgreSQL's autovacuum reuses it
        """Give at most so many unused pages back to the file system; return how many, and 0 where none is left."""
        return 0

    def lock_keys(self, tx: Tx, keys: Collection[str]) -> None:  # noqa: B027 - SQLite has one lock for all
        """Lock the keys until the end of the transaction, in the order that every transaction keeps to."""

    @abstractmethod
    def join(self, tx: Tx) -> tuple[int, int, int, str | None]:
        """Return the number of a caller's open transaction, the time, a slot for its counters, and the ledger's id."""

    @abstractmethod
    def check(self, connection: Any) -> Finding:
        """Check the version and the settings of the database through a connection."""

    @abstractmethod
    def write_connection(self, database: Database) -> WriteConnection:
        """The connection for a writer's transactions; not opened yet."""


def defaults_of(compiled: Any) -> dict[str, Any]:
    """Return the values that a compiled statement brings along."""
    required = {name for name, bind in compiled.binds.items() if bind.required}
    return {name: value for name, value in compiled.params.items() if name not in required}


class WriteConnection(ABC):
    """The writer's connection: opened with its first transaction, and opened again after an error closed it."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._connection: Any = None
        self._clock_shift = ClockShift()

    def begin(self, deadline: float, *, is_change: bool = True) -> Tx:
        """Begin a transaction that can write. Raises the driver's errors, for a lock after the deadline.

        A transaction of heartbeats alone is no change: it may leave the ledger's revision as it was.
        """
        if self._connection is None:
            self._connection = self._database.connect()
            self._prepare(self._connection)
        tx = Tx(self._database, self._connection)
        asked = time.time_ns() // 1_000
        change, now = self._begin(tx, deadline, is_change=is_change)
        tx.set_clock(change, now)
        tx.clock_shift = self._clock_shift.measure(asked, now, time.time_ns() // 1_000)
        return tx

    @abstractmethod
    def _prepare(self, connection: Any) -> None:
        """Set a new connection up."""

    @abstractmethod
    def _begin(self, tx: Tx, deadline: float, *, is_change: bool) -> tuple[int, int]:
        """Begin, and return the commit's number and the ledger's time."""

    def lock_jobs(self, tx: Tx, batch: Collection[Ordered], *, in_order: bool) -> None:  # noqa: B027 - SQLite has one lock
        """Lock the batch's rows of jobs, in order, if its functions are in another, or may lock limits between them."""

    @abstractmethod
    def commit(self, tx: Tx, slot: int, deadline: float) -> None:
        """Write the buffered rows, the counters, in the slot's rows, and the history's figures, and commit durably.

        Raises the driver's errors, and then nothing was written.
        """

    def is_transient(self, error: BaseException) -> bool:
        """Return whether trying again may help, and nothing was written."""
        return self._database.driver.is_transient(error)

    def is_lost(self, error: BaseException) -> bool:
        """Return the driver's `is_lost` of this connection."""
        return self._database.driver.is_lost(error, self._connection)

    @abstractmethod
    def is_open(self) -> bool:
        """Return False if a statement has ended the transaction, or spoilt it: a commit would write nothing.

        The driver's commit raises nothing then on PostgreSQL, and on SQLite later statements commit by themselves.
        """

    def undo(self, tx: Tx) -> bool:
        """Roll back to the savepoint of a request; return False if there is none left, nor what was done before it."""
        tx.drop_inserts()
        try:
            tx.raw("ROLLBACK TO SAVEPOINT request")
        except Exception:  # noqa: BLE001 - a statement has ended the transaction, or the connection
            return False
        return True

    def rollback(self) -> None:
        """Roll back; a connection that cannot is closed, and its transaction with it."""
        try:
            self._connection.cursor().execute("ROLLBACK")
        except Exception:  # noqa: BLE001 - a broken connection takes its transaction along
            self.close()

    def close(self) -> None:
        """Close the connection, and with it the transaction that it had begun. May be called twice."""
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(Exception):
                connection.close()
