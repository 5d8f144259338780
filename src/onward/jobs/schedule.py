"""Recurring jobs: one for each tick, in any number of processes, decided in one transaction on the schedule's row."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import partial
from typing import NamedTuple

from onward.jobs import commands, ledger, schedule_rows, uniqueness
from onward.jobs.base import Conflict, NotFound
from onward.jobs.model import EVERYTHING, Job, NewJob
from onward.jobs.schedule_choices import ScheduleMissed, ScheduleOverlap
from onward.jobs.schedule_entry import BadRule, Entry
from onward.jobs.schedule_rows import Row, Stored, Ticked
from onward.storage.batches import ShortCommits
from onward.storage.lock_order import ALONE
from onward.storage.transaction import Tx
from onward.storage.writer import Writer

MISSED_AFTER_US = 60_000_000  # a tick found this late was missed: no process led, or the ledger was away
RECHECK_US = 30_000_000  # a tick with a problem is tried again, before it counts as missed
LOCKED_US = 1_000_000  # one that needs locked rows is tried again
MAX_ROWS = 500  # schedules made at run time, whose ticks one commit records
MAX_COMMITS = 200  # of them in a row, before it is asked again whether this process leads
PAUSE = 0.25  # of a commit's time, left to others before the next one
OWN_S = 0.5  # after which those of the settings are looked at again, between two commits of a long line of others
CANCEL_REASON = "the next tick of its schedule came"
LOCKED = "another transaction has locked the unique key of its job, or its last job; it is tried again each second"

Accept = Callable[[Tx, NewJob], Job]
Restore = Callable[[Stored], Entry]
"""Make the entry of a schedule made at run time. Raises HandlerError, and BadRule for want of its time zone."""


@dataclass(frozen=True, slots=True)
class Made:
    """The outcome of one commit's ticks."""

    jobs: list[Job] = field(default_factory=list)
    cancelled: list[Job] = field(default_factory=list)  # last jobs that were waiting, and are over
    problems: dict[str, str] = field(default_factory=dict)  # schedules that are left for later, with the reasons
    looked_at: int = 0


class _Due(NamedTuple):
    """A schedule that is due, and the decision about its tick."""

    row: Row | Stored
    ticked: Ticked
    new: NewJob | None = None
    cancels: str | None = None

    @property
    def may_wait(self) -> bool:
        """True if another transaction may have locked what its job needs: a unique key, or the job that it cancels."""
        return self.new is not None and (self.new.unique is not None or self.cancels is not None)


class Schedule:
    """Makes the jobs of all schedules, in the process that leads: those of the settings, and those made at run time."""

    def __init__(self, entries: Iterable[Entry], accept: Accept, restore: Restore) -> None:
        self.entries = {entry.name: entry for entry in entries}
        self._accept = accept
        self._restore = restore
        self.known = False
        """True once the rows are those of this process's settings."""

    async def tick(self, writer: Writer) -> AsyncIterator[Made]:
        """Accept a job for each tick that has come, in short commits; yield what each has made. Raises Unavailable."""
        yield await writer.run(self._make_own, ALONE)
        self.known, looked_at = True, time.monotonic()
        commits = ShortCommits(writer, most=MAX_ROWS, order=ALONE, pause=PAUSE)
        for _ in range(MAX_COMMITS):
            made = await commits.run(self._make_stored)
            if not made.looked_at:
                break
            yield made
            if time.monotonic() - looked_at > OWN_S:
                yield await writer.run(self._make_own, ALONE)
                looked_at = time.monotonic()
            await commits.rest()

    def forget(self) -> None:
        """Compare the rows with the settings again, because another process may have led with others."""
        self.known = False

    def _make_own(self, tx: Tx) -> Made:
        made, present = Made(), schedule_rows.rows(tx)
        for name in present.keys() - self.entries.keys():
            schedule_rows.delete_row(tx, name)
        due: list[tuple[Entry, Row]] = []
        for entry in self.entries.values():
            row = present.get(entry.name)
            if row is None:
                schedule_rows.insert_row(tx, entry)
            elif row.rule != entry.rule or (not self.known and _is_far_ahead(tx, entry, row)):
                schedule_rows.set_rule(tx, row, entry)
            elif row.paused_at is None and row.next_at <= tx.now:
                due.append((entry, row))
        last = _last_jobs(tx, due)
        self._make(tx, made, [_decide(tx, entry, row, last) for entry, row in due])
        return made

    def _make_stored(self, tx: Tx, limit: int) -> Made:
        found = schedule_rows.due(tx, limit)
        made, known, due = Made(looked_at=len(found)), list[tuple[Entry, Stored]](), list[_Due]()
        for row in found:
            with self._held_on_error(tx, made, row):
                known.append((self._entry(row), row))
        last = _last_jobs(tx, known)
        for entry, row in known:
            with self._held_on_error(tx, made, row):
                due.append(_decide(tx, entry, row, last))
        self._make(tx, made, due)
        return made

    @staticmethod
    @contextmanager
    def _held_on_error(tx: Tx, made: Made, row: Stored) -> Iterator[None]:
        """Leave a tick for later, since whatever is wrong with one schedule keeps no other from its ticks."""
        try:
            yield
        except Exception as error:  # noqa: BLE001 - whatever it is
            problem = str(error) or type(error).__name__
            if schedule_rows.hold(tx, row, problem, look_at=tx.now + RECHECK_US):
                made.problems[row.name] = problem

    def _entry(self, row: Stored) -> Entry:
        """Return the entry of a schedule made at run time. Raises BadRule, HandlerError."""
        if row.name in self.entries:
            raise BadRule("name", f"the settings have a schedule {row.name}, too: rename that one, or delete this one")
        return self._restore(row)

    def _make(self, tx: Tx, made: Made, due: Iterable[_Due]) -> None:
        """Record the decisions, and make their jobs."""
        ordered = sorted(due, key=lambda one: one.row.name)
        self._make_each(tx, made, [one for one in ordered if not one.may_wait])
        self._make_or_leave(tx, made, [one for one in ordered if one.may_wait])

    def _make_or_leave(self, tx: Tx, made: Made, due: Sequence[_Due]) -> None:
        """Record and make what is due; leave a tick for later whose job needs rows that another transaction locks."""
        if not due:
            return
        found = tx.unless_locked(partial(self._make_each, tx, Made(), due))
        if found is not None:
            made.jobs.extend(found.jobs)
            made.cancelled.extend(found.cancelled)
        elif len(due) > 1:
            for one in due:
                self._make_or_leave(tx, made, [one])
        else:
            row = due[0].row
            made.problems[row.name] = LOCKED
            if isinstance(row, Stored):
                schedule_rows.hold(tx, row, LOCKED, look_at=tx.now + LOCKED_US)

    def _make_each(self, tx: Tx, made: Made, due: Sequence[_Due]) -> Made:
        taken = [(one, one.new) for one in _take(tx, due) if one.new is not None]
        holders = uniqueness.reserve(tx, [new for _, new in taken])  # keys before jobs, as `lock_order` says
        for one, new in sorted(taken, key=lambda one: one[0].cancels or ""):
            # The end of a unique job that runs would only be waited for: no job could take its place now.
            if one.cancels is not None and not uniqueness.is_held_by_running(tx, new, one.cancels, holders):
                with suppress(Conflict, NotFound):  # it has ended meanwhile
                    last = commands.cancel(tx, one.cancels, reason=CANCEL_REASON, visible=EVERYTHING)
                    if last.done:
                        made.cancelled.append(last)
        for one, new in taken:  # after all other statements, so that the jobs are inserted by one
            job = self._accept(tx, new)
            if job.replayed:  # it was there, and holds the unique key
                schedule_rows.set_last(tx, one.row, job.id)
            else:
                made.jobs.append(job)
        return made


