"""Breaks of writes to the ledger, and of acceptance and manual actions."""

import time
from dataclasses import replace
from typing import Any

import sqlalchemy as sa

from tests.system.faults.broken import base

HOLD_S, REST_S = 0.2, 0.03  # the commit is late by the one; in the other, other processes have their turn


def answer_before_commit() -> None:
    """Answer callers before the commit."""
    from onward.jobs import ledger
    from onward.storage import writer

    def flagging(accept: Any) -> Any:
        def flagged(tx: Any, *arguments: Any, **named: Any) -> Any:
            tx.accepts = True
            return accept(tx, *arguments, **named)

        return flagged

    def early(apply: Any) -> Any:
        def applied(self: Any, tx: Any, batch: Any, *, with_savepoints: bool) -> None:
            apply(self, tx, batch, with_savepoints=with_savepoints)
            if getattr(tx, "accepts", False):
                writer._answer(batch)
                time.sleep(HOLD_S)

        return applied

    base.around(ledger, "accept", flagging)

    def resting(commit: Any) -> Any:
        def committed(self: Any, *arguments: Any, **named: Any) -> None:
            time.sleep(REST_S)
            commit(self, *arguments, **named)

        return committed

    base.around(writer.Writer, "_apply", early)
    base.around(writer.Writer, "_commit", resting)


def no_sync() -> None:
    """Leave it to the kernel when SQLite's journal reaches the disk."""
    from onward.storage.sqlite import SQLite

    def unsynced(connect: Any) -> Any:
        def connected(self: Any) -> Any:
            connection = connect(self)
            connection.execute("PRAGMA synchronous=OFF")
            return connection

        return connected

    base.around(SQLite, "connect", unsynced)


def two_commits() -> None:
    """Commit the user first, and then the job."""
    from database import users

    def in_two_commits(add: Any) -> Any:
        def added(tx: Any, **named: Any) -> Any:
            user = add(tx, **named)
            tx.raw("COMMIT")
            tx.raw("BEGIN IMMEDIATE" if tx.dialect == "sqlite" else "BEGIN")
            return user

        return added

    base.around(users, "add", in_two_commits)


def endless_patience() -> None:
    """Wait for the ledger without a timeout."""
    from onward.storage.writer import Writer

    def patient(init: Any) -> Any:
        return lambda self, database, **_: init(self, database, timeout_s=600.0)

    base.around(Writer, "__init__", patient)


def keys_ignored() -> None:
    """Ignore idempotency keys."""
    from onward.jobs import idempotency

    base.put(idempotency, "replay", lambda *_, **__: None)
    base.put(idempotency, "remember", lambda *_, **__: None)


def counters_stand() -> None:
    """Do not count changes of state."""
    from onward.storage.transaction import Tx

    base.put(Tx, "count", lambda *_: None)


def figures_stand() -> None:
    """Leave the history as it is."""
    from onward.storage.transaction import Tx

    base.put(Tx, "add_figure", lambda *_: None)


def figures_late() -> None:
    """Write the history's figures of a commit with the next one."""
    from onward.storage import counters

    late: list[dict[Any, int]] = [{}]

    def later(write: Any) -> Any:
        def written(tx: Any, slot: int) -> None:
            if tx.figures:
                late.append(tx.figures)
                tx.restore_counts((tx.deltas, late.pop(0)))
            write(tx, slot)

        return written

    base.around(counters, "write", later)


def run_at_ignored() -> None:
    """Run a delayed job at once."""
    from onward.jobs import ledger

    base.around(
        ledger, "accept", lambda accept: lambda tx, new, **named: accept(tx, replace(new, run_at=None), **named)
    )


def past_is_later() -> None:
    """Let a job with a past time wait for maintenance."""
    from onward.jobs import ledger

    def later(accept: Any) -> Any:
        def accepted(tx: Any, new: Any, **named: Any) -> Any:
            if new.run_at is not None:
                new = replace(new, run_at=max(new.run_at, tx.now + 1))
            return accept(tx, new, **named)

        return accepted

    base.around(ledger, "accept", later)


def cancels_only_what_runs() -> None:
    """Leave the cancel of a waiting job to its runner."""
    from onward.jobs import commands
    from onward.jobs.states import UNCLAIMED, JobStatus

    def heedless(cancel: Any) -> Any:
        def cancelled(tx: Any, job_id: str, *, reason: str | None, visible: Any) -> Any:
            job = commands._visible(tx, job_id, visible)
            waits = job.status in (*UNCLAIMED, JobStatus.WAITING)
            return job if waits else cancel(tx, job_id, reason=reason, visible=visible)

        return cancelled

    base.around(commands, "cancel", heedless)


def cancels_what_is_over() -> None:
    """Cancel finished jobs."""
    from onward.jobs import commands

    base.put(commands, "TERMINAL", frozenset())


def retries_from_the_start() -> None:
    """Forget finished steps at a manual retry."""
    from onward.jobs import commands

    def anew(retry: Any) -> Any:
        return lambda tx, job_id, **named: retry(tx, job_id, **{**named, "from_start": True})

    base.around(commands, "retry", anew)


