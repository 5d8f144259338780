"""The ledger in a SQLite file: connections, time, the writer's transactions.

The file is long because all that differs from PostgreSQL is here, as all of PostgreSQL is in the file beside it.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence
from importlib import import_module
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple
from urllib.parse import quote

import sqlalchemy as sa
from sqlalchemy.dialects.sqlite.base import SQLiteCompiler
from sqlalchemy.dialects.sqlite.pysqlite import SQLiteDialect_pysqlite

from onward.files import private_directory, private_file
from onward.findings import Finding, State
from onward.storage import counters, sqlite_errors
from onward.storage.base import FileReplaced, NotALedger, Unavailable
from onward.storage.driver import Driver, StatementCache, WriteConnection, defaults_of
from onward.storage.identity import LEDGER_ID
from onward.storage.ledger_file import LedgerFile
from onward.storage.place import Place
from onward.storage.sqlite_errors import TRANSIENT, Code, code_of
from onward.storage.tables import commits
from onward.storage.transaction import Tx

if TYPE_CHECKING:
    from onward.storage.engine import Database

BUSY_TIMEOUT_S = 5.0
RETRY_PAUSE_S = 0.0007  # at most, between looks at a lock that another process holds: about as long as it is held
ROWS_PER_INSERT = 32
SAFE_VERSION = (3, 51, 3)  # before it, a WAL reset can corrupt a file that several connections write
# Microseconds since 1970, exact to the millisecond. `unixepoch('subsec')` says it shorter, from SQLite 3.42 on.
NOW = "CAST(round((julianday('now') - 2440587.5) * 86400000) AS INTEGER) * 1000"
BEGIN = sa.update(commits).values(n=commits.c.n + 1).returning(commits.c.n, sa.literal_column(NOW))

IS_LEDGER = (
    "SELECT count(*) = 3 FROM sqlite_master WHERE name IN ('_ledger.commits', '_ledger.jobs', '_ledger.runners')"
)
_vacuum_mode, _free_pages, _pages = map(sa.text, ("PRAGMA auto_vacuum", "PRAGMA freelist_count", "PRAGMA page_count"))
INCREMENTAL = 2
WAL_BYTES = 64 * 2**20  # that the log keeps of what it had to grow by, while a backup or another long read went on
_number = sa.select(commits.c.n)
_number_and_time = sa.select(commits.c.n, sa.literal_column(NOW))
_same_number = sa.update(commits).values(n=commits.c.n)


def dbapi(*, embedded: bool = False) -> Any:
    """Return the module pysqlite3, which brings a current SQLite; Python's own where it is not installed.

    Python's own also in a process whose other code opens the file: the locks of a file are its process's, so that of
    two copies of SQLite in one process each takes the other's for released, and deletes the log that the other writes.
    """
    try:
        pysqlite3 = import_module("sqlite3" if embedded else "pysqlite3")
    except ModuleNotFoundError:
        pysqlite3 = import_module("sqlite3")
    # Otherwise the driver searches for an adapter of each None, which takes as long as ten other values. The look-up in
    # an empty dictionary returns None as a function of ours would, in a quarter of its time.
    pysqlite3.register_adapter(type(None), {}.get)
    return pysqlite3


class _Compiler(SQLiteCompiler):
    """Writes an `INDEXED BY` given to `with_hint`, which SQLAlchemy's own compiler leaves out."""

    def get_from_hint_text(self, table: Any, text: str | None) -> str | None:  # noqa: ARG002
        return text


class _Positional(NamedTuple):
    """A text with question marks, its literal values, and the function that puts its values in order."""

    text: str
    defaults: dict[str, Any]
    in_order: Callable[[dict[str, Any]], Any]


def _dialect(paramstyle: Literal["named", "qmark"]) -> SQLiteDialect_pysqlite:
    dialect = SQLiteDialect_pysqlite(paramstyle=paramstyle)
    dialect.statement_compiler = _Compiler
    return dialect


