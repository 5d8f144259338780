"""The rows of schedules: those of the settings in `schedule`, those made at run time in `schedules`.

A tick, a pause, a change and a deletion are each decided on the row: by its version, or by its next tick in `schedule`,
which has no version since an older release writes it, too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import sqlalchemy as sa

from onward.jobs.schedule_entry import Entry
from onward.storage.sql import as_list, in_array, insert_new
from onward.storage.tables import schedule, schedules
from onward.storage.transaction import Tx

_p = sa.bindparam
_CHOICES = ("handler", "params", "params_version", "cron", "time_zone", "overlap", "missed")


class Row(NamedTuple):
    """The row of a schedule of the settings; times in microseconds."""

    name: str
    rule: str
    next_at: int
    last_at: int | None
    last_job: str | None
    paused_at: int | None
    paused_by: str | None
    skipped_at: int | None


class Stored(NamedTuple):
    """The row of a schedule made at run time; times in microseconds."""

    name: str
    version: int
    handler: str
    params: str
    params_version: int
    cron: str
    time_zone: str
    overlap: str
    missed: str
    made_at: int
    made_by: str | None
    next_at: int
    last_at: int | None
    last_job: str | None
    paused_at: int | None
    paused_by: str | None
    skipped_at: int | None
    problem: str | None


class Ticked(NamedTuple):
    """The new values of a row at its tick; times in microseconds."""

    next_at: int
    last_at: int | None
    last_job: str | None
    skipped_at: int | None


_TICKED: dict[str, Any] = {name: _p(f"{name}_") for name in Ticked._fields}
_rows = sa.select(*(schedule.c[name] for name in Row._fields)).order_by(schedule.c.name)
_own = schedule.c.name == _p("name_")
_insert_row = insert_new(schedule).values(name=_p("name_"), rule=_p("rule_"), next_at=_p("next_"))
_delete_row = sa.delete(schedule).where(_own)
_set_rule = sa.update(schedule).where(_own, schedule.c.rule == _p("old")).values(rule=_p("rule_"), next_at=_p("next_"))
_tick_row = (
    sa.update(schedule).where(_own, schedule.c.next_at == _p("tick"), schedule.c.paused_at.is_(None)).values(_TICKED)
)
_pause_row = (
    sa.update(schedule).where(_own, schedule.c.paused_at.is_(None)).values(paused_at=_p("now"), paused_by=_p("by"))
)
_resume_row = (
    sa.update(schedule)
    .where(_own, schedule.c.paused_at.is_not(None))
    .values(paused_at=None, paused_by=None, next_at=_p("next_"))
)
_set_last_of_row = sa.update(schedule).where(_own).values(last_job=_p("job_"))
_next_row = sa.select(sa.func.min(schedule.c.next_at)).where(schedule.c.paused_at.is_(None))

_stored = sa.select(*(schedules.c[name] for name in Stored._fields))
_this = schedules.c.name == _p("name_")
_get = _stored.where(_this)
_lock = _get.with_for_update()
_page = _stored.where(schedules.c.name > _p("after_")).order_by(schedules.c.name).limit(_p("limit_", type_=sa.Integer))
_some = sa.select(schedules.c.name).limit(_p("limit_", type_=sa.Integer)).subquery()
_count = sa.select(sa.func.count()).select_from(_some)
_count_held = (
    sa.select(sa.func.count())
    .select_from(schedules)
    .where(schedules.c.problem.is_not(None), schedules.c.paused_at.is_(None))
)
_due = (
    _stored.where(schedules.c.look_at <= _p("now"))
    .order_by(schedules.c.look_at)
    .limit(_p("limit_", type_=sa.Integer))
    .with_for_update(skip_locked=True)
)
_later = (
    sa.select(schedules.c.name)
    .where(schedules.c.look_at > _p("now"))
    .limit(_p("limit_", type_=sa.Integer))
    .with_for_update(skip_locked=True)
)
_look_again = sa.update(schedules).where(in_array(schedules.c.name, "names")).values(look_at=_p("now"))
_next_stored = sa.select(sa.func.min(schedules.c.look_at))
_insert = insert_new(schedules).values(
    name=_p("name_"),
    version=1,
    made_at=_p("now"),
    made_by=_p("by"),
    next_at=_p("next_"),
    look_at=_p("next_"),
    **{name: _p(f"{name}_") for name in _CHOICES},
)
_unchanged = (_this, schedules.c.version == _p("version_"))
_change = sa.update(schedules).where(*_unchanged)
_bump = {"version": schedules.c.version + 1}
_tick = _change.values({**_bump, **_TICKED, "look_at": _p("next_at_"), "problem": None})
_hold = _change.values({**_bump, "look_at": _p("look_"), "problem": _p("problem_")})
_pause = _change.values({**_bump, "paused_at": _p("now"), "paused_by": _p("by"), "look_at": None})
_on: dict[str, Any] = {
    "paused_at": None,
    "paused_by": None,
    "next_at": _p("next_"),
    "look_at": _p("next_"),
    "problem": None,
}
_resume = _change.values({**_bump, **_on})
_set_last = sa.update(schedules).where(_this).values(last_job=_p("job_"))
_delete = sa.delete(schedules).where(_this)


def rows(tx: Tx) -> dict[str, Row]:
    """Return the rows of the settings' schedules, by name."""
    return {row[0]: Row._make(row) for row in tx.all(_rows)}


