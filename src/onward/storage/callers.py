"""The caller's own transaction: the ledger's statements on a connection that somebody else has opened and will commit.

Each kind of connection becomes a cursor such as the drivers' own. An asynchronous one is awaited from within the
transaction function, which is synchronous, by the greenlets that SQLAlchemy has for this. A kind is known by the names
of its classes, so that no library is loaded which the program does not use.

The file is long because each kind of session has its own way to the same few statements.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import lru_cache
from typing import Any, Self, TypeVar
from weakref import ref

import sqlalchemy as sa

from onward.storage import counters
from onward.storage.base import Deadlock, StorageError
from onward.storage.driver import Driver
from onward.storage.engine import Database
from onward.storage.transaction import Tx

T = TypeVar("T")
ABSENT = ("42P01", "3F000")  # PostgreSQL's codes for a table, and for a schema, that is not there
DEADLOCK = "40P01"
DOUBLED = "onward: transaction with a doubled savepoint"  # of SQLAlchemy, in the `info` of its connection
_MARKED = re.compile(r"%\((\w+)\)s|%%")  # in a text for psycopg: a parameter, or a percent sign
_AS_JSON = re.compile(r"CAST\((\$\d+) AS (JSONB?)\)")  # in a text for asyncpg: JSON that comes as a text


class UnusableSession(StorageError):
    """The session cannot hold a job: of an unknown kind, of another database, or without a transaction."""


class _Cursor(ABC):
    """A connection of one kind, used as a driver's cursor: it reads all rows of a statement at once."""

    rowcount = -1
    _rows: Sequence[Any] = ()

    def cursor(self) -> Self:
        """Return the cursor that a transaction asks its connection for."""
        return self

    @abstractmethod
    def execute(self, text: str, params: Mapping[str, Any]) -> None:
        """Run a statement of the ledger's driver; `params` may have more names than it needs."""

    def fetchone(self) -> Any:
        """Return the first row, None if there is none."""
        return self._rows[0] if self._rows else None

    def fetchall(self) -> list[Any]:
        """Return the rows."""
        return list(self._rows)

    def is_in_transaction(self) -> bool:
        """Return whether what was written waits for a commit; asked after the first write."""
        return True


class CallerTx(Tx):
    """Statements in the transaction of a caller, which ends it."""

    _slot = 0
    ends_soon = False

    def join(self, ledger_id: str) -> None:
        """Take a commit's number and the ledger's time. Raises UnusableSession in another database."""
        other = UnusableSession(
            "the session is of another database than the ledger: roll back, and take one of the database that"
            " database.url names, or enqueue without a session, after its commit"
        )
        try:
            change, now, self._slot, found = self._driver.join(self)
        except Exception as error:
            if _is_absent(error):
                raise other from error
            raise
        if found != ledger_id:
            raise other
        _in_transaction(self._cursor.is_in_transaction())
        self.set_clock(change, now)

    @contextmanager
    def brief_waits(self) -> Iterator[None]:
        """Wait as long as the caller's connection does: nobody else waits with it."""
        yield

    def finish(self) -> None:
        """Write what is buffered, the counters and the history's figures."""
        self.flush()
        counters.write(self, self._slot)

    def _run(self, statement: Any, params: dict[str, Any]) -> Any:
        self.flush()
        Driver.execute(self._driver, self._cursor, statement, params)  # by names, as below
        return self._cursor

    def flush(self) -> None:
        """Insert the buffered rows one by one: not every kind of connection binds values by their order."""
        rows, self._new = self._new, []
        for row in rows:
            self._cursor.execute(self._driver.compiled(self._insert)[0], row)


def run(database: Database, session: object, ledger_id: str, function: Callable[[Tx], T]) -> T | Awaitable[T]:
    """Run the function in the session's transaction, and return its result: to be awaited for an asynchronous session.

    Raises UnusableSession and Deadlock; other errors of the session's own library as they are. Then nothing is to be
    committed.
    """

    def on(cursor: _Cursor) -> T:
        tx = CallerTx(database, cursor)
        try:
            tx.join(ledger_id)
            result = function(tx)
            tx.finish()
        except Exception as error:
            if _state(error) == DEADLOCK:
                raise Deadlock(
                    "another transaction holds a key or a job that this one waits for, and waits for this one: roll"
                    " back and run it again; to avoid it, enqueue in the same order everywhere"
                ) from error
            raise
        return result

    bases = {f"{base.__module__.partition('.')[0]}.{base.__name__}" for base in type(session).__mro__}
    kind = next((kind for kind in _KINDS if kind in bases), None)
    if kind is None:
        named = f"{type(session).__module__}.{type(session).__qualname__}"
        raise UnusableSession(f"session must be one of {', '.join(_KINDS)} (got {named})")
    found: T | Awaitable[T] = _KINDS[kind](session, database.dialect, on)
    return found


