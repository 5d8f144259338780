"""The ledger on PostgreSQL: connections, time, the writer's transactions.

The file is long because all that differs from SQLite is here, as all of SQLite is in the file beside it.
"""

from __future__ import annotations

import json
import re
import secrets
import time
import zlib
from collections import deque
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

import orjson
import sqlalchemy as sa
from sqlalchemy.dialects.postgresql.psycopg import PGDialect_psycopg

from onward.findings import Finding, State
from onward.storage import counters, lock_order, pooler
from onward.storage.base import StorageError, Unavailable
from onward.storage.driver import Driver, StatementCache, WriteConnection, defaults_of
from onward.storage.identity import ID_NAME
from onward.storage.lock_order import Ordered
from onward.storage.place import Place
from onward.storage.sql import as_list, in_array
from onward.storage.tables import CALLERS_SLOTS, SLOTS, jobs, metadata
from onward.storage.transaction import Tx

if TYPE_CHECKING:
    from onward.storage.engine import Database

OLDEST_VERSION = 13
CONNECT_TIMEOUT_S = 3
POOLED_READ_TIMEOUT_S = 5.0  # for a read to get one of the pooler's connections
LOCK_TIMEOUT_S = 10
# The process writes nothing for so long. Its neighbours hold a row for some milliseconds, a caller as long as it likes.
WRITERS_LOCK_TIMEOUT_S = 0.25
# The server ends the writer's transaction of a process that stands still, or is cut off, with all that it has locked
# before its neighbours take the process for dead (`Timings.lease_timeout_s`).
WRITERS_IDLE_TIMEOUT_S = 5
STATEMENT_TIMEOUT_S = 30
# Settings of a session; behind a pooler, where each transaction has another session, of each transaction.
SETTINGS = (
    "synchronous_commit = on",
    "timezone = 'UTC'",
    f"lock_timeout = '{LOCK_TIMEOUT_S}s'",
    f"statement_timeout = '{STATEMENT_TIMEOUT_S}s'",
    "idle_in_transaction_session_timeout = '60s'",
    # A session keeps the plan of a prepared statement until its tables are analysed. One that was made while a table
    # was empty would read all of it later.
    "enable_seqscan = off",
    "jit = off",  # up to PostgreSQL 17 reading a whole table now counts as so dear that it would be compiled
)
POOLED_BEGIN = "; ".join(["BEGIN", *(f"SET LOCAL {setting}" for setting in SETTINGS)])
WRITERS_TIMEOUT = f"lock_timeout = {WRITERS_LOCK_TIMEOUT_S * 1000:.0f}"
WRITERS_SETTINGS = (WRITERS_TIMEOUT, f"idle_in_transaction_session_timeout = '{WRITERS_IDLE_TIMEOUT_S}s'")
POOLED_WRITERS_BEGIN = "; ".join([POOLED_BEGIN, *(f"SET LOCAL {setting}" for setting in WRITERS_SETTINGS)])
SNAPSHOT_LEVEL = "ISOLATION LEVEL REPEATABLE READ"
SESSION_FACTS = "SELECT pg_backend_pid(), current_setting('server_encoding')"
LOST_CLASSES = ("08", "40", "53", "57", "58", "F0", "XX")  # connection, conflict, resources, operator, system, files
TRANSIENT_STATES = ("40001", "40P01", "55P03")  # serialization, deadlock, lock not available: nothing was written
LOCK_TIMEOUT_STATE = "55P03"
CANCELED_STATE = "57014"
SERVER_LIMITS_S = {LOCK_TIMEOUT_STATE: LOCK_TIMEOUT_S, CANCELED_STATE: STATEMENT_TIMEOUT_S}
TOO_SLOW_STATES = (CANCELED_STATE, "25P03")  # a statement, and the time between two of a transaction
# Of no such class: read only, as a server that was demoted; prepared statements that the connection does not have.
LOST_STATES = ("55P03", "25006", "26000", "42P05")
TOO_LARGE = "53400"  # the files of one statement, for `temp_file_limit`
STALE_PLAN = ("0A000", "RevalidateCachedQuery")  # a prepared statement, and its table has other columns now
ROWS_PER_STATEMENT = 100
VALUE = re.compile(r"%\((\w+)\)s")
INSERTED = re.compile(r"(?P<into>INSERT .*?) VALUES \((?P<values>.*)\)(?P<rest>| ON CONFLICT DO NOTHING)")
IDLE, IN_TRANSACTION = 0, 2  # libpq's PGTransactionStatusType
HEARTBEATS_KEPT = 60  # a minute's: later ones are no longer at the end of a snapshot
OUTCOME_TIMEOUT_S = 1.0  # at least, to ask for the outcome of a commit whose answer was lost
# A transaction's number does not tell afterwards whether it was committed: a crash forgets numbers that reached no disk
# and gives them out again. So each commit leaves a mark in a row of its writer's, which is locked until it is over.
WRITERS_MARK = sa.text("INSERT INTO _ledger.marks (writer, mark) VALUES (:writer, '') ON CONFLICT (writer) DO NOTHING")
BEGIN = sa.text(
    "WITH marked AS (UPDATE _ledger.marks SET mark = :mark WHERE writer = :writer)"
    " SELECT CAST(CAST(pg_current_xact_id() AS TEXT) AS BIGINT),"
    " CAST(extract(epoch FROM clock_timestamp()) * 1000000 AS BIGINT), EXISTS (SELECT FROM _ledger.gates)"
)
# Whole: a transaction that had its number before is no longer in the list once it is over.
SNAPSHOT = b"SELECT CAST(pg_current_snapshot() AS TEXT)"
JOIN = sa.text("""
SELECT CAST(CAST(pg_current_xact_id() AS TEXT) AS BIGINT),
    CAST(extract(epoch FROM clock_timestamp()) * 1000000 AS BIGINT),
    (SELECT value FROM _ledger.meta WHERE name = :name)
""")
# Before JOIN, because an error would end the caller's transaction: this says whether the table is there.
HAS_META = sa.text(
    "SELECT count(*) = 2 FROM pg_attribute"
    " WHERE attrelid = to_regclass('_ledger.meta') AND attname = ANY (ARRAY['name', 'value'])"
)
OUTCOME = sa.text("SELECT mark FROM _ledger.marks WHERE writer = :writer FOR UPDATE")
# Not of single keys: a transaction may touch many, and the server has room for some thousands of locks.
LOCKS_OF_KEYS = 1_024
LOCK_KEYS = sa.text("""
SELECT pg_advisory_xact_lock(CAST(:ledger AS INTEGER), n)
FROM (SELECT CAST(value AS INTEGER) AS n FROM jsonb_array_elements_text(CAST(:locks AS JSONB)) ORDER BY 1) AS locks
""")
LOCK_JOBS = sa.select(jobs.c.id).where(in_array(jobs.c.id, "ids")).order_by(jobs.c.id).with_for_update()