class SQLite(Driver):
    """A SQLite file with a WAL."""

    name = "sqlite"
    modules = ("pysqlite3", "sqlite3")
    is_local = True
    tables = "SELECT name FROM sqlite_master WHERE type IN ('table', 'view')"
    ledgers = """
        SELECT rtrim(prefix, '_') FROM (
            SELECT substr(name, 1, length(name) - length('alembic_version')) AS prefix FROM sqlite_master
            WHERE substr(name, -length('_alembic_version')) = '_alembic_version'
        ) WHERE (
            SELECT count(*) FROM sqlite_master WHERE type = 'table' AND name IN
            (prefix || 'commits', prefix || 'idempotency', prefix || 'jobs', prefix || 'marks', prefix || 'runners')
        ) = 5 ORDER BY prefix
    """
    clock: Any = sa.text(f"SELECT {NOW}")

    def __init__(self, url: sa.URL, place: Place, *, embedded: bool = False) -> None:
        super().__init__(_dialect("named"), place)
        self._positional = _dialect("qmark")
        self.path = Path(url.database or "")
        self.dbapi = dbapi(embedded=embedded)
        self.file = LedgerFile(self.path)
        self._inserts: dict[tuple[str, int], str] = {}
        self._statements: StatementCache[_Positional] = StatementCache(self._by_position)

    def is_lost(self, error: BaseException, connection: Any) -> bool:  # noqa: ARG002 - the code tells
        return self.is_error(error) and sqlite_errors.is_lost(error)

    def is_transient(self, error: BaseException) -> bool:
        return self.is_error(error) and code_of(error) in TRANSIENT

    def is_disk_full(self, error: BaseException) -> bool:
        return self.is_error(error) and code_of(error) == Code.FULL

    def is_idle(self, connection: Any) -> bool:
        return not connection.in_transaction

    def read_revision(self, connection: Any) -> int:
        # In the shared memory of the WAL, or in its cache. `PRAGMA data_version` would count heartbeats too.
        return int(connection.execute(self.compiled(_number)[0]).fetchone()[0])

    def connect(self) -> Any:
        if self.file.is_known:
            self.file.verify()
        else:
            try:
                private_directory(self.path.parent)
                private_file(self.path)  # -wal and -shm get its rights
            except IsADirectoryError:
                words = f"{self.path} is a folder: name a file in it, as in {self.path / 'onward.db'}"
                raise Unavailable(f"database.url: {words}") from None
            except OSError as error:
                words = f"{self.path} cannot be used ({error.strerror}): give a place that this user may write"
                raise Unavailable(f"database.url: {words}") from None
        connection = self.dbapi.connect(
            f"file:{quote(str(self.path))}?mode={'rw' if self.file.is_known else 'rwc'}",
            uri=True,
            timeout=BUSY_TIMEOUT_S,
            isolation_level=None,
            check_same_thread=False,
            cached_statements=256,
        )
        try:
            self._prepare(connection)
        except Exception as error:
            connection.close()
            if code_of(error) == Code.NOTADB:
                words = f"{self.path} is not a SQLite file; name another file, or move this one away"
                raise NotALedger(f"database.url: {words}") from error
            raise
        return connection

    def _prepare(self, connection: Any) -> None:
        self.file.hold()
        is_new = self.path.stat().st_size == 0
        if is_new:  # it cannot be changed later, and takes the write lock
            connection.execute("PRAGMA auto_vacuum=INCREMENTAL")
        # Another program's file stays as it is: the mode is kept in the file.
        if is_new or connection.execute(self.place.named(IS_LEDGER)).fetchone()[0]:
            _enter_wal_mode(connection)
        connection.execute("PRAGMA synchronous=FULL")
        connection.execute("PRAGMA cache_size=-4096")
        connection.execute("PRAGMA temp_store=MEMORY")
        connection.execute(f"PRAGMA journal_size_limit={WAL_BYTES}")

    def insert_many(self, cursor: Any, insert: Any, rows: list[dict[str, Any]]) -> None:
        # Several rows in one step: the driver releases the interpreter's lock once, and not for each row.
        while len(rows) > 1:
            some, rows = rows[:ROWS_PER_INSERT], rows[ROWS_PER_INSERT:]
            cursor.execute(self._insert_text(insert, len(some)), [value for row in some for value in row.values()])
        if rows:
            self.execute(cursor, insert, rows[0])

    def execute(self, cursor: Any, statement: Any, params: dict[str, Any]) -> None:
        # By position: the driver asks SQLite for each name, and lets another thread have the interpreter meanwhile.
        text, defaults, in_order = self._statements(statement)
        try:
            values = in_order({**defaults, **params} if defaults else params)
        except KeyError:  # the driver says which one is missing
            super().execute(cursor, statement, params)
        else:
            cursor.execute(text, values)

    def update_each(self, cursor: Any, statement: Any, rows: Sequence[dict[str, Any]]) -> int:
        text, defaults, in_order = self._statements(statement)
        cursor.executemany(text, [in_order({**defaults, **row} if defaults else row) for row in rows])
        if cursor.rowcount < 0:  # of a statement that begins with WITH
            raise ValueError("the rows that this statement has changed cannot be counted")
        return int(cursor.rowcount)

    def rows_touched(self, cursor: Any) -> int:
        if cursor.rowcount < 0:  # Python's sqlite3 counts no rows for a statement that begins with WITH
            cursor.execute("SELECT changes()")
            return int(cursor.fetchone()[0])
        return int(cursor.rowcount)

    def _by_position(self, statement: Any) -> _Positional:
        done = statement.compile(dialect=self._positional, compile_kwargs={"render_postcompile": True})
        names = done.positiontup
        in_order = itemgetter(*names) if len(names) > 1 else lambda params: [params[name] for name in names]
        return _Positional(self.place.named(str(done)), defaults_of(done), in_order)

    def _insert_text(self, insert: Any, rows: int) -> str:
        """Return the text of an insert of so many rows, whose values are bound by their order."""
        text = self.compiled(insert)[0]
        found = self._inserts.get((text, rows))
        if found is None:
            head, _, rest = text.partition(" VALUES (")
            values, _, tail = rest.partition(")")
            row = f"({', '.join('?' * (values.count(',') + 1))})"
            found = self._inserts[text, rows] = f"{head} VALUES {', '.join([row] * rows)}{tail}"
        return found

    def verify(self) -> None:
        self.file.verify()

    def begin_read(self, connection: Any, *, snapshot: bool = False) -> None:
        if snapshot:
            connection.execute("BEGIN")

    def give_back_space(self, tx: Tx, limit: int) -> int:
        # A quarter may stay empty, because the next jobs need the space again.
        before: int = tx.scalar(_pages) or 0
        if tx.scalar(_vacuum_mode) != INCREMENTAL or (tx.scalar(_free_pages) or 0) <= before // 4:
            return 0
        tx.execute_once(sa.text(f"PRAGMA incremental_vacuum({limit})"))
        tx.execute(_same_number)  # the pragma counts as no change, and a transaction without any is rolled back
        return before - (tx.scalar(_pages) or 0)

    def join(self, tx: Tx) -> tuple[int, int, int, str | None]:
        change, now = tx.one(BEGIN)  # type: ignore[misc]
        # A caller's transaction holds the one lock for all: there is nobody to wait for the row of a slot.
        return change, now, 0, tx.scalar(LEDGER_ID)

    def check(self, connection: Any) -> Finding:
        version = str(connection.execute("SELECT sqlite_version()").fetchone()[0])
        words = f"SQLite {version} at {self.path}"
        if tuple(int(part) for part in version.split(".")) < SAFE_VERSION:
            fix = "run one process only, or take PostgreSQL; a current SQLite comes with pysqlite3 on x86-64 and macOS"
            return Finding("database", State.WARNING, f"{words}: old enough to damage a file that many write", fix)
        return Finding("database", State.OK, words)

    def write_connection(self, database: Database) -> WriteConnection:
        return SQLiteWriteConnection(database, self.file)


