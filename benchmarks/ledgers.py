"""Ledgers with many jobs, made quickly: by SQL, from the row of a job that was really accepted and finished."""

from __future__ import annotations

from pathlib import Path
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
SERIES = "WITH RECURSIVE series(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM series WHERE n < :count)"


def filled(path: Path, count: int) -> Database:
    """Make a ledger of this release with that many jobs, all older than any later one."""
    database = Database(f"sqlite:///{path}")
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
    connection: Any = database.connect()
    connection.execute("PRAGMA synchronous=OFF")  # it is made for the benchmark, and made anew when it is lost
    own = {
        # Microseconds apart, so that ids and times grow together, ten days back from now.
        "id": "printf('job_%012x%020x', (created_at - :ago) / 1000 + n / 1000, n)",
        "handler": "CASE WHEN n % 3 = 0 THEN 'email.welcome' ELSE handler END",
        "status": STATUS,
        "changed": "0",
        "created_at": "created_at - :ago + n",
        "due_at": "created_at + :ago",
        "run_at": "CASE WHEN n % 100 = 0 THEN created_at + :ago END",
        "finished_at": "CASE WHEN n % 100 <> 0 THEN finished_at - :ago + n END",
    }
    values = ", ".join(own.get(name, name) for name in COLUMNS)
    given = {"count": count, "ago": 10 * DAY_US, "template": template}
    connection.execute("BEGIN IMMEDIATE")
    selected = f"SELECT {values} FROM series, _ledger.jobs WHERE id = :template"  # noqa: S608 - our own words
    insert = f"{SERIES} INSERT INTO _ledger.jobs ({', '.join(COLUMNS)}) {selected}"
    connection.execute(database.named(insert), given)
    connection.execute(database.named("DELETE FROM _ledger.counts"))
    counted = "SELECT 0, '', status, count(*) FROM _ledger.jobs GROUP BY status"
    connection.execute(database.named(f"INSERT INTO _ledger.counts (slot, owner, status, n) {counted}"))
    connection.execute("COMMIT")
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()