def _take(tx: Tx, due: Sequence[_Due]) -> list[_Due]:
    """Record the decisions on the schedules' rows; leave out those whose rows have changed since they were read.

    Those made at run time are locked since then: one statement is enough for all of them.
    """
    stored = [(one.row, one.ticked) for one in due if isinstance(one.row, Stored)]
    if schedule_rows.tick_each(tx, stored) != len(stored):
        raise AssertionError("a locked schedule has changed")
    return [one for one in due if isinstance(one.row, Stored) or schedule_rows.tick_row(tx, one.row, one.ticked)]


def _is_far_ahead(tx: Tx, entry: Entry, row: Row) -> bool:
    """Return whether the next tick is later than its rule says: the clock was ahead, and has been set back."""
    return row.next_at > entry.next(tx.now + MISSED_AFTER_US)


def until_next(tx: Tx) -> int | None:
    """Return the microseconds until a schedule is due; None if none will be without a change."""
    at = schedule_rows.next_look(tx)
    return None if at is None else at - tx.now


def _last_jobs(tx: Tx, due: Iterable[tuple[Entry, Row | Stored]]) -> dict[str, Job]:
    """Return the last jobs of schedules whose ticks must not overlap."""
    ids = {row.last_job for entry, row in due if entry.overlap is not ScheduleOverlap.ALLOW}
    wanted = sorted(id_ for id_ in ids if id_ is not None)
    return ledger.get_many(tx, wanted) if wanted else {}


def _decide(tx: Tx, entry: Entry, row: Row | Stored, last_jobs: Mapping[str, Job]) -> _Due:
    """Decide about the tick of a schedule that is due: one job stands for all ticks that have come meanwhile."""
    tick = max(entry.newest(tx.now), row.next_at)
    ticked = Ticked(entry.next(tx.now), row.last_at, row.last_job, row.skipped_at)
    if row.next_at > tx.now:  # it is looked at because the clock was set back
        return _Due(row, ticked)
    if tx.now - tick > MISSED_AFTER_US and entry.missed is ScheduleMissed.SKIP:
        return _Due(row, ticked)
    last = last_jobs.get(row.last_job or "")
    open_ = None if last is None or last.done or entry.overlap is ScheduleOverlap.ALLOW else last.id
    if open_ is not None and entry.overlap is ScheduleOverlap.SKIP:
        return _Due(row, ticked._replace(skipped_at=tick))
    new = replace(entry.new, run_at=tick, id=tx.new_id("job"))
    return _Due(row, ticked._replace(last_at=tick, last_job=new.id), new, open_)