class PostgreSQL(Driver):
    """A PostgreSQL database, reached with psycopg."""

    name = "postgresql"
    modules = ("psycopg",)
    writers_lock_timeout_s = WRITERS_LOCK_TIMEOUT_S
    ledgers = """
        SELECT schemaname FROM pg_tables
        WHERE tablename IN ('alembic_version', 'commits', 'idempotency', 'jobs', 'marks', 'runners')
        GROUP BY schemaname HAVING count(*) = 6 ORDER BY schemaname
    """
    clock: Any = sa.text("SELECT CAST(extract(epoch FROM clock_timestamp()) * 1000000 AS BIGINT)")

    def __init__(self, url: sa.URL, place: Place) -> None:
        super().__init__(PGDialect_psycopg(), place)  # type: ignore[no-untyped-call]
        self._url = url.set(drivername="postgresql").render_as_string(hide_password=False)
        schema = f"SELECT oid FROM pg_namespace WHERE nspname = '{place.schema}'"  # noqa: S608 - a name without quotes
        kinds = "relkind IN ('r', 'p', 'v', 'm')"
        self.tables = f"SELECT relname FROM pg_class WHERE {kinds} AND relnamespace = ({schema})"  # noqa: S608 - as above
        self._for_rows = StatementCache(self._compile_for_rows)
        self._heartbeats: deque[int] = deque(maxlen=HEARTBEATS_KEPT)  # transactions of this process

    def is_lost(self, error: BaseException, connection: Any) -> bool:
        if not self.is_error(error):
            return False
        state = getattr(error, "sqlstate", None) or ""
        if getattr(connection, "closed", True) or state in LOST_STATES:
            return True
        if state == STALE_PLAN[0]:
            return bool(error.diag.source_function == STALE_PLAN[1])  # type: ignore[attr-defined]
        return state[:2] in LOST_CLASSES and state != TOO_LARGE

    def is_transient(self, error: BaseException) -> bool:
        return getattr(error, "sqlstate", None) in TRANSIENT_STATES

    def limit_lock_waits(self, tx: Tx, ms: int | None) -> None:
        tx.raw(f"SET LOCAL {WRITERS_TIMEOUT if ms is None else f'lock_timeout = {ms}'}")

    def is_lock_timeout(self, error: BaseException) -> bool:
        return getattr(error, "sqlstate", None) == LOCK_TIMEOUT_STATE

    def server_limit_s(self, error: BaseException) -> float | None:
        return SERVER_LIMITS_S.get(getattr(error, "sqlstate", None) or "")

    def is_too_slow(self, error: BaseException) -> bool:
        return getattr(error, "sqlstate", None) in TOO_SLOW_STATES

    def is_disk_full(self, error: BaseException) -> bool:
        return getattr(error, "sqlstate", None) == "53100"

    def is_idle(self, connection: Any) -> bool:
        return bool(connection.pgconn.transaction_status == IDLE)

    def read_revision(self, connection: Any) -> int:
        import psycopg  # noqa: PLC0415

        # By the wire alone: psycopg's cursors take twice as long again, and this is asked thirty times a second.
        found = connection.pgconn.exec_(SNAPSHOT)
        if found.status != psycopg.pq.ExecStatus.TUPLES_OK:
            raise psycopg.OperationalError(found.error_message.decode(errors="replace").strip())
        return hash(without(found.get_value(0, 0) or b"0:0:", self._heartbeats))

    def connect(self) -> Any:
        import psycopg  # noqa: PLC0415

        connection = psycopg.connect(
            self._url,
            autocommit=True,
            connect_timeout=CONNECT_TIMEOUT_S,
            application_name="onward",
            keepalives_idle=5,
            keepalives_interval=2,
            keepalives_count=3,
            tcp_user_timeout=10_000,
        )
        try:
            _set_up(connection)
        except BaseException:
            connection.close()
            raise
        return connection

    def insert_many(self, cursor: Any, insert: Any, rows: list[dict[str, Any]]) -> None:
        if len(rows) > 1 and self._for_rows(insert) is not None:
            self._run_for_rows(cursor, insert, rows)
        elif len(rows) == 1 or pooler.is_marked(cursor.connection):
            super().insert_many(cursor, insert, rows)
        else:
            cursor.executemany(self.compiled(insert)[0], rows)  # sent together: no row waits for the answer to another

    def update_each(self, cursor: Any, statement: Any, rows: Sequence[dict[str, Any]]) -> int:
        if len(rows) > 1 and self._for_rows(statement) is not None:
            return self._run_for_rows(cursor, statement, rows)
        if len(rows) == 1 or pooler.is_marked(cursor.connection):
            return super().update_each(cursor, statement, rows)
        text, defaults = self.compiled(statement)
        cursor.executemany(text, [{**defaults, **row} for row in rows] if defaults else rows)
        return int(cursor.rowcount)

    def _run_for_rows(self, cursor: Any, statement: Any, rows: Sequence[dict[str, Any]]) -> int:
        """Run a statement once for many rows of values, and return how many rows of its table it has touched."""
        text, names, defaults = self._for_rows(statement)  # type: ignore[misc] # the caller has looked
        touched = 0
        for start in range(0, len(rows), ROWS_PER_STATEMENT):
            some = [defaults | row for row in rows[start : start + ROWS_PER_STATEMENT]]
            # Without what is NULL, as it is anyway where a name is missing: half of the values of an accepted job.
            some = [{name: value for name in names if (value := row[name]) is not None} for row in some]
            cursor.execute(text, {"rows": orjson.dumps(some).decode()})
            touched += cursor.rowcount
        return touched

    def _compile_for_rows(self, statement: Any) -> tuple[str, tuple[str, ...], dict[str, Any]] | None:
        """Compile a statement of the ledger's own tables, whose values JSON has as they are; None for any other."""
        if getattr(getattr(statement, "table", None), "metadata", None) is not metadata:
            return None
        done = statement.compile(dialect=self._compiler, compile_kwargs={"render_postcompile": True})
        text = str(done)
        if not isinstance(statement, sa.Update) and not INSERTED.fullmatch(text):
            return None
        types = {name: bind.type.compile(self._compiler) for name, bind in done.binds.items()}
        return self.place.named(for_rows(text, types)), tuple(dict.fromkeys(VALUE.findall(text))), defaults_of(done)

    def begin_read(self, connection: Any, *, snapshot: bool = False) -> None:
        if pooler.is_marked(connection):
            begin = f"{POOLED_BEGIN}; SET TRANSACTION {SNAPSHOT_LEVEL}" if snapshot else POOLED_BEGIN
            pooler.run(connection, begin, time.monotonic() + POOLED_READ_TIMEOUT_S)
        elif snapshot:
            connection.execute(f"BEGIN {SNAPSHOT_LEVEL}")

    def join(self, tx: Tx) -> tuple[int, int, int, str | None]:
        if not tx.scalar(HAS_META):
            return 0, 0, 0, None
        change, now, found = tx.one(JOIN, name=ID_NAME)  # type: ignore[misc]
        return change, now, SLOTS + change % CALLERS_SLOTS, found

    def lock_keys(self, tx: Tx, keys: Collection[str]) -> None:
        locks = {zlib.crc32(key.encode()) % LOCKS_OF_KEYS for key in keys}
        ledger = zlib.crc32(self.place.schema.encode()) % 2**31  # those of another ledger in the database are others
        tx.all(LOCK_KEYS, ledger=ledger, locks=json.dumps(sorted(locks)))

    def check(self, connection: Any) -> Finding:
        version = int(connection.execute("SHOW server_version_num").fetchone()[0]) // 10_000
        if version < OLDEST_VERSION:
            fix = f"take PostgreSQL {OLDEST_VERSION} or newer"
            return Finding("database", State.WRONG, f"PostgreSQL {version} is too old", fix)
        for setting in ("fsync", "full_page_writes"):
            if connection.execute(f"SHOW {setting}").fetchone()[0] != "on":
                words = f"PostgreSQL may lose or damage what it has committed when the power fails ({setting} is off)"
                return Finding("database", State.WARNING, words, f"set {setting} = on in postgresql.conf")
        through = " through a connection pooler" if pooler.is_marked(connection) else ""
        return Finding("database", State.OK, f"PostgreSQL {version} answers{through}")

    def write_connection(self, database: Database) -> WriteConnection:
        return PostgreSQLWriteConnection(database, self._heartbeats)


