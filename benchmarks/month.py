"""A ledger as it is after a month of use: jobs of 50 handlers, and the history that the program would have left."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator
from typing import Any

import sqlalchemy as sa

from benchmarks.ledgers import DAY_US, NEW, accept, claim, finish
from onward.jobs import sketch
from onward.jobs.history import CANCELLED, ENQUEUED, FAILED, RETRIED, STARTED, SUCCEEDED
from onward.jobs.history_rows import COUNTS, Group, Sums
from onward.jobs.model import Attempt, JobError, JobWait, Step
from onward.jobs.places import place
from onward.jobs.row import COLUMNS, encode, encode_attempts, encode_error, encode_steps, encode_wait
from onward.jobs.states import StepStatus
from onward.jobs.stats_step import HOUR_US, KEPT_US, LENGTH_US, MINUTE_US
from onward.storage import migrate
from onward.storage.engine import Database
from onward.storage.tables import jobs
from onward.storage.writer import Writer

HANDLERS = tuple(f"{of}.{what}" for of in "abcdefghij" for what in ("send", "draw", "count", "sync", "close"))
OWNERS, WORKERS, SCHEDULES = 1_000, 8, 100
BATCHED, CHILDREN = 20, 500  # one job of so many is of a batch, which has so many children
NEWEST = 400  # one job of so many, the newest, is not over
OPEN = ("QUEUED",) * 40 + ("SCHEDULED",) * 7 + ("RETRYING", "WAITING", "RUNNING")
FAILED_SHARE, CANCELLED_SHARE, RETRIED_SHARE = 0.03, 0.005, 0.03
STEPS = ("read", "write", "tell")
ERRORS = (
    *[("503", "The service did not answer.")] * 6,
    *[("TIMEOUT", "The attempt took longer than 30 seconds.")] * 3,
    ("NO_SUCH_ORDER", "The order is not in the shop's database."),
)
SECOND_US = 1_000_000
Values = dict[str, Any]


def filled(url: str, count: int) -> Database:
    """Make a ledger of that many jobs of the last 30 days."""
    database = Database(url)
    migrate.upgrade(database)
    writer = Writer(database)
    writer.start()
    finish(writer, claim(writer, accept(writer), runner="bench"))
    found = database.read_sync(lambda tx: tx.one(sa.select(*(jobs.c[name] for name in COLUMNS))))
    now = writer.run_sync(lambda tx: tx.now)
    writer.close()
    assert found is not None  # noqa: S101 - it was made just now
    month = _Month(dict(zip(COLUMNS, found, strict=True)), count, now)
    _put(database, "jobs", month.jobs())
    for table, rows in (
        ("history", month.history()),
        ("failures", month.failures()),
        ("batches", month.batches()),
        ("runners", month.runners()),
        ("schedules", month.schedules()),
    ):
        _put(database, table, rows)
    connection: Any = database.connect()
    if database.dialect == "postgresql":
        connection.execute("SET statement_timeout = 0")
    counted = "SELECT 0, {0}, status, count(*) FROM _ledger.jobs WHERE {1} GROUP BY 2, 3"
    for statement in (
        "DELETE FROM _ledger.counts",
        *(
            f"INSERT INTO _ledger.counts (slot, owner, status, n) {counted.format(*of)}"
            for of in (("''", "1 = 1"), ("owner", "owner IS NOT NULL"))
        ),
        # A server of PostgreSQL does that by itself, some time after the rows have come.
        "PRAGMA wal_checkpoint(TRUNCATE)" if database.dialect == "sqlite" else "VACUUM ANALYZE",
    ):
        connection.execute(database.named(statement))
    connection.close()
    return database


def _put(database: Database, table: str, rows: Iterable[Values]) -> None:
    rows = iter(rows)
    first = next(rows)
    into, values = database.named(f"_ledger.{table} ({', '.join(first)})"), ([*row.values()] for row in rows)
    connection: Any = database.connect()
    if database.dialect == "sqlite":
        connection.execute("PRAGMA synchronous=OFF")  # it is made for the benchmark, and made anew when it is lost
        connection.execute("BEGIN IMMEDIATE")
        insert = f"INSERT INTO {into} VALUES ({', '.join('?' * len(first))})"  # noqa: S608 - our own words
        connection.execute(insert, [*first.values()])
        connection.executemany(insert, values)
        connection.execute("COMMIT")
    else:
        connection.execute("SET statement_timeout = 0")
        with connection.cursor().copy(f"COPY {into} FROM STDIN") as copy:
            copy.write_row([*first.values()])
            for row in values:
                copy.write_row(row)
    connection.close()


class _Month:
    """Makes the rows: those of the jobs, which are summed up meanwhile, then all others."""

    def __init__(self, template: Values, count: int, now: int) -> None:
        self._random = random.Random(16)  # noqa: S311 - the same mix each time
        self._template, self._count, self._now = template, count, now
        self._sums: dict[tuple[int, int, str], Sums] = {}
        self._groups: dict[tuple[int, str, str, str], Group] = {}
        self._batches: dict[int, int] = {}  # the begin of each, by its number

    def jobs(self) -> Iterator[Values]:
        each = 30 * DAY_US // self._count
        for n in range(self._count):
            yield self._template | self._job(n, self._now - (self._count - n) * each)

    def history(self) -> Iterator[Values]:
        for (length, at, handler), sums in self._sums.items():
            row = {"step": length // MINUTE_US, "from_at": at, "handler": handler}
            row |= dict(zip(COUNTS, sums.counts, strict=True))
            yield row | {"waits": sketch.encode(sums.waits), "runs": sketch.encode(sums.runs)}

    def failures(self) -> Iterator[Values]:
        for (hour, handler, code, message), group in self._groups.items():
            row = {"hour": hour, "handler": handler, "code": code, "message": message}
            yield row | {"n": group.n, "first_at": group.first_at, "last_at": group.last_at}

    def batches(self) -> Iterator[Values]:
        for number, at in self._batches.items():
            is_over = number < len(self._batches) - 1
            yield {
                "id": _batch(number),
                "state": "DONE" if is_over else "OPEN",
                **dict.fromkeys(("total", "jobs", "made"), CHILDREN),
                "stops": 0,
                "created_at": at,
                "finished_at": at + DAY_US // 10 if is_over else None,
            }

    def runners(self) -> Iterator[Values]:
        for n in range(WORKERS):  # held to be alive, as this process is
            row = {"id": f"runner_{n}", "name": f"worker-{n}", "beat": 1, "place": place(), "started_at": self._now}
            yield row | {"takes": "", "role": "worker", "version": "1", "memory": 10**8}

    def schedules(self) -> Iterator[Values]:
        for n in range(SCHEDULES):
            row = {"name": f"every-day-{n}", "version": 1, "handler": NEW.handler, "params": '{"n":1}'}
            row |= {"params_version": 1, "cron": f"{n % 60} 3 * * *", "time_zone": "Europe/Berlin", "overlap": "ALLOW"}
            later = self._now + DAY_US
            yield row | {"missed": "RUN_ONCE", "made_at": self._now, "next_at": later, "look_at": later}

    def _job(self, n: int, at: int) -> Values:
        handler = HANDLERS[int(self._random.random() ** 2 * len(HANDLERS))]  # some have many more jobs than others
        row = {
            "id": f"job_{at // 1000:012x}{n:020x}",
            "handler": handler,
            "owner": f"user_{n % OWNERS}" if n % 3 else None,
            "params": encode({"order": f"A-{n}", "items": [n % 7, n % 11]}),
            "created_at": at,
            "due_at": at,
        }
        if n % BATCHED == 0:
            number, position = divmod(n // BATCHED, CHILDREN)
            self._batches.setdefault(number, at)
            row |= {"batch": _batch(number), "position": position}
        self._add(at, handler, ENQUEUED)
        is_over = n < self._count - self._count // NEWEST
        return row | (self._ended(n, at, handler) if is_over else self._open(n, at))

    def _ended(self, n: int, at: int, handler: str) -> Values:
        share, error = self._random.random(), None
        if share < FAILED_SHARE:
            error = JobError(*self._random.choice(ERRORS), retryable=True, step=STEPS[1], occurred_at=at)
            status, kind, tries = "FAILED", FAILED, 3
        elif share < FAILED_SHARE + CANCELLED_SHARE:
            status, kind, tries = "CANCELLED", CANCELLED, 1
        else:
            status, kind, tries = "SUCCEEDED", SUCCEEDED, 1 + (share > 1 - RETRIED_SHARE)
        attempts: list[Attempt] = []
        ended = due = at
        for number in range(1, tries + 1):
            started = due + int(self._random.lognormvariate(11, 1.5))
            ended = started + int(self._random.lognormvariate(13, 1.2))
            broken = error or JobError(*ERRORS[0], retryable=True, step=STEPS[1], occurred_at=ended)
            attempts.append(
                Attempt(
                    number,
                    counts_as_attempt=True,
                    backend=NEW.backend,
                    worker=f"worker-{n % WORKERS}",
                    started_at=started,
                    finished_at=ended,
                    error=broken if number < tries else error,
                )
            )
            self._add(started, handler, STARTED + sketch.bucket(started - due))
            self._add(ended, handler, (RETRIED if number < tries else kind) + sketch.bucket(ended - started))
            due = ended + SECOND_US
        if error:
            key = (ended - ended % HOUR_US, handler, error.code, error.message)
            self._groups.setdefault(key, Group(0, ended, ended)).add(1, ended, ended)
        return {
            "status": status,
            "steps": _steps(attempts[-1].started_at, ended, 1 if error else len(STEPS)),
            "attempts": encode_attempts(tuple(attempts)),
            **dict.fromkeys(("attempt", "charged"), tries),
            "version": 2 * tries + 1,
            "started_at": attempts[0].started_at,
            "finished_at": ended,
            "result": None if error else encode({"order": f"A-{n}", "sent": True}),
            "error": encode_error(error),
        }

    def _open(self, n: int, at: int) -> Values:
        status, later = OPEN[n % len(OPEN)], self._now + DAY_US
        empty = dict.fromkeys(("started_at", "finished_at", "result", "error", "runner", "worker", "delivered_to"))
        row = empty | {"status": status, "steps": _steps(at, at, 0), "attempts": "[]", "attempt": 0, "charged": 0}
        match status:
            case "SCHEDULED":
                row |= {"run_at": later, "due_at": later}
            case "RETRYING":
                row |= {"due_at": later, "attempt": 1, "charged": 1, "started_at": at}
            case "WAITING":
                wait = JobWait("", "approval", at, later, is_sleep=False, otherwise=[])
                row |= {"wait": encode_wait(wait), "due_at": later, "started_at": at}
            case "RUNNING":
                which = n % WORKERS
                row |= {"runner": f"runner_{which}", "worker": f"worker-{which}", "attempt": 1, "charged": 1}
                row |= {"started_at": at, "attempt_started_at": at}
        return row

    def _add(self, at: int, handler: str, figure: int) -> None:
        for step, length in LENGTH_US.items():
            if at >= self._now - KEPT_US[step]:
                self._sums.setdefault((length, at - at % length, handler), Sums()).count(figure, 1)


def _batch(number: int) -> str:
    return f"batch_{number:032x}"


def _steps(started: int, ended: int, done: int) -> str:
    finished = [Step(name, n, StepStatus.SUCCEEDED, started, ended, {"n": n}) for n, name in enumerate(STEPS[:done])]
    return encode_steps((*finished, *(Step(name, n) for n, name in enumerate(STEPS) if n >= done)))