def never_from_the_start() -> None:
    """Keep finished steps at a manual retry, even from the start."""
    from onward.jobs import commands

    def kept(retry: Any) -> Any:
        return lambda tx, job_id, **named: retry(tx, job_id, **{**named, "from_start": False})

    base.around(commands, "retry", kept)


def budget_kept() -> None:
    """Give a new run the attempts that the last one left."""
    _retry_without("charged")


def run_stands() -> None:
    """Continue the ended run at a manual retry."""
    _retry_without("run")


def _retry_without(column: str) -> None:
    from onward.jobs import commands
    from onward.storage.tables import jobs

    def without(retry: Any) -> Any:
        rest = {name: value for name, value in base.values(retry).items() if name != column}
        return sa.update(jobs).where(*commands._unchanged).values(rest)

    base.around(commands, "_retry", without)


def only_failed_retried() -> None:
    """Refuse to retry cancelled jobs."""
    from onward.jobs import commands
    from onward.jobs.states import JobStatus

    base.put(commands, "RETRYABLE", frozenset({JobStatus.FAILED}))


def retries_anything() -> None:
    """Retry a job in any state."""
    from onward.jobs import commands
    from onward.jobs.states import JobStatus

    base.put(commands, "RETRYABLE", frozenset(JobStatus))


def newest_first() -> None:
    """Take the newest of many jobs."""
    from onward.jobs import pages

    def newest(_ids: Any) -> Any:
        return lambda tx, *, visible, filter, limit, beyond: [  # noqa: A006, ARG005 - as it is called
            job.id for job in pages.page(tx, visible=visible, filter=filter, first=limit).jobs
        ]

    base.around(pages, "ids", newest)


def uniqueness_unread() -> None:
    """Take no job for one that keeps others from its unique key."""
    from onward.jobs import uniqueness

    base.put(uniqueness, "_counts", lambda *_: False)


def never_put_off() -> None:
    """Leave a debounced job where it is."""
    from onward.jobs import uniqueness

    base.put(uniqueness, "_later", lambda *_: None)


def last_chunks_lost() -> None:
    """Record the end of a step without the chunks that it has emitted last."""
    from onward.jobs import emitting

    base.put(emitting.Batch, "append", lambda batch, _tx, _job: batch.before)


def last_lines_lost() -> None:
    """Record the end of a step without the lines that were logged last."""
    from onward.jobs.log_lines import LogBatch

    base.put(LogBatch, "append", lambda *_: None)


def attempts_alike() -> None:
    """Number the chunks of each attempt from 0."""
    from onward.jobs import chunks

    base.put(chunks, "kept", lambda *_, **__: chunks.Kept())


def processes_mute() -> None:
    """Hear nothing of the chunks that a handler emits in a process of its own."""
    from onward.jobs.step_process import StepProcess

    def deaf(handle: Any) -> Any:
        return lambda self, message: None if "emit" in message else handle(self, message)

    base.around(StepProcess, "_handle_message", deaf)


def begins_at_the_first_chunk() -> None:
    """Give a reader that comes back all chunks again."""
    from onward.jobs import chunks

    base.around(chunks, "page", lambda page: lambda tx, job_id, **given: page(tx, job_id, **{**given, "after": -1}))


def waits_for_ever() -> None:
    """Do not look whether the time of a wait has come."""
    from onward.jobs import waits

    base.put(waits, "end_due", lambda *_, **__: [])


def sleeps_cut_short() -> None:
    """Let each sleep end at once."""
    from onward.jobs import recording

    def short(write: Any) -> Any:
        def written(tx: Any, job: Any, source: Any, outcome: Any, *rest: Any) -> Any:
            if outcome.wait is not None and outcome.wait.is_sleep:
                outcome = replace(outcome, delay_us=0)
            return write(tx, job, source, outcome, *rest)

        return written

    base.around(recording, "write", short)


def early_signals_lost() -> None:
    """Look for a signal only when it comes."""
    from onward.jobs import waits

    base.put(waits, "take_early", lambda *_, **__: None)


def signals_of_any_run() -> None:
    """Let a signal of an earlier run end a wait."""
    from onward.jobs import waits
    from onward.storage.tables import signals

    named = (signals.c.job == sa.bindparam("id_"), signals.c.name == sa.bindparam("name_"))
    base.put(waits, "_find", sa.select(signals.c.payload).where(*named))


def second_signals_heeded() -> None:
    """Answer a second signal as if it were the first."""
    from onward.jobs import waits
    from onward.jobs.base import Conflict

    def heeding(signal: Any) -> Any:
        def signalled(*arguments: Any, **named: Any) -> Any:
            try:
                return signal(*arguments, **named)
            except Conflict as found:
                return found.job

        return signalled

    base.around(waits, "signal", heeding)


def timeouts_pass() -> None:
    """Let a job go on when no signal has come."""
    from onward.jobs import waits

    base.put(waits, "_fail", lambda tx, job, *_: waits._go_on(tx, job, None, route=lambda *_: job.backend))


def payloads_unchecked() -> None:
    """Take any payload for any signal."""
    from onward.handlers.waits import Wait

    base.put(Wait, "bind", lambda _self, value: value)
