"""An auditor's view of the ledger: direct reads of rows, and triggers that record every change of state."""

import json
import threading
from collections import Counter
from dataclasses import dataclass
from typing import Any

from onward.jobs.batches import FINISHED
from onward.jobs.history_rows import COUNTS, Added
from onward.jobs.states import HELD, TERMINAL
from onward.storage import migrate
from onward.storage.engine import Database
from tests import application

_ONE_AT_A_TIME = threading.Lock()  # Alembic keeps the migration it is at in the module
OVER = tuple(sorted(status.value for status in TERMINAL))
CLAIMED = tuple(status.value for status in HELD)
_FINISHED = tuple(sorted(state.value for state in FINISHED))
_COLUMNS = "job, run, version, old, new, attempt, token, steps, at"
_SQLITE = f"""
CREATE TABLE audit (
    job TEXT, run INTEGER, version INTEGER, old TEXT, new TEXT, attempt INTEGER, token INTEGER, steps TEXT, at REAL
);
CREATE TRIGGER audit_change AFTER UPDATE ON _ledger.jobs
WHEN OLD.version <> NEW.version OR OLD.status <> NEW.status BEGIN
    INSERT INTO audit ({_COLUMNS}) VALUES (
        NEW.id, NEW.run, NEW.version - OLD.version, OLD.status, NEW.status, NEW.attempt, NEW.token,
        CASE WHEN NEW.steps <> OLD.steps THEN NEW.steps END, (julianday('now') - 2440587.5) * 86400.0);
END;
CREATE TRIGGER audit_birth AFTER INSERT ON _ledger.jobs BEGIN
    INSERT INTO audit ({_COLUMNS}) VALUES (
        NEW.id, NEW.run, NEW.version, '', NEW.status, 0, NEW.token, NULL, (julianday('now') - 2440587.5) * 86400.0);
END;
CREATE TABLE audit_ticks (job TEXT);
CREATE TRIGGER audit_tick AFTER UPDATE ON _ledger.schedules
WHEN NEW.last_job IS NOT NULL AND NEW.last_job IS NOT OLD.last_job BEGIN
    INSERT INTO audit_ticks (job) VALUES (NEW.last_job);
END;
"""
_POSTGRESQL = f"""
CREATE TABLE audit (
    n BIGSERIAL, job TEXT, run INT, version INT, old TEXT, new TEXT, attempt INT, token INT, steps TEXT,
    at DOUBLE PRECISION
);
CREATE FUNCTION audit() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'INSERT' THEN
        INSERT INTO audit ({_COLUMNS}) VALUES (
            NEW.id, NEW.run, NEW.version, '', NEW.status, 0, NEW.token, NULL, extract(epoch FROM clock_timestamp()));
    ELSIF OLD.version <> NEW.version OR OLD.status <> NEW.status THEN
        INSERT INTO audit ({_COLUMNS}) VALUES (
            NEW.id, NEW.run, NEW.version - OLD.version, OLD.status, NEW.status, NEW.attempt, NEW.token,
            CASE WHEN NEW.steps <> OLD.steps THEN NEW.steps END, extract(epoch FROM clock_timestamp()));
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER audit_all AFTER INSERT OR UPDATE ON _ledger.jobs FOR EACH ROW EXECUTE FUNCTION audit();
CREATE TABLE audit_ticks (job TEXT);
CREATE FUNCTION audit_tick() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.last_job IS NOT NULL AND NEW.last_job IS DISTINCT FROM OLD.last_job THEN
        INSERT INTO audit_ticks (job) VALUES (NEW.last_job);
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER audit_tick AFTER UPDATE ON _ledger.schedules FOR EACH ROW EXECUTE FUNCTION audit_tick();
"""


@dataclass(frozen=True, slots=True)
class Row:
    """A job as its row has it."""

    id: str
    handler: str
    status: str
    run: int
    params: dict[str, Any]
    steps: list[dict[str, Any]]
    attempts: list[list[Any]]  # number, charged, backend, worker, started, finished, error
    attempt: int
    counts: int
    token: int
    created_at: float
    started_at: float | None
    result: Any
    error: dict[str, Any] | None
    run_at: int | None  # microseconds, as all that follow
    expires_at: int | None
    finished_at: int | None
    batch: str | None
    position: int | None  # in the batch

    @property
    def code(self) -> str | None:
        return self.error["code"] if self.error else None


@dataclass(frozen=True, slots=True)
class Batch:
    """A batch as its row has it."""

    id: str
    state: str
    parent: str | None  # the batch that holds it
    position: int | None  # its place there
    job: str | None  # whose handler dispatched it
    total: int
    next_job: str | None


@dataclass(frozen=True, slots=True)
class Chunk:
    """A chunk of a job's output."""

    job: str
    offset: int
    attempt: int
    step: str
    data: Any