def for_rows(text: str, types: Mapping[str, str]) -> str:
    """Return the text of an INSERT or UPDATE of one row, with the types of its values, as a text for many rows.

    Its parameter `rows` is a JSON list of objects, one for each row. The conditions of an UPDATE begin with that on its
    key: it finds the rows by the key's index, whatever the planner expects. By the plan that PostgreSQL makes of it
    (`test_plans`), they are locked in the order of the list.
    """
    names = dict.fromkeys(VALUE.findall(text))
    columns = ", ".join(f'"{name}" {types[name].partition(" COLLATE")[0]}' for name in names)
    each = f"json_to_recordset(CAST(%(rows)s AS JSON)) AS each ({columns})"
    text = VALUE.sub(r'each."\1"', text)
    if found := INSERTED.fullmatch(text):
        return "{into} SELECT {values} FROM {each}{rest}".format(each=each, **found.groupdict())  # noqa: S608 - parts of a statement of ours
    change, conditions = text.split(" WHERE ", 1)
    key, value = conditions.partition(" AND ")[0].split(" = ")
    by_key = f"{key} = ANY (ARRAY(SELECT {value} FROM each))"  # noqa: S608 - parts of a statement of ours
    return f"WITH each AS MATERIALIZED (SELECT * FROM {each}) {change} FROM each WHERE {by_key} AND {conditions}"  # noqa: S608 - as above