def next_look(tx: Tx) -> int | None:
    """Return the time at which the next schedule of either kind is due, in microseconds."""
    return min((at for at in (tx.scalar(_next_row), tx.scalar(_next_stored)) if at is not None), default=None)


def insert_row(tx: Tx, entry: Entry) -> None:
    """Insert the row of a settings' schedule unless it is there."""
    tx.execute(_insert_row, name_=entry.name, rule_=entry.rule, next_=entry.next(tx.now))


def delete_row(tx: Tx, name: str) -> None:
    tx.execute(_delete_row, name_=name)


def set_rule(tx: Tx, row: Row, entry: Entry) -> None:
    """Let the changed rule of the settings count from now on."""
    tx.execute(_set_rule, name_=row.name, old=row.rule, rule_=entry.rule, next_=entry.next(tx.now))


def tick_row(tx: Tx, row: Row, ticked: Ticked) -> bool:
    """Record the tick of a settings' schedule; return False if it was taken or paused meanwhile."""
    return bool(tx.execute(_tick_row, name_=row.name, tick=row.next_at, **_named(ticked)))


def pause_row(tx: Tx, name: str, by: str | None) -> None:
    """Pause a schedule of the settings; an earlier pause stays."""
    tx.execute(_pause_row, name_=name, now=tx.now, by=by)


def resume_row(tx: Tx, entry: Entry) -> None:
    """End the pause of a schedule of the settings."""
    tx.execute(_resume_row, name_=entry.name, next_=entry.next(tx.now))


def get(tx: Tx, name: str, *, lock: bool = False) -> Stored | None:
    """Return the schedule of that name made at run time; locked until the end of the transaction, if asked for."""
    found = tx.one(_lock if lock else _get, name_=name)
    return Stored._make(found) if found else None


def page(tx: Tx, *, after: str, limit: int) -> list[Stored]:
    """Return schedules made at run time whose names come after one, by name."""
    return [Stored._make(row) for row in tx.all(_page, after_=after, limit_=limit)]


def count(tx: Tx, most: int) -> int:
    """Count the schedules made at run time, up to `most`."""
    return int(tx.scalar(_count, limit_=most) or 0)


def count_held(tx: Tx) -> int:
    """Count the schedules made at run time whose ticks are left for later because of a problem."""
    return int(tx.scalar(_count_held) or 0)


def due(tx: Tx, limit: int) -> list[Stored]:
    """Return schedules made at run time that are due, longest first; locked, without those that others have locked."""
    return [Stored._make(row) for row in tx.all(_due, now=tx.now, limit_=limit)]


def look_again(tx: Tx, limit: int) -> int:
    """Have schedules made at run time looked at now that are due later; return how many, at most `limit`."""
    names = tx.scalars(_later, now=tx.now, limit_=limit)
    return tx.execute(_look_again, names=as_list(names), now=tx.now) if names else 0


def insert(tx: Tx, entry: Entry, by: str | None) -> bool:
    """Insert a schedule made at run time; return False if the name is taken."""
    new = entry.new
    rule = (entry.cron, entry.zone.key, entry.overlap.value, entry.missed.value)
    chosen = (new.handler, new.params, new.params_version, *rule)
    values = {f"{name}_": value for name, value in zip(_CHOICES, chosen, strict=True)}
    return bool(tx.execute(_insert, name_=entry.name, now=tx.now, by=by, next_=entry.next(tx.now), **values))


def tick_each(tx: Tx, rows: Sequence[tuple[Stored, Ticked]]) -> int:
    """Record the ticks of schedules; return how many: one that has changed since it was read has none."""
    return tx.update_each(_tick, [{**_of(row), **_named(ticked)} for row, ticked in rows]) if rows else 0


def set_last(tx: Tx, row: Row | Stored, job_id: str) -> None:
    """Name another last job on a row whose tick this transaction has taken."""
    tx.execute(_set_last if isinstance(row, Stored) else _set_last_of_row, name_=row.name, job_=job_id)


def hold(tx: Tx, row: Stored, problem: str, *, look_at: int) -> bool:
    """Leave the tick for later, with the reason; return False if the schedule has changed since it was read."""
    return bool(tx.execute(_hold, **_of(row), look_=look_at, problem_=problem))


def pause(tx: Tx, row: Stored, by: str | None) -> None:
    """Pause a schedule whose row is locked."""
    tx.execute(_pause, **_of(row), now=tx.now, by=by)


def resume(tx: Tx, row: Stored, *, next_at: int) -> None:
    """End the pause of a schedule whose row is locked."""
    tx.execute(_resume, **_of(row), next_=next_at)


def delete(tx: Tx, name: str) -> None:
    """Delete a schedule made at run time."""
    tx.execute(_delete, name_=name)


def _of(row: Stored) -> Mapping[str, Any]:
    return {"name_": row.name, "version_": row.version}


def _named(ticked: Ticked) -> Mapping[str, Any]:
    return {f"{name}_": value for name, value in ticked._asdict().items()}