@dataclass(frozen=True, slots=True)
class Change:
    """A change of a job's row, recorded by the database in the same transaction."""

    job: str
    run: int
    version: int  # by how much it grew
    old: str  # empty when the job was accepted
    new: str
    attempt: int
    token: int
    finished: tuple[str, ...] | None  # the steps that have finished, where that changed
    at: float


class Ledger:
    """The ledger of this campaign. Each read uses a connection of its own."""

    def __init__(self, url: str) -> None:
        """Create the ledger's tables, and the auditor's."""
        self._database = Database(url, application.MIGRATIONS)
        self.dialect = self._database.dialect
        with _ONE_AT_A_TIME:
            migrate.upgrade(self._database)
        connection = self._database.connect()
        try:
            if self.dialect == "sqlite":
                connection.executescript(self._database.named(_SQLITE))
            else:
                connection.execute(self._database.named(_POSTGRESQL))
        finally:
            connection.close()

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        connection = self._database.connect()
        try:
            found: list[tuple[Any, ...]] = connection.execute(self._database.named(sql)).fetchall()
            return found
        finally:
            connection.close()

    def execute(self, sql: str) -> None:
        connection = self._database.connect()
        try:
            connection.execute(self._database.named(sql))
        finally:
            connection.close()

    def connect(self) -> Any:
        return self._database.connect()

    def open(self) -> int:
        """Return the number of unfinished jobs and batches; a chunk of jobs that are no rows yet counts as one."""
        jobs = f"SELECT count(*) FROM _ledger.jobs WHERE status NOT IN {OVER}"
        batches = f"SELECT count(*) FROM _ledger.batches WHERE state NOT IN {_FINISHED}"
        return int(self.rows(f"SELECT ({jobs}) + ({batches}) + (SELECT count(*) FROM _ledger.dispatched)")[0][0])

    def job(self, id_: str) -> Row:
        found = self.jobs(f"WHERE id = '{id_}'")
        assert found, f"{id_} is not in the ledger"
        return found[id_]

    def jobs(self, where: str = "") -> dict[str, Row]:
        columns = (
            "id, handler, status, run, params, steps, attempts, attempt, charged, token, created_at, started_at,"
            " result, error, run_at, expires_at, finished_at, batch, position"
        )
        found = {}
        for row in self.rows(f"SELECT {columns} FROM _ledger.jobs {where}"):
            id_, handler, status, run, params, steps, attempts, attempt, counts, token, made, started, *further = row
            result, why, *rest = further
            found[id_] = Row(
                id_, handler, status, run, json.loads(params), json.loads(steps), json.loads(attempts), attempt,
                counts, token, made / 1e6, started / 1e6 if started else None,
                json.loads(result) if result else None, json.loads(why) if why else None, *rest,
            )  # fmt: skip
        return found

    def batches(self) -> list[Batch]:
        columns = "id, state, parent, position, job, total, next_job"
        return [Batch(*row) for row in self.rows(f"SELECT {columns} FROM _ledger.batches")]

    def output(self) -> list[Chunk]:
        """Return the chunks of all jobs, those of each in their order."""
        sql = 'SELECT job, "offset", attempt, step, data FROM _ledger.output ORDER BY job, "offset"'
        return [Chunk(job, offset, n, step, json.loads(data)) for job, offset, n, step, data in self.rows(sql)]

    def ticks(self) -> list[str]:
        """Return the job of each tick that schedules made at run time have recorded."""
        return [job for (job,) in self.rows("SELECT job FROM audit_ticks")]

    def changes(self) -> list[Change]:
        """Return every change, in the order of each job's changes."""
        order = "rowid" if self.dialect == "sqlite" else "n"
        return [
            Change(job, run, version, old, new, attempt, token, _finished(steps), at)
            for job, run, version, old, new, attempt, token, steps, at in self.rows(
                f"SELECT {_COLUMNS} FROM audit ORDER BY {order}"
            )
        ]

    def history(self) -> Counter[tuple[str, str]]:
        """Return the sums of the history, with what is not added up yet, by handler and name.

        Both are read in one statement: between two, maintenance might add up what the second one was to find.
        """
        found: Counter[tuple[str, str]] = Counter()
        added = Added()
        days = f"SELECT NULL, NULL, handler, {', '.join(COUNTS)} FROM _ledger.history WHERE step = 1440"
        fresh = f"SELECT at, data, NULL{', 0' * len(COUNTS)} FROM _ledger.figures"
        for at, data, handler, *counts in self.rows(f"{fresh} UNION ALL {days}"):
            if handler is None:
                added.add(at, data)
            else:
                found.update({(handler, name): n for name, n in zip(COUNTS, counts, strict=True)})
        for (_, handler), sums in added.sums().items():
            found.update({(handler, name): n for name, n in zip(COUNTS, sums.counts, strict=True)})
        return found

    def close(self) -> None:
        self._database.close()


def _finished(steps: str | None) -> tuple[str, ...] | None:
    return None if steps is None else tuple(step["n"] for step in json.loads(steps) if step.get("s") == "SUCCEEDED")