def is_refusal(error: Exception) -> bool:
    """Return whether the server has refused a statement, and so rolls the transaction back; else it may be away."""
    return getattr(getattr(error, "diag", None), "severity_nonlocalized", None) == "ERROR"


def without(snapshot: bytes, transactions: Collection[int]) -> tuple[int, int, bytes]:
    """Return a snapshot's oldest open transaction, next one and open ones, as if the newest had not been.

    Only transactions that the newest ones end with are left out: any other that has ended since shows.
    """
    oldest, following, running = snapshot.split(b":")
    after = int(following)
    while after - 1 in transactions:
        after -= 1
    return min(int(oldest), after), after, running


@contextmanager
def _sent_together(connection: Any) -> Iterator[None]:
    """Send the statements of the block without waiting for each other's answers, and raise the first error at its end.

    Not through a pooler in transaction mode, nor by a libpq before 14.
    """
    import psycopg  # noqa: PLC0415

    if pooler.is_marked(connection) or not psycopg.capabilities.has_pipeline():
        yield
        return
    try:
        with connection.pipeline():
            yield
    except psycopg.Error as error:
        if connection.pgconn.pipeline_status == psycopg.pq.PipelineStatus.OFF:
            raise
        # The server has said that it ends, and not ended the connection yet: psycopg fails to leave its pipeline for
        # what has not come, and never will.
        connection.close()
        raise (error.__context__ if isinstance(error.__context__, psycopg.Error) else error) from None


