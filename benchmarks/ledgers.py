"""Ledgers with many jobs, made quickly: by SQL, from the row of a job that was really accepted and finished."""

from __future__ import annotations

from typing import Any

from onward.jobs import claims, ledger, recording
from onward.jobs.model import Job, NewJob
from onward.jobs.model import Step as JobStep
from onward.jobs.outcome import Outcome
from onward.jobs.row import COLUMNS, encode, encode_steps
from onward.jobs.states import JobStatus
from onward.storage import migrate
from onward.storage.engine import Database
from onward.storage.transaction import Tx
from onward.storage.writer import Writer

DAY_US = 86_400_000_000
NEW = NewJob(
    handler="bench.nothing",
    backend="dramatiq",  # the measured API process has this backend, and no worker runs
    params=encode({"n": 1}),
    params_version=1,
    steps=encode_steps((JobStep("nothing", 0),)),
    max_attempts=5,
    pending=(JobStep("nothing", 0),),
)
# One job in a hundred is still to come, two have failed, all others have succeeded: as in a ledger that has been used.
STATUS = "CASE WHEN n % 100 = 0 THEN 'SCHEDULED' WHEN n % 100 < 3 THEN 'FAILED' ELSE 'SUCCEEDED' END"
NUMBERS = {
    "sqlite": "WITH RECURSIVE numbers(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < {0})",
    "postgresql": "WITH numbers(n) AS (SELECT n::bigint FROM generate_series(1, {0}) AS series(n))",
}
ID = {
    "sqlite": "printf('job_%012x%020x', {0}, n)",
    "postgresql": "'job_' || lpad(to_hex({0}), 12, '0') || lpad(to_hex(n), 20, '0')",
}


def filled(url: str, count: int) -> Database:
    """Make a ledger of this release with that many jobs, all older than any later one."""
    database = Database(url)
    migrate.upgrade(database)
    writer = Writer(database)
    writer.start()
    job = accept(writer)
    finish(writer, claim(writer, job, runner="bench"))
    writer.close()
    _multiply(database, job.id, count)
    return database


def accept(writer: Writer) -> Job:
    return writer.run_sync(lambda tx: ledger.accept(tx, NEW))


def claim(writer: Writer, job: Job, *, runner: str) -> Job:
    def claim_newest(tx: Tx) -> Job | None:
        return claims.claim(tx, job.id, runner=runner, worker="bench", backend=job.backend, isolated=False)

    claimed = writer.run_sync(claim_newest)
    assert claimed is not None  # noqa: S101 - nobody else is there
    return claimed


def finish(writer: Writer, job: Job) -> None:
    writer.run_sync(
        lambda tx: recording.record_outcome(tx, job, Outcome(JobStatus.SUCCEEDED, result=1), steps=job.steps)
    )


def _multiply(database: Database, template: str, count: int) -> None:
    is_sqlite = database.dialect == "sqlite"
    connection: Any = database.connect()
    # It is made for the benchmark, and made anew when it is lost.
    connection.execute("PRAGMA synchronous=OFF" if is_sqlite else "SET statement_timeout = 0")
    ago = 10 * DAY_US
    own = {
        # Microseconds apart, so that ids and times grow together, ten days back from now.
        "id": ID[database.dialect].format(f"(created_at - {ago}) / 1000 + n / 1000"),
        "handler": "CASE WHEN n % 3 = 0 THEN 'email.welcome' ELSE handler END",
        "status": STATUS,
        "changed": "0",
        "created_at": f"created_at - {ago} + n",
        "due_at": f"created_at + {ago}",
        "run_at": f"CASE WHEN n % 100 = 0 THEN created_at + {ago} END",
        "finished_at": f"CASE WHEN n % 100 <> 0 THEN finished_at - {ago} + n END",
    }
    values = ", ".join(own.get(name, name) for name in COLUMNS)
    numbers = NUMBERS[database.dialect].format(count)
    selected = f"{numbers} SELECT {values} FROM numbers, _ledger.jobs WHERE id = '{template}'"  # noqa: S608 - our own words
    counted = "SELECT 0, '', status, count(*) FROM _ledger.jobs GROUP BY status"
    connection.execute("BEGIN IMMEDIATE" if is_sqlite else "BEGIN")
    for statement in (
        f"INSERT INTO _ledger.jobs ({', '.join(COLUMNS)}) {selected}",
        "DELETE FROM _ledger.counts",
        f"INSERT INTO _ledger.counts (slot, owner, status, n) {counted}",
        "COMMIT",
        # A server of PostgreSQL does that by itself, some time after the rows have come.
        "PRAGMA wal_checkpoint(TRUNCATE)" if is_sqlite else "VACUUM ANALYZE",
    ):
        connection.execute(database.named(statement))
    connection.close()