class _SQLAlchemy(_Cursor):
    """A connection of SQLAlchemy, of whatever driver."""

    def __init__(self, connection: sa.Connection, dialect: str) -> None:
        _same_kind(connection.dialect.name, dialect)
        _one_sqlite(getattr(connection.dialect.dbapi, "__name__", ""))
        level = connection.get_execution_options().get("isolation_level")
        if level is None:
            level = getattr(connection.dialect, "_on_connect_isolation_level", None)
        _in_transaction(level != "AUTOCOMMIT")
        if dialect == "sqlite" and connection.in_nested_transaction():
            _keep_open(connection)
        self._connection = connection

    def execute(self, text: str, params: Mapping[str, Any]) -> None:
        clause, names = _clause(text)
        result = self._connection.execute(clause, {name: params[name] for name in names})
        self.rowcount = result.rowcount
        self._rows = result.fetchall() if result.returns_rows else ()

    def is_in_transaction(self) -> bool:
        if self._connection.dialect.name != "sqlite":
            return True
        # SQLAlchemy does not know: an argument of the engine, or an event, may have the driver commit by itself.
        return bool(getattr(self._connection.connection.driver_connection, "in_transaction", True))


class _Psycopg(_Cursor):
    """A connection of psycopg, whose texts are the ledger's own."""

    def __init__(self, connection: Any, dialect: str, wait: _Wait) -> None:
        import psycopg  # noqa: PLC0415 - of a connection that is there

        _same_kind("postgresql", dialect)
        if connection.info.pipeline_status.name != "OFF":
            raise UnusableSession(
                "the session is in psycopg's pipeline mode, where no statement is answered at once: enqueue before the"
                " pipeline, or after it, in the same transaction"
            )
        _in_transaction(not connection.autocommit or connection.info.transaction_status.name != "IDLE")
        # Not the connection's own kind of cursor, which may want other texts.
        kind = psycopg.AsyncCursor if isinstance(connection, psycopg.AsyncConnection) else psycopg.Cursor
        self._cursor = kind(connection, row_factory=psycopg.rows.tuple_row)
        self._wait = wait

    def execute(self, text: str, params: Mapping[str, Any]) -> None:
        self._wait(self._cursor.execute(text, params))
        self.rowcount = self._cursor.rowcount
        self._rows = self._wait(self._cursor.fetchall()) if self._cursor.description else []


class _Asyncpg(_Cursor):
    """A connection of asyncpg, whose parameters have numbers."""

    def __init__(self, connection: Any, dialect: str, wait: _Wait) -> None:
        _same_kind("postgresql", dialect)
        _in_transaction(connection.is_in_transaction())
        self._connection = connection
        self._wait = wait

    def execute(self, text: str, params: Mapping[str, Any]) -> None:
        numbered, names = _numbered(text)
        values = [params[name] for name in names]
        if numbered.lstrip().startswith("SELECT"):
            self._rows = self._wait(self._connection.fetch(numbered, *values))
            self.rowcount = len(self._rows)
        else:  # no statement of a caller's transaction changes rows and returns some
            status = self._wait(self._connection.execute(numbered, *values))
            self._rows, self.rowcount = [], int(status.rpartition(" ")[2])


class _Sqlite(_Cursor):
    """A connection of sqlite3, or of aiosqlite, which runs one in a thread."""

    def __init__(self, connection: Any, dialect: str, wait: _Wait) -> None:
        _same_kind("sqlite", dialect)
        _one_sqlite(type(connection).__module__)
        commits = connection.isolation_level is None or getattr(connection, "autocommit", -1) is True
        _in_transaction(connection.in_transaction or not commits)
        self._connection = connection
        self._wait = wait

    def execute(self, text: str, params: Mapping[str, Any]) -> None:
        cursor = self._wait(self._connection.cursor())
        cursor.row_factory = None  # the connection's own may make dictionaries
        self._wait(cursor.execute(text, params))
        # Read to the end: an UPDATE that returns rows is finished by then.
        self._rows = self._wait(cursor.fetchall())
        self.rowcount = cursor.rowcount
        self._wait(cursor.close())

    def is_in_transaction(self) -> bool:
        return bool(self._connection.in_transaction)


_Wait = Callable[[Any], Any]
"""Returns the result of a driver's call: at once, or awaited."""


def _as_it_is(result: Any) -> Any:
    return result


async def _spawned(function: Callable[[_Wait], T]) -> T:
    from sqlalchemy.util.concurrency import await_only, greenlet_spawn  # noqa: PLC0415 - loads greenlet

    return await greenlet_spawn(function, await_only)


def _of_session(session: Any, dialect: str, on: Callable[[_Cursor], T]) -> T:
    try:
        connection = session.connection()
    except sa.exc.UnboundExecutionError as error:
        raise UnusableSession(
            "the session has no one engine, as with binds=: pass its connection to the ledger's database, as in"
            ' session=db.connection(bind_arguments={"mapper": Order})'
        ) from error
    return on(_SQLAlchemy(connection, dialect))


def _keep_open(connection: sa.Connection) -> None:
    """Have the ends of savepoints commit nothing.

    Python's sqlite3 begins a transaction before the first write. A savepoint before that is one for SQLite, and its
    release would commit the job, which is to be committed with the transaction of SQLAlchemy.
    """
    if not sa.event.contains(connection, "release_savepoint", _double):
        sa.event.listen(connection, "release_savepoint", _double)