def _enter_wal_mode(connection: Any) -> None:
    """Enter WAL mode. While another process enters it, SQLite refuses at once, whatever its timeout."""
    deadline = time.monotonic() + BUSY_TIMEOUT_S
    while True:
        try:
            connection.execute("PRAGMA journal_mode=WAL")
            return
        except Exception as error:
            if code_of(error) not in TRANSIENT or time.monotonic() > deadline:
                raise
            time.sleep(0.005)


class SQLiteWriteConnection(WriteConnection):
    """Transactions that hold SQLite's one write lock from their begin on."""

    _changes_before = 0

    def __init__(self, database: Database, file: LedgerFile) -> None:
        super().__init__(database)
        self._file = file
        self._holds_wal = False
        self._has_number = False  # the transaction that has begun

    def _prepare(self, connection: Any) -> None:
        # SQLite's own waiting sleeps up to 100 ms at a time, and so keeps losing to a busier process.
        connection.execute("PRAGMA busy_timeout=0")

    def _begin(self, tx: Tx, deadline: float, *, is_change: bool) -> tuple[int, int]:
        pause = 0.0001
        while True:
            try:
                tx.raw("BEGIN IMMEDIATE")
                break
            except Exception as error:
                if not self.is_transient(error) or time.monotonic() > deadline:
                    raise
                time.sleep(pause * random.uniform(0.5, 1.5))  # noqa: S311 - spreads, guards nothing
                pause = min(pause * 1.5, RETRY_PAUSE_S)
        if not self._holds_wal:
            self._file.hold_wal()
            self._holds_wal = True
        try:
            self._file.verify()
        except FileReplaced:
            self.rollback()
            raise
        change, now = tx.one(BEGIN if is_change else _number_and_time)  # type: ignore[misc]
        self._changes_before = self._connection.total_changes
        if is_change:
            self._database.own_commits.begin(change)
            self._has_number = True
        return change, now

    def commit(self, tx: Tx, slot: int, deadline: float) -> None:  # noqa: ARG002 - SQLite's answer is the outcome
        counters.write(tx, slot)
        if self._connection.total_changes == self._changes_before:
            self.rollback()  # nothing was written, so there is nothing to wait for the disk for
        else:
            tx.raw("COMMIT")
            self._has_number = False

    def rollback(self) -> None:
        super().rollback()
        self._give_number_back()

    def close(self) -> None:
        super().close()
        self._give_number_back()
        self._file.release_wal()
        self._holds_wal = False

    def _give_number_back(self) -> None:
        if self._has_number:
            self._has_number = False
            self._database.own_commits.undo()

    def is_open(self) -> bool:
        return bool(self._connection.in_transaction)
