"""Counts of all jobs by the database itself, against those of the client, of the metrics and of the ledger."""

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from typing import Any

from onward.jobs.states import TERMINAL
from onward.storage import migrate
from onward.storage.engine import Database
from tests import application
from tests.system.soak.soak_handlers import CHILDREN

OVER = frozenset(status.value for status in TERMINAL)
NEW, GONE = "accepted", "pruned"
ENDS = {  # of every run of a handler; a job that is cancelled or retried may end in two ways
    "soak.quick": {"SUCCEEDED"},
    "soak.plain": {"SUCCEEDED"},
    "soak.flaky": {"SUCCEEDED"},
    "soak.raises": {"FAILED"},
    "soak.refuses": {"FAILED"},
    "soak.mended": {"FAILED", "SUCCEEDED"},
    "soak.hangs": {"FAILED"},
    "soak.cancelled": {"CANCELLED"},
    "soak.apart": {"SUCCEEDED"},
    "soak.steps": {"SUCCEEDED"},
    "soak.leaf": {"SUCCEEDED"},
    "soak.count": {"SUCCEEDED"},
}
# SQLite has one writer, so the triggers may add to a row; on PostgreSQL they would wait for each other, and append.
_SQLITE = """
CREATE TABLE soak_audit (handler TEXT, what TEXT, n INTEGER, PRIMARY KEY (handler, what));
CREATE TRIGGER soak_new AFTER INSERT ON _ledger.jobs BEGIN
    INSERT INTO soak_audit VALUES (NEW.handler, 'accepted', 1) ON CONFLICT (handler, what) DO UPDATE SET n = n + 1;
END;
CREATE TRIGGER soak_change AFTER UPDATE ON _ledger.jobs WHEN OLD.status <> NEW.status BEGIN
    INSERT INTO soak_audit VALUES (NEW.handler, NEW.status, 1) ON CONFLICT (handler, what) DO UPDATE SET n = n + 1;
END;
CREATE TRIGGER soak_gone AFTER DELETE ON _ledger.jobs BEGIN
    INSERT INTO soak_audit VALUES (OLD.handler, 'pruned', 1) ON CONFLICT (handler, what) DO UPDATE SET n = n + 1;
END;
"""
_POSTGRESQL = """
CREATE TABLE public.soak_audit (handler TEXT, what TEXT, n INTEGER DEFAULT 1);
CREATE FUNCTION public.soak_audit() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'INSERT' THEN
        INSERT INTO public.soak_audit VALUES (NEW.handler, 'accepted');
    ELSIF TG_OP = 'DELETE' THEN
        INSERT INTO public.soak_audit VALUES (OLD.handler, 'pruned');
    ELSIF OLD.status <> NEW.status THEN
        INSERT INTO public.soak_audit VALUES (NEW.handler, NEW.status);
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER soak_all AFTER INSERT OR UPDATE OR DELETE ON _ledger.jobs
    FOR EACH ROW EXECUTE FUNCTION public.soak_audit();
"""

Counts = Counter[tuple[str, str]]  # by handler and event: accepted, pruned, or the new status