def _double(connection: sa.Connection, name: str, _context: None) -> None:
    """Double the outermost savepoint, once a transaction: SQLite releases the newer one, and goes on in the other.

    One is enough, and SQLite looks at all open savepoints whenever it changes a page.
    """
    transaction, doubled = connection.get_transaction(), connection.info.get(DOUBLED)
    if doubled is not None and doubled() is transaction:
        return
    outermost = connection.get_nested_transaction()
    while outermost is not None and outermost._previous_nested is not None:  # noqa: SLF001 - has no public name
        outermost = outermost._previous_nested  # noqa: SLF001 - as above
    if outermost is None or outermost._savepoint != name:  # noqa: SLF001 - as above
        return
    connection.exec_driver_sql(f"SAVEPOINT {name}")
    connection.info[DOUBLED] = ref(transaction)


# By library and class: the transaction function's result on a session of that kind, or an awaitable of it.
_KINDS: Mapping[str, Callable[[Any, str, Callable[[_Cursor], Any]], Any]] = {
    "sqlalchemy.AsyncSession": lambda found, dialect, on: found.run_sync(_of_session, dialect, on),
    # It passes most methods on to its session, but not this one.
    "sqlalchemy.async_scoped_session": lambda found, dialect, on: found().run_sync(_of_session, dialect, on),
    "sqlalchemy.AsyncConnection": lambda found, dialect, on: found.run_sync(lambda one: on(_SQLAlchemy(one, dialect))),
    "sqlalchemy.Session": _of_session,
    "sqlalchemy.scoped_session": _of_session,
    "sqlalchemy.Connection": lambda found, dialect, on: on(_SQLAlchemy(found, dialect)),
    "psycopg.Connection": lambda found, dialect, on: on(_Psycopg(found, dialect, _as_it_is)),
    "psycopg.AsyncConnection": lambda found, dialect, on: _spawned(lambda wait: on(_Psycopg(found, dialect, wait))),
    "asyncpg.Connection": lambda found, dialect, on: _spawned(lambda wait: on(_Asyncpg(found, dialect, wait))),
    "asyncpg.PoolConnectionProxy": lambda found, dialect, on: _spawned(lambda wait: on(_Asyncpg(found, dialect, wait))),
    "sqlite3.Connection": lambda found, dialect, on: on(_Sqlite(found, dialect, _as_it_is)),
    "pysqlite3.Connection": lambda found, dialect, on: on(_Sqlite(found, dialect, _as_it_is)),
    "aiosqlite.Connection": lambda found, dialect, on: _spawned(lambda wait: on(_Sqlite(found, dialect, wait))),
}


def _same_kind(found: str, ledger: str) -> None:
    if found != ledger:
        raise UnusableSession(
            f"the session is of {found} and the ledger on {ledger}: a job can be in the caller's transaction only where"
            " both are one database; else enqueue without a session, after the commit"
        )


def _one_sqlite(module: str) -> None:
    if module.partition(".")[0] == "pysqlite3":
        raise UnusableSession(
            "the session is one of pysqlite3, and Onward uses Python's sqlite3: two copies of SQLite in one process"
            " damage the file that they share; use sqlite3"
        )


def _in_transaction(holds: bool) -> None:  # noqa: FBT001 - read at the call as a sentence
    if not holds:
        raise UnusableSession(
            "the session commits each statement by itself: begin a transaction on it, and enqueue in it"
        )


def _is_absent(error: Exception) -> bool:
    return _state(error) in ABSENT or str(getattr(error, "orig", None) or error).startswith("no such table: ")


def _state(error: Exception) -> str | None:
    """Return PostgreSQL's code of an error."""
    original = getattr(error, "orig", None) or error
    return getattr(original, "sqlstate", None) or getattr(original, "pgcode", None)


@lru_cache(maxsize=64)
def _clause(text: str) -> tuple[sa.TextClause, list[str]]:
    """Return the statement for SQLAlchemy, which writes it for its driver, and the names of its parameters."""
    if _MARKED.search(text):  # of psycopg's kind
        text = _MARKED.sub(lambda found: f":{found[1]}" if found[1] else "%", text.replace(":", r"\:"))
    clause = sa.text(text)
    return clause, list(clause._bindparams)  # noqa: SLF001 - has no public name


@lru_cache(maxsize=64)
def _numbered(text: str) -> tuple[str, list[str]]:
    names: list[str] = []

    def number(found: re.Match[str]) -> str:
        if found[1] is None:
            return "%"
        if found[1] not in names:
            names.append(found[1])
        return f"${names.index(found[1]) + 1}"

    # For asyncpg the parameter would be JSON, which a codec of the connection's own encodes: once more, as a string.
    as_text = r"CAST(CAST(\1 AS TEXT) AS \2)"
    return _AS_JSON.sub(as_text, _MARKED.sub(number, text)), names
