"""Statements of one transaction, and the counters and ids that belong to it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

from onward.storage.base import Locked, TransactionEnded

if TYPE_CHECKING:
    from onward.storage.engine import Database

T = TypeVar("T")
Counted = tuple[dict[tuple[str, str], int], dict[tuple[Any, ...], int]]
BRIEF_WAIT_MS = 50
SKIP_WAIT_MS = 10  # where the change is left for later
LOCKED = "another transaction uses the same rows, and takes too long: try again later"


class Tx:
    """Runs the statements of a transaction function; knows the ledger's time, makes ids, moves counters."""

    _skip_wait_ms = SKIP_WAIT_MS
    ends_soon = True  # so that others may wait for what it locks at its end

    def __init__(self, database: Database, connection: Any) -> None:
        self._database = database
        self._driver = database.driver
        self._cursor = connection.cursor()
        self._now: int | None = None
        self._wait_ms: int | None = None  # for a locked row, if not as long as usual
        self._new: list[dict[str, Any]] = []
        self._insert: Any = None
        self.change = 0
        self.clock_shift = 0  # from the process's clock to the ledger's, in microseconds; the writer measures it
        self.any_limits: bool | None = None  # of handlers, at the begin; None if the database was not asked then
        self._deltas: dict[tuple[str, str], int] = {}
        self._figures: dict[tuple[Any, ...], int] = {}
        self._moves: dict[tuple[str | None, str, str, tuple[Any, ...] | None], int] = {}  # not yet in the two above
        self.noted: list[Any] = []  # by the functions of the transaction, for `at_end`
        self.at_end: Callable[[Tx], list[Any]] | None = None  # runs once, after all functions
        self.once_committed: list[Callable[[], object]] = []  # the writer runs these after the commit, as for the log
        self.open_before: dict[str, int] = {}  # by owner, the unfinished jobs of earlier commits

    @property
    def dialect(self) -> str:
        return self._driver.name

    @property
    def now(self) -> int:
        """The ledger's clock, in microseconds: the same for all of a commit."""
        if self._now is None:
            self._now = int(self.one(self._driver.clock)[0])  # type: ignore[index]
        return self._now

    def set_clock(self, change: int, now: int) -> None:
        """Set the commit's number and time; the writer calls it at the begin."""
        self.change, self._now = change, now
        self._database.ids.seen(now // 1000)

    def insert(self, statement: Any, row: dict[str, Any]) -> None:
        """Insert a row before the next statement; consecutive rows of an insert go as one statement.

        `row` has a value for each column that the statement names, in their order.
        """
        if statement is not self._insert:
            self.flush()
            self._insert = statement
        self._new.append(row)

    def flush(self) -> None:
        """Insert the buffered rows."""
        if self._new:
            rows, self._new = self._new, []
            self._driver.insert_many(self._cursor, self._insert, rows)

    @contextmanager
    def ahead(self) -> Iterator[None]:
        """Run the statements of the block before the buffered rows, which have no part in them and stay together."""
        buffered, self._new = self._new, []
        try:
            yield
        finally:
            self._new = buffered

    def drop_inserts(self) -> None:
        """Forget the buffered rows, because their transaction function is rolled back."""
        self._new = []

    def close(self) -> None:
        """End the last statement, which would keep later ones of the connection at the state that it reads."""
        self._cursor.close()

    def _run(self, statement: Any, params: dict[str, Any]) -> Any:
        if self._new:
            self.flush()
        self._driver.execute(self._cursor, statement, params)
        return self._cursor

    def lock_keys(self, keys: Collection[str]) -> None:
        """Lock the keys until the end of the transaction. Call it once: all are locked in one order."""
        self._driver.lock_keys(self, keys)

    def execute_once(self, statement: Any) -> list[Any]:
        """Run a statement built for a single use, with its values in it; its text is not kept. Return its rows."""
        self.flush()
        self._cursor.execute(*self._driver.rendered(statement))
        return self._cursor.fetchall()  # type: ignore[no-any-return]

    def all(self, statement: Any, **params: Any) -> list[Any]:
        """Run a statement that is kept, and return its rows."""
        return self._run(statement, params).fetchall()  # type: ignore[no-any-return]

    def one(self, statement: Any, **params: Any) -> Any | None:
        """Run a statement that is kept, and return its first row."""
        return self._run(statement, params).fetchone()

    def first_row(self) -> Any:
        """Return the first row of the statement that has been run last."""
        return self._cursor.fetchone()

    def scalar(self, statement: Any, **params: Any) -> Any | None:
        """Return the first column of the first row; None if there is no row."""
        row = self._run(statement, params).fetchone()
        return row[0] if row else None

    def scalars(self, statement: Any, **params: Any) -> list[Any]:
        """Return the first column of every row."""
        return [row[0] for row in self._run(statement, params).fetchall()]

    def execute(self, statement: Any, **params: Any) -> int:
        """Run a statement that is kept, and return how many rows it touched."""
        return self._driver.rows_touched(self._run(statement, params))

    def update_each(self, statement: Any, rows: Sequence[dict[str, Any]]) -> int:
        """Run a kept UPDATE, without RETURNING, for each of the rows; return how many rows it has touched.

        Its first condition is on the key, which no two of the rows share.
        """
        if self._new:
            self.flush()
        return self._driver.update_each(self._cursor, statement, rows)

    def raw(self, sql: str) -> None:
        self._cursor.execute(sql)

    @contextmanager
    def part(self) -> Iterator[None]:
        """Undo the statements of the block where one of them raises; the transaction goes on with those before it."""
        self.flush()
        counted, noted, later = self.copy_counts(), len(self.noted), len(self.once_committed)
        self.raw("SAVEPOINT part")
        try:
            yield
            self.flush()
        except Exception as error:
            self.drop_inserts()
            try:
                self.raw("ROLLBACK TO SAVEPOINT part")
            except Exception:  # noqa: BLE001 - a statement has ended the transaction, or the connection
                raise TransactionEnded("the database has ended the transaction of a refused statement") from error
            self.raw("RELEASE SAVEPOINT part")
            self.restore_counts(counted)
            del self.noted[noted:], self.once_committed[later:]
            raise
        self.raw("RELEASE SAVEPOINT part")

    def refuses_values(self, error: BaseException) -> bool:
        """Return the driver's answer."""
        return self._driver.refuses_values(error)

    @contextmanager
    def brief_waits(self) -> Iterator[None]:
        """Wait for rows that others have locked no longer than a moment, since the process writes nothing meanwhile.

        Raises Locked; then the function has to end, and the writer runs it again.
        """
        self._driver.limit_lock_waits(self, min(self._wait_ms or BRIEF_WAIT_MS, BRIEF_WAIT_MS))
        try:
            yield
        except Exception as error:
            if self._driver.is_lock_timeout(error):
                raise Locked(LOCKED) from error
            raise
        self._driver.limit_lock_waits(self, self._wait_ms)

    def unless_locked(self, change: Callable[[], T]) -> T | None:
        """Return the result of a change; None if it needs rows that another transaction has locked: it is undone then.

        For one of many things that a function does, so that the others do not wait with it; it is left for later.
        """
        if not self._driver.writers_lock_timeout_s:  # no rows are locked one by one
            return change()
        before = self._wait_ms
        try:
            with self.part():
                self.wait_briefly(min(before or self._skip_wait_ms, self._skip_wait_ms))
                result = change()
                self._driver.limit_lock_waits(self, before)
        except Exception as error:
            if isinstance(error, Locked) or self._driver.is_lock_timeout(error):
                self._skip_wait_ms = 1  # many may need the same row
                return None  # the limit of before is back, with the savepoint
            if isinstance(error, TransactionEnded) and error.__cause__ is not None:
                raise error.__cause__  # noqa: B904 - by it the writer knows a lost connection, and tries again
            raise
        finally:
            self._wait_ms = before
        return result

    @property
    def lock_wait_s(self) -> float:
        """The seconds that a statement waits for a locked row."""
        return self._driver.writers_lock_timeout_s if self._wait_ms is None else self._wait_ms / 1000

    def wait_briefly(self, ms: int = BRIEF_WAIT_MS) -> None:
        """Wait no longer than that for each locked row, until the end of the transaction."""
        self._wait_ms = ms
        self._driver.limit_lock_waits(self, ms)

    def move(self, owner: str | None, source: str, target: str, figure: tuple[Any, ...] | None = None) -> None:
        """Count a job's move from one status to another, and a figure of the history.

        Equal moves are one entry, which is added to `deltas` and `figures` when these are read.
        """
        moves = self._moves
        key = (owner, source, target, figure)
        moves[key] = moves.get(key, 0) + 1

    def count(self, owner: str | None, status: str, n: int) -> None:
        """Move the counters of a status, of all jobs and of the owner's; written once a commit."""
        deltas = self._deltas
        key = ("", status)
        deltas[key] = deltas.get(key, 0) + n
        if owner is not None:
            key = (owner, status)
            deltas[key] = deltas.get(key, 0) + n

    def add_figure(self, figure: tuple[Any, ...], n: int = 1) -> None:
        """Count a figure of the history, a tuple of JSON values; written likewise."""
        self._figures[figure] = self._figures.get(figure, 0) + n

    @property
    def deltas(self) -> dict[tuple[str, str], int]:
        """How far the counters have moved, by owner ("" for all jobs) and status: the dictionary itself, to add to."""
        if self._moves:
            self._add_moves()
        return self._deltas

    @property
    def figures(self) -> dict[tuple[Any, ...], int]:
        """The figures of the history, and how often each was counted."""
        if self._moves:
            self._add_moves()
        return self._figures

    def _add_moves(self) -> None:
        moves, self._moves = self._moves, {}
        for (owner, source, target, figure), n in moves.items():
            self.count(owner, source, -n)
            self.count(owner, target, n)
            if figure is not None:
                self.add_figure(figure, n)

    def copy_counts(self) -> Counted:
        """Return what has been counted so far, for `restore_counts`."""
        return dict(self.deltas), dict(self.figures)

    def restore_counts(self, counted: Counted) -> None:
        """Forget what has been counted since the copy, because it is rolled back."""
        self._deltas, self._figures = counted
        self._moves = {}

    def new_id(self, prefix: str) -> str:
        """An id such as `job_...`, growing within a process."""
        return self._database.ids.next(prefix, self.now // 1000)


TransactionFunction = Callable[[Tx], Any]
"""A synchronous function of a transaction. It may be run more than once, so it has no effect but on the ledger."""
