"""The ledger's tables, under the name that `Place` replaces.

Times are integer microseconds since 1970 in UTC, by the ledger's own clock; JSON is text.

The file is long because it is the list of all tables.
"""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Identity, Integer, MetaData, SmallInteger, Table, Text, text
from sqlalchemy.sql import quoted_name

from onward.storage.place import MARK
from onward.storage.sql import per_dialect

metadata = MetaData(schema=MARK)


def _status(is_: str, further: str = "") -> per_dialect:
    return per_dialect(f"status {is_} {further}".rstrip(), f"coalesce(status, '') {is_} {further}".rstrip())


# Compared byte by byte: ids are ordered, and a locale's order is slower and different.
Id = Text().with_variant(Text(collation="C"), "postgresql")

jobs = Table(
    "jobs",
    metadata,
    Column("id", Id, primary_key=True),  # grows with time, so that inserts append
    Column("handler", Text, nullable=False),
    Column("status", Text, nullable=False),
    Column("backend", Text, nullable=False),
    Column("owner", Text),  # null: no owner, visible to admins only
    Column("priority", SmallInteger, nullable=False),  # smaller goes first
    Column("version", Integer, nullable=False),  # grows with each change that a client can see
    Column("changed", BigInteger, nullable=False),  # the number of the commit that last changed the row
    Column("run", Integer, nullable=False),  # a manual retry begins a new one
    Column("params", Text, nullable=False),
    Column("params_version", Integer, nullable=False),
    Column("progress", Text),
    Column("steps", Text, nullable=False),
    Column("attempts", Text, nullable=False),  # the finished ones; the one in progress is in the columns below
    Column("attempt", Integer, nullable=False),  # number of the newest attempt, over all runs
    Column("charged", Integer, nullable=False),  # attempts of this run that count against max_attempts
    Column("max_attempts", Integer, nullable=False),
    Column("deaths", Integer, nullable=False),  # crash count: claims in this run whose runner died
    Column("token", Integer, nullable=False),  # fencing token: refuses writes of runners whose claim is over
    Column("runner", Text),
    Column("worker", Text),
    Column("attempt_started_at", BigInteger),
    Column("delivered_to", Text),  # the place that confirmed the newest delivery: a broker's identity, or a runner
    Column("due_at", BigInteger, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("run_at", BigInteger),
    Column("started_at", BigInteger),
    Column("finished_at", BigInteger),
    Column("result", Text),
    Column("error", Text),
    Column("reason", Text),  # the reason for cancelling, as the person gave it
    Column("trace", Text),  # W3C traceparent of the mutation
    Column("parked", Text),  # the limit or pause that blocks a queued job; null: not blocked
    Column("promised", Integer),  # the fencing token that has a reserved slot under the handler's limits
    Column("parent", Id),  # the job whose handler dispatched this one
    Column("unique_key", Text),  # the digest of the key under which it is unique; null: it is not
    Column("expires_at", BigInteger),  # unless its first attempt has begun by then, it is cancelled
    Column("on_failure", Text),  # the handler of the job that is accepted when this one fails
    Column("wait", Text),  # of a WAITING job: the wait, as JSON
    Column("batch", Id),  # the batch that it is a child of
    Column("position", Integer),  # its place there, from 0
    Column("limit_key", Id),  # of the limit by key, as in crm:acme; null: none
    Column("placed", Integer),  # the fencing token that has a place of the key; negative: one is to be asked for
    Column("expires_in", BigInteger),  # the time from `due_at` as it was at first to `expires_at`
)
# The conditions of the partial indexes: a statement must use the same text to use an index. On PostgreSQL with
# `coalesce`, which no other index has: a plan must not depend on statistics, which a backlog that has just come has
# not changed yet, and without them an index of all jobs in a status looks as good.
owned = text("owner IS NOT NULL")
has_parent = text("parent IS NOT NULL")
in_batch = text("batch IS NOT NULL")
ready = _status("= 'QUEUED'", "AND parked IS NULL")
at_gate = _status("= 'QUEUED'", "AND parked IS NOT NULL")  # of the release before this one
by_handler = _status("= 'QUEUED'", "AND coalesce(parked, 'KEY') <> 'KEY'")
by_key = _status("= 'QUEUED'", "AND coalesce(parked, '') = 'KEY'")
unsent = _status("= 'QUEUED'", "AND delivered_to = ''")
# Accepted for a runner, whose id has no slash. What brokers have is left out, as far as their identities have one: a
# backlog of theirs would only make the index large.
assigned = per_dialect(
    "status = 'QUEUED' AND parked IS NULL AND instr(delivered_to, '/') = 0",
    "coalesce(status, '') = 'QUEUED' AND parked IS NULL AND strpos(delivered_to, '/') = 0",
)
dangerous = _status("= 'QUEUED'", "AND parked IS NULL AND deaths >= 2")
later = _status("IN ('SCHEDULED', 'RETRYING')")
between_steps = _status("= 'WAITING'")
promised = _status("= 'QUEUED'", "AND promised = token")
held = _status("IN ('RUNNING', 'CANCELLING')")
expiring = _status("IN ('QUEUED', 'SCHEDULED')", "AND attempt = 0 AND expires_at IS NOT NULL")
_has_place = "limit_key IS NOT NULL AND ({0} IN ('RUNNING', 'CANCELLING') OR ({0} = 'QUEUED' AND placed = token))"
has_place = per_dialect(_has_place.format("status"), _has_place.format("coalesce(status, '')"))
unplaced = _status(
    "= 'QUEUED'",
    "AND limit_key IS NOT NULL AND"
    " ((parked = 'KEY' AND placed < 0) OR (parked IS NULL AND coalesce(placed, -1) <> token))",
)
finished = text("finished_at IS NOT NULL")
with_error = text("error IS NOT NULL")
# The error's JSON up to the end of its code, with which it begins. A code with `",` in it is cut there, so whatever is
# found is looked at again.
error_begin = per_dialect("substr(error, 1, instr(error, '\",'))", "substr(error, 1, strpos(error, '\",'))")
# For `with_hint` on SQLite, which left to itself takes an index of all jobs in a status as well.
BY_READY = "INDEXED BY _ledger.jobs_ready"
BY_LIMIT = "INDEXED BY _ledger.jobs_blocked"
BY_KEY = "INDEXED BY _ledger.jobs_by_key"
BY_PLACE = "INDEXED BY _ledger.jobs_placed"
BY_UNPLACED = "INDEXED BY _ledger.jobs_unplaced"
BY_CALLER = "INDEXED BY _ledger.jobs_unsent"
BY_ASSIGNMENT = "INDEXED BY _ledger.jobs_assigned"
BY_DANGER = "INDEXED BY _ledger.jobs_dangerous"
BY_TIME = "INDEXED BY _ledger.jobs_later"
BY_END = "INDEXED BY _ledger.jobs_finished"
BY_ERROR = "INDEXED BY _ledger.jobs_by_error"
BY_WAIT = "INDEXED BY _ledger.jobs_waiting"
BY_RESERVATION = "INDEXED BY _ledger.jobs_promised"
BY_HOLDER = "INDEXED BY _ledger.jobs_held"
BY_EXPIRY = "INDEXED BY _ledger.jobs_expiring"
BY_CHANGE = "INDEXED BY _ledger.jobs_changed"
BY_OWNER = "INDEXED BY _ledger.jobs_by_owner"
BY_PARENT = "INDEXED BY _ledger.jobs_by_parent"
BY_BATCH = "INDEXED BY _ledger.jobs_in_batch"
BY_BATCH_STATE = "INDEXED BY _ledger.batches_unfinished"
# The same of rows that are named by their ids or by another column with an index: no index has these words.
queued_row = text("status || '' = 'QUEUED'")
unclaimed_row = text("status || '' IN ('QUEUED', 'SCHEDULED', 'RETRYING')")
ready_row = text("status || '' = 'QUEUED' AND parked IS NULL")
expiring_row = text("status || '' IN ('QUEUED', 'SCHEDULED') AND attempt = 0 AND expires_at IS NOT NULL")
blocked_row = text("status || '' = 'QUEUED' AND parked IS NOT NULL AND parked || '' <> 'KEY'")
by_key_row = text("status || '' = 'QUEUED' AND parked || '' = 'KEY'")

SLOTS = 16
CALLERS_SLOTS = 2_000_000_000  # from SLOTS on, of callers' transactions: one each, so that a long one has nobody wait

counts = Table(  # jobs by owner and status, in slots, so that processes do not wait for the same row
    "counts",
    metadata,
    Column("slot", Integer, primary_key=True),
    Column("owner", Text, primary_key=True),  # '' for all jobs together
    Column("status", Text, primary_key=True),
    Column("n", BigInteger, nullable=False),
)

figures = Table(  # what each commit adds to the history, for a few seconds, until maintenance has added it up
    "figures",
    metadata,
    Column("id", BigInteger().with_variant(Integer, "sqlite"), Identity(), primary_key=True),
    Column("at", BigInteger, nullable=False),  # the time of the commit
    Column("data", Text, nullable=False),  # JSON: a list of figures, each with its number at the end
)

history = Table(  # what the jobs of each handler did in each minute, hour and day of UTC
    "history",
    metadata,
    Column("step", SmallInteger, primary_key=True),  # the length in minutes: 1, 60 or 1440
    Column("from_at", BigInteger, primary_key=True),
    Column("handler", Text, primary_key=True),
    Column("enqueued", BigInteger, nullable=False),
    Column("started", BigInteger, nullable=False),
    Column("succeeded", BigInteger, nullable=False),
    Column("failed", BigInteger, nullable=False),
    Column("cancelled", BigInteger, nullable=False),
    Column("retried", BigInteger, nullable=False),
    Column("waits", Text, nullable=False),  # histograms, as JSON: a bucket, its number, the next bucket, ...
    Column("runs", Text, nullable=False),
)

failures = Table(  # the failed jobs of each hour, by the error
    "failures",
    metadata,
    Column("hour", BigInteger, primary_key=True),  # its begin
    Column("handler", Text, primary_key=True),
    Column("code", Text, primary_key=True),
    Column("message", Text, primary_key=True),  # its beginning
    Column("n", BigInteger, nullable=False),
    Column("first_at", BigInteger, nullable=False),
    Column("last_at", BigInteger, nullable=False),
)

runners = Table(  # the processes that may hold claims
    "runners",
    metadata,
    Column("id", Text, primary_key=True),
    Column("beat", BigInteger, nullable=False),
    Column(
        "place", Text, nullable=False
    ),  # boot, pid namespace, pid and its start: shows a neighbour whether the process still exists
    Column("name", Text, nullable=False),
    Column("started_at", BigInteger, nullable=False),
    Column("takes", Text),  # the destinations of the jobs that it runs, with spaces between; null: an older release
    Column("role", Text),  # as in `workers`; this and the next two are null for an older release
    Column("version", Text),  # the release that it runs
    Column("memory", BigInteger),  # its resident bytes at the newest heartbeat
    Column("draining", SmallInteger),  # 1: it claims nothing more, or an admin wants that; else null
)

gates = Table(  # the handlers that are paused or have limits; all others have no row
    "gates",
    metadata,
    Column("handler", Text, primary_key=True),
    Column("paused_at", BigInteger),
    Column("paused_by", Text),  # a viewer's id, or a user of the machine; null: anonymous, on an open server
    Column("concurrency", Integer),  # the most jobs that run at once
    Column("starts", Integer),  # the most starts in any window of
    Column("period_us", BigInteger),  # this length
    Column("even_at", BigInteger),  # the theoretical arrival time of the next start (GCRA)
)

overruns = Table(  # functions that outlive their attempt, and keep a slot under their handler's limit
    "overruns",
    metadata,
    Column("job", Text, primary_key=True),
    Column("token", Integer, primary_key=True),  # the fencing token of the attempt that is over
    Column("handler", Text, nullable=False),
    Column("runner", Text, nullable=False),
    Column("limit_key", Text),  # of the job
)

limit_rules = Table(  # the limits by key, as the handlers declare them
    "limit_rules",
    metadata,
    Column("handler", Text, primary_key=True),
    Column("name", Text, nullable=False),  # shared by handlers, or the handler's own
    Column("concurrency", Integer),
    Column("starts", Integer),
    Column("period_us", BigInteger),
)

key_limits = Table(  # keys that have to be looked at in some time; most have no row
    "key_limits",
    metadata,
    Column("key", Id, primary_key=True),  # or the name of a limit that has changed, which has no colon
    Column("even_at", BigInteger),  # as in gates
    Column("next_at", BigInteger, nullable=False),  # when maintenance looks
)

dispatched = Table(  # jobs that a step has dispatched and that are not rows of `jobs` yet, in chunks
    "dispatched",
    metadata,
    Column("id", Text, primary_key=True),  # of its first job: chunks of one step are in the order of their jobs
    Column("accepted_at", BigInteger, nullable=False),  # when the step ended
    Column("jobs", Text, nullable=False),  # JSON: a list of the values of each
    Column("batch", Id),  # the outermost batch that they belong to
)
of_batch = text("batch IS NOT NULL")

batches = Table(  # jobs that belong together; a row is written once all of them are known
    "batches",
    metadata,
    Column("id", Id, primary_key=True),
    Column("owner", Text),
    Column("state", Text, nullable=False),
    Column("parent", Id),  # the batch that holds it
    Column("position", Integer),  # its place there, from 0
    Column("job", Id),  # the job whose handler dispatched it
    Column("total", Integer, nullable=False),  # children: jobs and batches
    Column("jobs", Integer, nullable=False),  # those of them that are jobs
    Column("made", Integer, nullable=False),  # those of the jobs that are rows of `jobs` by now
    Column("stops", SmallInteger, nullable=False),  # 1: a child that fails stops it
    Column("on_success", Text),  # JSON: the values of the job that follows, as in `dispatched`
    Column("on_failure", Text),  # likewise, where a child has stopped it
    Column("next_job", Id),  # the job that has followed
    Column("reason", Text),  # the reason for cancelling, as the person gave it
    Column("retried", BigInteger),  # the number of the commit that made it RETRYING: what fails after it is not retried
    Column("created_at", BigInteger, nullable=False),
    Column("finished_at", BigInteger),  # all children are over
)
unfinished_batch = text("finished_at IS NULL")
nested_batch = text("parent IS NOT NULL")
followed_batch = text("next_job IS NOT NULL")

uniques = Table(  # the jobs that hold the unique keys; whether one still counts is seen when its key is wanted
    "uniques",
    metadata,
    Column("handler", Text, primary_key=True),
    Column("key", Text, primary_key=True),
    Column("job", Text, nullable=False),
    Column("until", BigInteger),  # it counts until then in any state but FAILED and CANCELLED
    Column("situations", Text, nullable=False),  # those in which it counts, with spaces between them
)

output = Table(  # the chunks that handlers emit; a chunk is deleted with its job, or earlier if the job has too many
    "output",
    metadata,
    Column("job", Id, primary_key=True),
    Column(quoted_name("offset", quote=True), Integer, primary_key=True),  # from 0, over all attempts and runs
    Column("attempt", Integer, nullable=False),
    Column("step", Text, nullable=False),  # the name of the step that emitted it
    Column("size", Integer, nullable=False),  # of the data, in bytes of UTF-8
    Column("data", Text, nullable=False),  # JSON
)

log_lines = Table(  # those of a commit together; they are deleted with their job, or earlier if the job has too many
    "log_lines",
    metadata,
    Column("job", Id, primary_key=True),
    Column("claim", Integer, primary_key=True),  # the fencing token with which the attempt began
    Column("number", Integer, primary_key=True),  # of the first line, from 0 in the attempt
    Column("attempt", Integer, nullable=False),
    Column("lines", Integer, nullable=False),
    Column("size", Integer, nullable=False),  # of the data, in bytes of UTF-8
    Column("shift", BigInteger, nullable=False),  # from the process's clock to the ledger's, in microseconds
    Column("data", Text, nullable=False),  # JSON: a list of lists of time, level, logger, step and text
)

signals = Table(  # the signals of each run of a job; one may come before its wait
    "signals",
    metadata,
    Column("job", Text, primary_key=True),
    Column("run", Integer, primary_key=True),
    Column("name", Text, primary_key=True),
    Column("payload", Text, nullable=False),
    Column("sent_at", BigInteger, nullable=False),
    Column("sent_by", Text),  # a viewer's subject; null: the program itself
)

schedule = Table(  # the schedules of the settings
    "schedule",
    metadata,
    Column("name", Text, primary_key=True),
    Column("rule", Text, nullable=False),  # the cron expression and time zone that `next_at` was computed from
    Column("next_at", BigInteger, nullable=False),
    Column("last_at", BigInteger),
    Column("last_job", Text),
    Column("paused_at", BigInteger),
    Column("paused_by", Text),  # as in `gates`
    Column("skipped_at", BigInteger),  # the newest tick without a job, because the one before was not over
)

# The schedules made at run time. Apart from `schedule`, of which an older release deletes what its settings lack.
schedules = Table(
    "schedules",
    metadata,
    Column("name", Id, primary_key=True),
    Column("version", Integer, nullable=False),  # grows with each change of the row
    Column("handler", Text, nullable=False),
    Column("params", Text, nullable=False),  # as in `jobs`
    Column("params_version", Integer, nullable=False),
    Column("cron", Text, nullable=False),
    Column("time_zone", Text, nullable=False),
    Column("overlap", Text, nullable=False),
    Column("missed", Text, nullable=False),
    Column("made_at", BigInteger, nullable=False),
    Column("made_by", Text),  # as in `gates`
    Column("next_at", BigInteger, nullable=False),  # the next tick
    Column("look_at", BigInteger),  # when it is due: later than the tick if there is a problem; null: paused
    Column("last_at", BigInteger),
    Column("last_job", Text),
    Column("paused_at", BigInteger),
    Column("paused_by", Text),
    Column("skipped_at", BigInteger),
    Column("problem", Text),  # the reason why the process that leads made no job at the tick
)

meta = Table("meta", metadata, Column("name", Text, primary_key=True), Column("value", Text, nullable=False))

marks = Table(  # the last commit of each writer, on PostgreSQL; begins with its time in seconds
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
