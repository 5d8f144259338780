"""The tables. Times are integer microseconds since 1970 in UTC, by the ledger's own clock; JSON is text."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Integer, MetaData, SmallInteger, Table, Text, text

metadata = MetaData()

# Compared byte by byte: ids are ordered, and a locale's order is slower and another one.
Id = Text().with_variant(Text(collation="C"), "postgresql")

jobs = Table(
    "jobs",
    metadata,
    Column("id", Id, primary_key=True),  # grows with time, so that inserts append
    Column("handler", Text, nullable=False),
    Column("status", Text, nullable=False),
    Column("backend", Text, nullable=False),
    Column("owner", Text),  # null: nobody's, seen by admins alone
    Column("priority", SmallInteger, nullable=False),  # smaller goes first
    Column("version", Integer, nullable=False),  # grows with each change that a client can see
    Column("changed", BigInteger, nullable=False),  # the number of the commit that changed it last
    Column("run", Integer, nullable=False),  # manual retries begin a new one
    Column("params", Text, nullable=False),
    Column("params_version", Integer, nullable=False),
    Column("progress", Text),
    Column("steps", Text, nullable=False),
    Column("attempts", Text, nullable=False),  # the finished ones; the one in progress stands in the columns below
    Column("attempt", Integer, nullable=False),  # number of the newest attempt, over all runs
    Column("charged", Integer, nullable=False),  # attempts charged in this run
    Column("max_attempts", Integer, nullable=False),
    Column("deaths", Integer, nullable=False),  # claims in this run whose runner died
    Column("token", Integer, nullable=False),  # fences off runners whose claim is over
    Column("runner", Text),
    Column("worker", Text),
    Column("attempt_started_at", BigInteger),
    Column("delivered_to", Text),  # where the newest delivery was confirmed: a broker's identity, or a runner's
    Column("due_at", BigInteger, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("run_at", BigInteger),
    Column("started_at", BigInteger),
    Column("finished_at", BigInteger),
    Column("result", Text),
    Column("error", Text),
    Column("reason", Text),  # why it was cancelled, in the words of who did it
    Column("trace", Text),  # W3C traceparent of the mutation
    Column("parked", Text),  # why a queued job waits at its handler's gate, out of the line; null: it does not
    Column("promised", Integer),  # the token of the wait that has a place under its handler's limits for sure
)
# Conditions in words that the partial indexes are made with: a statement has to use the same ones to profit from them.
owned = text("owner IS NOT NULL")
ready = text("status = 'QUEUED' AND parked IS NULL")
at_gate = text("status = 'QUEUED' AND parked IS NOT NULL")
later = text("status IN ('SCHEDULED', 'RETRYING')")
promised = text("status = 'QUEUED' AND promised = token")
held = text("status IN ('RUNNING', 'CANCELLING')")
finished = text("finished_at IS NOT NULL")

counts = Table(  # jobs by owner and status, in slots, so that processes do not wait for one another's row
    "counts",
    metadata,
    Column("slot", Integer, primary_key=True),
    Column("owner", Text, primary_key=True),  # '' for all jobs together
    Column("status", Text, primary_key=True),
    Column("n", BigInteger, nullable=False),
)

runners = Table(  # the processes that may hold claims
    "runners",
    metadata,
    Column("id", Text, primary_key=True),
    Column("beat", BigInteger, nullable=False),
    Column("place", Text, nullable=False),  # boot, pid namespace, pid and its start: tells a neighbour that it is gone
    Column("name", Text, nullable=False),
    Column("started_at", BigInteger, nullable=False),
)

gates = Table(  # the handlers whose jobs may not just begin; all others have no row
    "gates",
    metadata,
    Column("handler", Text, primary_key=True),
    Column("paused_at", BigInteger),
    Column("paused_by", Text),  # a viewer's id, or a user of the machine; null: anyone, on a server open to all
    Column("concurrency", Integer),  # at most so many at once
    Column("starts", Integer),  # at most so many in any time as long as
    Column("period_us", BigInteger),  # this
    Column("even_at", BigInteger),  # when the next one would begin in an even line: what is ahead of it is used up
)

overruns = Table(  # functions that go on past the end of their attempt, and keep a place under their handler's limit
    "overruns",
    metadata,
    Column("job", Text, primary_key=True),
    Column("token", Integer, primary_key=True),  # of the claim whose attempt is over
    Column("handler", Text, nullable=False),
    Column("runner", Text, nullable=False),
)

schedule = Table(  # the recurring jobs
    "schedule",
    metadata,
    Column("name", Text, primary_key=True),
    Column("rule", Text, nullable=False),  # cron expression and time zone that `next_at` was worked out by
    Column("next_at", BigInteger, nullable=False),
    Column("last_at", BigInteger),
    Column("last_job", Text),
)

meta = Table("meta", metadata, Column("name", Text, primary_key=True), Column("value", Text, nullable=False))

marks = Table(  # what each writer committed last, on PostgreSQL: begins with the seconds of its time
    "marks", metadata, Column("writer", Text, primary_key=True), Column("mark", Text, nullable=False)
)

commits = Table("commits", metadata, Column("n", BigInteger, nullable=False))  # one row; counts commits on SQLite

idempotency = Table(
    "idempotency",
    metadata,
    Column("viewer", Text, primary_key=True),
    Column("mutation", Text, primary_key=True),
    Column("key", Text, primary_key=True),
    Column("fingerprint", Text, nullable=False),
    Column("reference", Text, nullable=False),
    Column("created_at", BigInteger, nullable=False),
)
