"""The ledger's connections: one way to speak to SQLite and to PostgreSQL.

Statements are SQLAlchemy Core, compiled once an object and run on the driver's own cursor: the ledger's hot path is a
handful of statements a job, and SQLAlchemy's execution costs several times what SQLite takes for the statement itself.
Every connection is in the driver's autocommit mode; who wants a transaction says BEGIN.
"""

from __future__ import annotations

import asyncio
import json
import secrets
import threading
import time
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

import sqlalchemy as sa
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.elements import ColumnElement

from onward.storage import sqlite
from onward.storage.base import StorageError, Unavailable

T = TypeVar("T")
Row = Sequence[Any]
READERS = 4
TOGETHER = 32  # rows that one insert takes at most
BUSY_TIMEOUT_S = 5.0


class json_array(ColumnElement[Any]):  # noqa: N801 - reads as SQL does: `column.in_(listed("ids"))`
    """The texts of a JSON array handed over as one parameter, so that a statement is compiled once for any length."""

    inherit_cache = True

    def __init__(self, name: str) -> None:
        self.bind = sa.bindparam(name, type_=sa.Text)


@compiles(json_array, "sqlite")
def _json_array_sqlite(element: json_array, compiler: Any, **kw: Any) -> str:
    return f"(SELECT value FROM json_each({compiler.process(element.bind, **kw)}))"  # noqa: S608 - a bound parameter


@compiles(json_array, "postgresql")
def _json_array_postgresql(element: json_array, compiler: Any, **kw: Any) -> str:
    return f"(SELECT jsonb_array_elements_text(CAST({compiler.process(element.bind, **kw)} AS JSONB)))"


class insert_new(sa.Insert):  # noqa: N801 - likewise: `insert_new(users)`
    """Inserts nothing where a row of that key is there already: in words of both dialects, without loading both."""

    inherit_cache = True


@compiles(insert_new)
def _insert_new(element: insert_new, compiler: Any, **kw: Any) -> str:
    return f"{compiler.visit_insert(element, **kw)} ON CONFLICT DO NOTHING"


def in_array(column: ColumnElement[Any], name: str) -> ColumnElement[bool]:
    """True where the column is one of the texts in the parameter `name`, made by `as_list`."""
    return column.op("IN", is_comparison=True, return_type=sa.Boolean())(json_array(name))


def as_list(values: Collection[str]) -> str:
    """The parameter that `among` reads."""
    return json.dumps(list(values))


def _hinting(compiler: type[Any]) -> type[Any]:
    """The compiler, which writes an `INDEXED BY` given to `with_hint` as well: SQLAlchemy's own leaves it out."""

    class Hinting(compiler):  # type: ignore[misc]
        def get_from_hint_text(self, table: Any, text: str) -> str:  # noqa: ARG002
            return text

    return Hinting