class Audit:
    """The ledger with triggers that count. Each read uses a connection of its own, but those in one `snapshot`."""

    def __init__(self, url: str) -> None:
        """Create the ledger's tables, and the triggers."""
        self.database = Database(url, application.MIGRATIONS)
        self._snapshot: Any = None
        migrate.upgrade(self.database)
        connection = self.database.connect()
        try:
            if self.database.dialect == "sqlite":
                connection.executescript(self.database.named(_SQLITE))
            else:
                connection.execute(self.database.named(_POSTGRESQL))
        finally:
            connection.close()

    @contextmanager
    def snapshot(self) -> Iterator[None]:
        """Read the ledger as of one moment, since jobs are pruned meanwhile."""
        isolation = " ISOLATION LEVEL REPEATABLE READ" if self.database.dialect == "postgresql" else ""
        with closing(self.database.connect()) as self._snapshot:
            self._snapshot.execute(f"BEGIN{isolation}")
            try:
                yield
            finally:
                self._snapshot.execute("ROLLBACK")
        self._snapshot = None

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        if self._snapshot is not None:
            return self._read(self._snapshot, sql)
        with closing(self.database.connect()) as connection:
            return self._read(connection, sql)

    def _read(self, connection: Any, sql: str) -> list[tuple[Any, ...]]:
        found: list[tuple[Any, ...]] = connection.execute(self.database.named(sql)).fetchall()
        return found

    def open(self) -> int:
        """Return the number of unfinished jobs."""
        [(jobs,)] = self.rows(f"SELECT count(*) FROM _ledger.jobs WHERE status NOT IN {tuple(sorted(OVER))}")
        [(dispatched,)] = self.rows("SELECT count(*) FROM _ledger.dispatched")
        return int(jobs + dispatched)

    def counts(self) -> Counts:
        found = self.rows("SELECT handler, what, sum(n) FROM soak_audit GROUP BY handler, what")
        return Counter({(handler, what): int(n) for handler, what, n in found})

    def statuses(self) -> tuple[dict[str, int], dict[str, int]]:
        """Return the number of rows of each status, counted, and as the ledger keeps count."""
        counted = self.rows("SELECT status, count(*) FROM _ledger.jobs GROUP BY status")
        kept = self.rows("SELECT status, sum(n) FROM _ledger.counts WHERE owner = '' GROUP BY status")
        return {status: int(n) for status, n in counted}, {status: int(n) for status, n in kept if n}

    def close(self) -> None:
        self.database.close()


def scraped(texts: Iterable[str]) -> Counts:
    """Return what the metrics of all processes together have counted."""
    found: Counts = Counter()
    for text in texts:
        for handler, n in re.findall(
            r'^onward_jobs_accepted_total\{handler="([\w.]+)"\} ([\d.e+]+)', text, re.MULTILINE
        ):
            found[handler, NEW] += int(float(n))
        finished = r'^onward_jobs_finished_total\{handler="([\w.]+)",status="(\w+)"\} ([\d.e+]+)'
        for handler, status, n in re.findall(finished, text, re.MULTILINE):
            found[handler, status] += int(float(n))
    return found


def differences(audit: Audit, sent: Counter[str], retried: int, metrics: Counts) -> list[str]:
    """Return each count that is wrong, once every job is over."""
    with audit.snapshot():
        counts, (rows, kept), unfinished = audit.counts(), audit.statuses(), audit.open()
    wrong = []

    def same(what: str, first: object, second: object) -> None:
        if first != second:
            wrong.append(f"{what}: {first} and {second}")

    expected = sent + Counter({"soak.leaf": CHILDREN * counts["soak.steps", "SUCCEEDED"]})
    ends: Counter[str] = Counter()
    for handler, allowed in ENDS.items():
        same(f"{handler}, accepted: the client's and the ledger's", expected[handler], counts[handler, NEW])
        same(f"{handler}, accepted: the metrics' and the ledger's", metrics[handler, NEW], counts[handler, NEW])
        for status in OVER:
            ends[status] += counts[handler, status]
            same(f"{handler}, {status}: metrics and ledger", metrics[handler, status], counts[handler, status])
            if counts[handler, status] and status not in allowed:
                wrong.append(f"{handler}: {counts[handler, status]} times {status}")
    accepted = sum(n for (_, what), n in counts.items() if what == NEW)
    pruned = sum(n for (_, what), n in counts.items() if what == GONE)
    same("runs that began, runs that ended", accepted + retried, ends.total())
    same("rows that were accepted and not pruned, rows", accepted - pruned, sum(rows.values()))
    same("rows of each status, the ledger's own count", rows, kept)
    same("unfinished jobs", 0, unfinished)
    return wrong