def _set_up(connection: Any) -> None:
    """Check the encoding, and prepare the session, or mark it as one of a transaction pooler."""
    pid, encoding = pooler.run(connection, SESSION_FACTS, time.monotonic() + CONNECT_TIMEOUT_S)
    if encoding != "UTF8":
        fix = "createdb -E UTF8 -T template0"
        raise StorageError(f"database.url: the database's encoding is {encoding} and has to be UTF8: {fix}")
    if int(pid) == connection.info.backend_pid:
        connection.execute("; ".join(f"SET {setting}" for setting in SETTINGS))
    else:
        pooler.mark(connection)


class PostgreSQLWriteConnection(WriteConnection):
    """Transactions whose outcome can be asked for when the answer to a commit is lost."""

    def __init__(self, database: Database, heartbeats: deque[int]) -> None:
        super().__init__(database)
        self._heartbeats = heartbeats
        self._writer = secrets.token_hex(8)
        self._mark = ""

    def _prepare(self, connection: Any) -> None:
        self._heartbeats.clear()  # a server that has crashed gives the numbers of unfinished transactions out again
        self._database.driver.begin_read(connection)
        Tx(self._database, connection).execute(WRITERS_MARK, writer=self._writer)
        self._database.driver.end_read(connection)
        if not pooler.is_marked(connection):
            connection.execute("; ".join(f"SET {setting}" for setting in WRITERS_SETTINGS))

    def _begin(self, tx: Tx, deadline: float, *, is_change: bool) -> tuple[int, int]:
        self._mark = f"{time.time():.0f}/{secrets.token_hex(8)}"
        with _sent_together(self._connection):
            if pooler.is_marked(self._connection):
                pooler.run(self._connection, POOLED_WRITERS_BEGIN, deadline)
            else:
                self._connection.execute("BEGIN")  # the session has the writer's settings
            tx.execute(BEGIN, writer=self._writer, mark=self._mark)
        change, now, tx.any_limits = tx.first_row()
        if not is_change:
            self._heartbeats.append(change)
        return change, now

    def lock_jobs(self, tx: Tx, batch: Collection[Ordered], *, in_order: bool) -> None:
        if (tx.any_limits or not in_order) and len(ids := lock_order.job_ids(batch)) > 1:
            tx.all(LOCK_JOBS, ids=as_list(ids))

    def commit(self, tx: Tx, slot: int, deadline: float) -> None:
        try:
            with _sent_together(self._connection):
                counters.write(tx, slot)
                tx.raw("COMMIT")
        except Exception as error:
            definite = self._database.driver.is_transient(error) or not self.is_lost(error) or is_refusal(error)
            if definite or not self._was_committed(deadline):
                raise

    def _was_committed(self, deadline: float) -> bool:
        """Return whether the commit left its mark; False also if the database cannot be asked."""
        self.close()
        # Never before the deadline: while the outcome is open nothing may be written again.
        deadline = max(deadline, time.monotonic() + OUTCOME_TIMEOUT_S)
        while time.monotonic() < deadline:
            with suppress(Exception):  # whatever it is, the outcome is not known yet
                found = self._database.read_sync(lambda tx: tx.one(OUTCOME, writer=self._writer))
                return found is not None and bool(found[0] == self._mark)
            time.sleep(0.05)
        return False

    def is_transient(self, error: BaseException) -> bool:
        away = isinstance(error, Unavailable) or bool(getattr(self._connection, "closed", True))
        return away or super().is_transient(error)

    def is_open(self) -> bool:
        return bool(self._connection.pgconn.transaction_status == IN_TRANSACTION)
