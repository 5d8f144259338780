"""The schedules as people see and change them: those of the settings, and those made at run time."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any, NamedTuple

from onward.dispatch.preparation import Preparation
from onward.handlers.base import HandlerError, UnknownHandler
from onward.jobs import schedule_rows
from onward.jobs.base import ScheduleRefused
from onward.jobs.model import NewJob
from onward.jobs.schedule_choices import ScheduleMissed, ScheduleOverlap
from onward.jobs.schedule_entry import BadRule, Entry, upcoming
from onward.jobs.schedule_rows import Row, Stored
from onward.storage.transaction import Tx
from onward.text.visibility import is_plain

NAME_LENGTH = 100
MAX_SCHEDULES = 10_000  # made at run time
UPCOMING = 5


class Shown(NamedTuple):
    """A schedule and its state; times in microseconds."""

    name: str
    handler: str
    cron: str
    time_zone: str
    overlap: ScheduleOverlap
    missed: ScheduleMissed
    from_settings: bool
    made_at: int | None = None
    made_by: str | None = None
    next_at: int | None = None  # none while it is paused, and before the process that leads has read the settings
    last_at: int | None = None
    last_job: str | None = None
    paused_at: int | None = None
    paused_by: str | None = None
    skipped_at: int | None = None
    problem: str | None = None

    @property
    def upcoming(self) -> tuple[int, ...]:
        """Return the next ticks. Rare ones take some milliseconds to find, the first time."""
        if self.next_at is None:
            return ()
        try:
            return upcoming(self.cron, self.time_zone, self.next_at, UPCOMING)
        except Exception:  # noqa: BLE001 - of a time zone, or a rule, that this process does not know
            return (self.next_at,)


class Schedules:
    """Shows, makes and changes schedules. All but `entry` run in a transaction."""

    def __init__(self, entries: Mapping[str, Entry], preparation: Preparation) -> None:
        self.entries = entries
        self._preparation = preparation

    def entry(
        self,
        name: str,
        handler: str,
        params: Mapping[str, Any],
        cron: str,
        *,
        time_zone: str | None = None,
        overlap: ScheduleOverlap | None = None,
        missed: ScheduleMissed | None = None,
    ) -> Entry:
        """Check a new schedule. Raises ScheduleRefused, and InvalidParameters for wrong parameters of the handler."""
        if not (0 < len(name) <= NAME_LENGTH and is_plain(name) and name == name.strip()):
            words = f"A name has 1 to {NAME_LENGTH} characters, no control characters, and no space around it."
            raise ScheduleRefused("INVALID", words, "name")
        try:
            new = self._preparation.prepare(handler, params, owner=None)
        except UnknownHandler as error:
            raise ScheduleRefused(
                "INVALID", "There is no such handler; system { handlers } lists them.", "handler"
            ) from error
        try:
            return Entry.checked(
                name,
                new,
                cron,
                time_zone or "UTC",
                missed=missed or ScheduleMissed.RUN_ONCE,
                overlap=overlap or ScheduleOverlap.ALLOW,
            )
        except BadRule as error:
            path = "timeZone" if error.key == "timezone" else error.key
            raise ScheduleRefused("INVALID", f"{error}.", path) from error

    def restored(self, row: Stored) -> Entry:
        """Return the entry of a schedule made at run time. Raises BadRule, HandlerError, ValueError."""
        new = self._preparation.prepare_stored(row.handler, row.params, row.params_version)
        missed, overlap = ScheduleMissed(row.missed), ScheduleOverlap(row.overlap)
        return Entry.checked(row.name, new, row.cron, row.time_zone, missed=missed, overlap=overlap)

    def create(self, tx: Tx, entry: Entry, *, by: str | None) -> Shown:
        """Store a schedule. Raises ScheduleRefused."""
        if entry.name in self.entries or entry.name in schedule_rows.rows(tx):
            raise ScheduleRefused("ALREADY_EXISTS", f"{_in_settings(entry.name)} Take another name.", "name")
        if schedule_rows.count(tx, MAX_SCHEDULES) >= MAX_SCHEDULES:
            words = f"There are {MAX_SCHEDULES:,} schedules made at run time, which is the limit. Delete some."
            raise ScheduleRefused("RATE_LIMITED", words)
        if not schedule_rows.insert(tx, entry, by):
            words = f"There is a schedule {entry.name} already. Delete it first, or take another name."
            raise ScheduleRefused("ALREADY_EXISTS", words, "name")
        return self.get(tx, entry.name)

    def pause(self, tx: Tx, name: str, *, by: str | None) -> Shown:
        """Let no tick make a job until the schedule is resumed; an earlier pause stays. Raises ScheduleRefused."""
        if (entry := self.entries.get(name)) is not None:
            schedule_rows.insert_row(tx, entry)
            schedule_rows.pause_row(tx, name, by)
        elif (row := _locked(tx, name)).paused_at is None:
            schedule_rows.pause(tx, row, by)
        return self.get(tx, name)

    def resume(self, tx: Tx, name: str) -> Shown:
        """Go on with the next tick; those of the pause are not made up. Raises ScheduleRefused."""
        if (entry := self.entries.get(name)) is not None:
            schedule_rows.resume_row(tx, entry)
        elif (row := _locked(tx, name)).paused_at is not None:
            schedule_rows.resume(tx, row, next_at=self._restored(row).next(tx.now))
        return self.get(tx, name)

    def new_job(self, tx: Tx, name: str) -> tuple[Shown, NewJob]:
        """Return the schedule, and a job of it for now; its ticks stay as they are. Raises ScheduleRefused."""
        shown, entry = self.get(tx, name), self.entries.get(name)
        if entry is None:
            row = schedule_rows.get(tx, name)
            assert row is not None  # noqa: S101 - for the type checker: it was shown
            entry = self._restored(row)
        return shown, entry.new

    def delete(self, tx: Tx, name: str) -> Shown:
        """Delete a schedule made at run time, and return it as it was; its jobs stay. Raises ScheduleRefused."""
        row = schedule_rows.get(tx, name, lock=True) if is_plain(name) else None
        if row is None and name in self.entries:
            raise ScheduleRefused("NOT_ALLOWED", f"{_in_settings(name)} Remove it there, or pause it.", "name")
        if row is None:
            raise _no_such_schedule()
        schedule_rows.delete(tx, name)
        return self._stored(row)

    def get(self, tx: Tx, name: str) -> Shown:
        """Return one schedule. Raises ScheduleRefused."""
        if (entry := self.entries.get(name)) is not None:
            return _own(entry, schedule_rows.rows(tx).get(name), schedule_rows.get(tx, name))
        row = schedule_rows.get(tx, name) if is_plain(name) else None  # PostgreSQL refuses NUL
        if row is None:
            raise _no_such_schedule()
        return self._stored(row)

    def page(self, tx: Tx, *, first: int, after: str = "") -> list[Shown]:
        """Return the schedules of both kinds whose names come after one, by name."""
        stored = {row.name: row for row in schedule_rows.page(tx, after=after, limit=first)}
        own = [name for name in self.entries if name > after]
        rows = schedule_rows.rows(tx) if own else {}
        shown = {name: partial(_own, self.entries[name], rows.get(name), stored.get(name)) for name in own}
        found = {**{name: partial(self._stored, row) for name, row in stored.items()}, **shown}
        return [found[name]() for name in sorted(found)[:first]]

    def _restored(self, row: Stored) -> Entry:
        try:
            return self.restored(row)
        except (BadRule, HandlerError, ValueError) as error:
            raise ScheduleRefused("CONFLICT", f"This process cannot use the schedule: {error}.", "name") from error

    def _stored(self, row: Stored) -> Shown:
        known = self._preparation.knows(row.handler)
        return Shown(
            name=row.name,
            handler=row.handler,
            cron=row.cron,
            time_zone=row.time_zone,
            overlap=ScheduleOverlap(row.overlap),
            missed=ScheduleMissed(row.missed),
            from_settings=False,
            made_at=row.made_at,
            made_by=row.made_by,
            next_at=row.next_at if row.paused_at is None else None,
            last_at=row.last_at,
            last_job=row.last_job,
            paused_at=row.paused_at,
            paused_by=row.paused_by,
            skipped_at=row.skipped_at,
            problem=row.problem or (None if known else f"this process knows no handler named {row.handler!r}"),
        )


def _own(entry: Entry, row: Row | None, namesake: Stored | None) -> Shown:
    state = (
        {}
        if row is None
        else {name: getattr(row, name) for name in row._fields if name not in {"name", "rule", "next_at"}}
    )
    return Shown(
        name=entry.name,
        handler=entry.new.handler,
        cron=entry.cron,
        time_zone=entry.zone.key,
        overlap=entry.overlap,
        missed=entry.missed,
        from_settings=True,
        next_at=row.next_at if row is not None and row.paused_at is None else None,
        problem=None
        if namesake is None
        else "a schedule made at run time has this name, too, and makes no jobs: delete it",
        **state,
    )


def _locked(tx: Tx, name: str) -> Stored:
    row = schedule_rows.get(tx, name, lock=True) if is_plain(name) else None
    if row is None:
        raise _no_such_schedule()
    return row


def _no_such_schedule() -> ScheduleRefused:
    return ScheduleRefused("NOT_FOUND", "There is no schedule of this name.", "name")


def _in_settings(name: str) -> str:
    return f"{name} is a schedule of the settings: [schedule.{name}] in settings.toml."