class Tx:
    """One unit's view of the ledger: statements, the ledger's time, new ids, the counters it moves."""

    def __init__(self, database: Database, connection: Any) -> None:
        self._database = database
        self._cursor = connection.cursor()
        self._now: int | None = None
        self._new: list[dict[str, Any]] = []
        self._insert: Any = None
        self.change = 0
        self.deltas: dict[tuple[str, str], int] = {}

    @property
    def dialect(self) -> str:
        return self._database.dialect

    @property
    def now(self) -> int:
        """The ledger's clock, in microseconds: the same for all of a commit."""
        if self._now is None:
            self._now = int(self.one(self._database.clock)[0])  # type: ignore[index]
        return self._now

    def set_clock(self, change: int, now: int) -> None:
        self.change, self._now = change, now
        self._database.ids.seen(now // 1000)

    def insert(self, statement: Any, row: dict[str, Any]) -> None:
        """The row is there for all that follows. Those of an insert that come together are inserted together.

        `row` has a value for each column that the statement names, in their order.
        """
        if statement is not self._insert:
            self.flush()
            self._insert = statement
        self._new.append(row)

    def flush(self) -> None:
        """The rows that were to be inserted are."""
        rows, self._new = self._new, []
        while len(rows) > 1 and self.dialect == "sqlite":
            some, rows = rows[:TOGETHER], rows[TOGETHER:]
            # In one step, for which the driver lets go of the interpreter's lock once, and not for each row.
            text = self._database.repeated(self._insert, len(some))
            self._cursor.execute(text, [v for row in some for v in row.values()])
        text, _ = self._database.compiled(self._insert) if rows else ("", None)
        for row in rows:
            self._cursor.execute(text, row)

    def forget(self) -> None:
        """What was to be inserted is not: what comes before it was rolled back."""
        self._new = []

    def _run(self, statement: Any, params: dict[str, Any]) -> Any:
        if self._new:
            self.flush()
        text, defaults = self._database.compiled(statement)
        self._cursor.execute(text, {**defaults, **params} if defaults else params)
        return self._cursor

    def execute_once(self, statement: Any) -> list[Any]:
        """The rows of a statement built for a single use, with its values in it; its text is not kept."""
        self.flush()
        self._cursor.execute(*self._database.rendered(statement))
        return self._cursor.fetchall()  # type: ignore[no-any-return]

    def all(self, statement: Any, **params: Any) -> list[Any]:
        return self._run(statement, params).fetchall()  # type: ignore[no-any-return]

    def one(self, statement: Any, **params: Any) -> Any | None:
        return self._run(statement, params).fetchone()

    def execute(self, statement: Any, **params: Any) -> int:
        """How many rows it touched."""
        return self._run(statement, params).rowcount  # type: ignore[no-any-return]

    def raw(self, sql: str) -> None:
        self._cursor.execute(sql)

    def count(self, owner: str | None, status: str, n: int) -> None:
        """Moves the counters of a status, of all jobs and of the owner's; written once a commit."""
        for key in (("", status),) if owner is None else (("", status), (owner, status)):
            self.deltas[key] = self.deltas.get(key, 0) + n

    def new_id(self, prefix: str) -> str:
        """An id such as `job_...`: 48 bits of the ledger's milliseconds, 80 of chance, growing within a process."""
        return self._database.ids.next(prefix, self.now // 1000)


def _begin_wal(connection: Any) -> None:
    """The file keeps a WAL. While others make a new one of it SQLite refuses at once, whatever its timeout says."""
    deadline = time.monotonic() + BUSY_TIMEOUT_S
    while True:
        try:
            connection.execute("PRAGMA journal_mode=WAL")
            return
        except Exception as error:
            if "locked" not in str(error) or time.monotonic() > deadline:
                raise
            time.sleep(0.005)


class Ids:
    """Ids that grow: with the clock, and by one step within a millisecond or when the clock goes back."""

    def __init__(self) -> None:
        self._last = 0
        self._lock = threading.Lock()

    def seen(self, ms: int) -> None:
        """It is that late at least."""
        with self._lock:
            self._advance(ms)

    def next(self, prefix: str, ms: int) -> str:
        with self._lock:
            if not self._advance(ms):
                self._last += 1 + secrets.randbits(32)
            return f"{prefix}_{self._last:032x}"

    def _advance(self, ms: int) -> bool:
        later = ms > self._last >> 80
        if later:
            self._last = ms << 80 | secrets.randbits(79)
        return later


class Database:
    """The ledger's database. Opens nothing until something is read or written; closed by its owner.

    `migrations` is a folder of the project's own migrations, for tables of its own beside the ledger's.
    """

    def __init__(self, url: str, migrations: Path | None = None) -> None:
        self.migrations = migrations
        self.url = sa.engine.make_url(url)
        self.dialect = self.url.get_backend_name()
        self.ids = Ids()
        self._statements: dict[int, tuple[str, dict[str, Any], Any]] = {}
        self._repeated: dict[tuple[int, int], str] = {}
        if self.dialect == "sqlite":
            from sqlalchemy.dialects.sqlite.pysqlite import SQLiteDialect_pysqlite  # noqa: PLC0415

            self._compiler: Any = SQLiteDialect_pysqlite(paramstyle="named")
            self._compiler.statement_compiler = _hinting(self._compiler.statement_compiler)
            self.clock: Any = sa.text(f"SELECT {sqlite.NOW}")
        elif self.dialect == "postgresql":
            from sqlalchemy.dialects.postgresql.psycopg import PGDialect_psycopg  # noqa: PLC0415

            self._compiler = PGDialect_psycopg()  # type: ignore[no-untyped-call]
            self.clock = sa.text("SELECT CAST(extract(epoch FROM clock_timestamp()) * 1000000 AS BIGINT)")
        else:
            raise StorageError(
                f"database.url: a {self.dialect!r} ledger is not known; take sqlite:/// or postgresql://"
            )
        self._readers = ThreadPoolExecutor(READERS, thread_name_prefix="ledger-read")
        self._idle: list[Any] = []
        self._idle_lock = threading.Lock()
        self._closed = False

    @property
    def path(self) -> Path | None:
        """The SQLite file."""
        return Path(self.url.database) if self.dialect == "sqlite" and self.url.database else None

    def compiled(self, statement: Any) -> tuple[str, dict[str, Any]]:
        """The driver's text of a statement and its literal values; keeps the statement, so that its id stays its."""
        found = self._statements.get(id(statement))
        if found is None:
            done = statement.compile(dialect=self._compiler, compile_kwargs={"render_postcompile": True})
            required = {name for name, bind in done.binds.items() if bind.required}
            defaults = {name: value for name, value in done.params.items() if name not in required}
            found = self._statements[id(statement)] = (str(done), defaults, statement)
        return found[0], found[1]

    def repeated(self, insert: Any, rows: int) -> str:
        """SQLite's text of an insert of so many rows, its values by their order."""
        found = self._repeated.get((id(insert), rows))
        if found is None:
            head, _, rest = self.compiled(insert)[0].partition(" VALUES (")
            values, _, tail = rest.partition(")")
            row = f"({', '.join('?' * (values.count(',') + 1))})"
            found = self._repeated[id(insert), rows] = f"{head} VALUES {', '.join([row] * rows)}{tail}"
        return found

    def rendered(self, statement: Any) -> tuple[str, dict[str, Any]]:
        """The same of a statement for a single use."""
        done = statement.compile(dialect=self._compiler, compile_kwargs={"render_postcompile": True})
        return str(done), dict(done.params)

    def connect(self) -> Any:
        """A driver's connection in autocommit mode. Raises Unavailable."""
        try:
            return self._connect_sqlite() if self.dialect == "sqlite" else self._connect_postgresql()
        except StorageError:
            raise
        except Exception as error:
            raise Unavailable("the ledger cannot be reached") from error

    def _connect_sqlite(self) -> Any:
        assert self.path is not None  # noqa: S101 - for the type checker
        self.path.parent.mkdir(parents=True, exist_ok=True)
        connection = sqlite.driver().connect(
            str(self.path), timeout=BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False, cached_statements=256
        )
        _begin_wal(connection)
        connection.execute("PRAGMA synchronous=FULL")
        connection.execute("PRAGMA cache_size=-4096")
        connection.execute("PRAGMA temp_store=MEMORY")
        return connection

    def _connect_postgresql(self) -> Any:
        import psycopg  # noqa: PLC0415

        url = self.url.set(drivername="postgresql").render_as_string(hide_password=False)
        connection = psycopg.connect(
            url,
            autocommit=True,
            connect_timeout=3,
            application_name="onward",
            options="-c synchronous_commit=on -c timezone=UTC -c lock_timeout=10s -c statement_timeout=30s"
            " -c idle_in_transaction_session_timeout=60s",
            keepalives_idle=5,
            keepalives_interval=2,
            keepalives_count=3,
            tcp_user_timeout=10_000,
        )
        encoding = connection.info.parameter_status("server_encoding")
        if encoding not in (None, "UTF8"):
            connection.close()
            raise StorageError(
                f"database.url: the database's encoding is {encoding} and has to be UTF8: createdb -E UTF8 -T template0"
            )
        return connection

    def read_sync(self, fn: Callable[[Tx], T]) -> T:
        """What the unit read. It may be run again on a new connection. Raises Unavailable."""
        for attempt in (1, 2):
            connection = self._acquire() if attempt == 1 else self.connect()
            try:
                result = fn(Tx(self, connection))
            except Exception as error:
                broken = self.is_driver_error(error)
                with suppress(Exception):
                    connection.close()
                if broken and attempt == 1:
                    continue
                if broken:
                    raise Unavailable("the ledger cannot be read") from error
                raise
            self._release(connection)
            return result
        raise AssertionError("unreachable")

    async def read(self, fn: Callable[[Tx], T]) -> T:
        """What the unit read, in a thread of the pool. Raises Unavailable."""
        return await asyncio.get_running_loop().run_in_executor(self._readers, self.read_sync, fn)

    def is_driver_error(self, error: BaseException) -> bool:
        """Whether an exception came out of the database's driver."""
        return type(error).__module__.partition(".")[0] in ("pysqlite3", "psycopg", "sqlite3")

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
        self._readers.shutdown(wait=True)
        with self._idle_lock:
            self._closed = True
            for connection in self._idle:
                connection.close()
            self._idle.clear()
