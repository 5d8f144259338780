"""Limits by key: how many jobs of one key, such as `crm:acme`, run at once, and start in a time.

A job with a key starts only with a *place* of it. A queued job that has none is blocked (KEY): it is neither claimed
nor delivered. The place is the fencing token of the wait that it was given for, and then the claim itself: so it ends
with the job's outcome, with a cancel and with the death of a runner, whoever writes that down, and the places of a key
are counted and never kept.

Each function that may free a place, or wants one, notes the key. At the end of the same transaction the places of all
noted keys are assigned (`assign`): they are counted under the locks of the keys, and the first blocked jobs get the
free ones. A key that has to be looked at in some time, because of its rate, has a row in `key_limits`, which
maintenance finds by its time.

The file is long because its statements share one reading of which places count, and are changed together.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from typing import NamedTuple

import sqlalchemy as sa

from onward.jobs import row
from onward.jobs.concurrency import KEY, REQUEUED, free
from onward.jobs.limits import CLOCK_TOLERANCE_US, LONGEST_US, Limit, Rate
from onward.jobs.model import Job
from onward.storage.sql import as_list, in_array
from onward.storage.tables import (
    BY_KEY,
    BY_PLACE,
    BY_UNPLACED,
    by_key,
    by_key_row,
    has_place,
    jobs,
    limit_rules,
    queued_row,
    unplaced,
)
from onward.storage.tables import key_limits as _keys
from onward.storage.transaction import Tx

UNPLACED = -(2**30)
"""In `placed`: a caller's transaction brought the job, and nobody has asked for its place; below 0 also when raised."""
MAX_OF_KEY, MAX_STARTS = 100, 500  # jobs that one transaction lets start: of one key, and in all
LOCKED_US = 20_000  # after which a job is tried again that another transaction holds
CHANGED = "changed "  # before the name of a limit that has changed: no key begins like this, as no name has a blank

_p = sa.bindparam
_limit = _p("limit_", type_=sa.Integer)
may_start = sa.or_(jobs.c.limit_key.is_(None), jobs.c.placed == jobs.c.token)
"""The job has no key, or a place of it."""
_rules = sa.select(
    limit_rules.c.handler,
    limit_rules.c.name,
    limit_rules.c.concurrency,
    limit_rules.c.starts,
    limit_rules.c.period_us,
).order_by(limit_rules.c.handler.desc())
_STATE = """
SELECT keys.value,
    (SELECT count(*) FROM (
        SELECT 1 FROM _ledger.jobs {place} WHERE {has_place} AND limit_key = keys.value LIMIT :most
    ) AS places),
    (SELECT count(*) FROM (
        SELECT 1 FROM _ledger.jobs {place}
        WHERE {has_place} AND limit_key = keys.value AND status = 'QUEUED' LIMIT :most
    ) AS reserved),
    (SELECT count(*) FROM _ledger.overruns
        WHERE limit_key = keys.value AND runner IN (SELECT id FROM _ledger.runners)),
    (SELECT id FROM _ledger.jobs {line} WHERE {by_key} AND limit_key = keys.value ORDER BY priority, id LIMIT 1),
    (SELECT id FROM _ledger.jobs {line} WHERE {by_key} AND limit_key = keys.value ORDER BY priority, id
        LIMIT 1 OFFSET 1),
    (SELECT even_at FROM _ledger.key_limits WHERE key = keys.value),
    (SELECT next_at FROM _ledger.key_limits WHERE key = keys.value)
FROM {keys} AS keys
"""
# One look at the indexes for each key, however many jobs and keys there are; places are counted up to the limit.
STATE = {
    "sqlite": sa.text(
        _STATE.format(
            keys="json_each(:keys)",
            place=BY_PLACE,
            line=BY_KEY,
            has_place=has_place.sqlite.text,
            by_key=by_key.sqlite.text,
        )
    ),
    "postgresql": sa.text(
        _STATE.format(
            keys="jsonb_array_elements_text(CAST(:keys AS JSONB))",
            place="",
            line="",
            has_place=has_place.postgresql.text,
            by_key=by_key.postgresql.text,
        )
    ),
}
_first = (
    sa.select(jobs.c.id)
    .where(by_key, jobs.c.limit_key == _p("key_"))
    .order_by(jobs.c.priority, jobs.c.id)
    .limit(_limit)
    .with_hint(jobs, BY_KEY, "sqlite")
)
_EXPIRES_FROM_DUE = sa.and_(jobs.c.expires_at.is_not(None), jobs.c.expires_in.is_(None))
_let_start = (
    sa.update(jobs)
    .where(jobs.c.id.in_(sa.select(free.c.id)), by_key_row)
    .values(
        {
            **REQUEUED,
            "parked": None,
            "placed": jobs.c.token + 1,
            # Behind the jobs in line, however old it is: else a long backlog of one key would go before all others
            # where slots are few. One that ran before keeps its place at the front; so does one of a process of the
            # release before, whose `expires_at` counts from this time.
            "due_at": sa.case((sa.or_(jobs.c.attempt > 0, _EXPIRES_FROM_DUE), jobs.c.due_at), else_=_p("now")),
        }
    )
    .returning(*row.ALL)
)
# Of jobs that this transaction has queued: nobody has seen them blocked, so that this is no further change.
_let_fresh_start = (
    sa.update(jobs).where(in_array(jobs.c.id, "ids"), by_key_row).values(parked=None, placed=jobs.c.token)
)
_set_row = sa.text(
    "INSERT INTO _ledger.key_limits (key, even_at, next_at) VALUES (:key, :even_at, :next_at)"
    " ON CONFLICT (key) DO UPDATE SET even_at = excluded.even_at, next_at = excluded.next_at"
)
_drop_rows = sa.delete(_keys).where(in_array(_keys.c.key, "keys"))
_drop_row = sa.delete(_keys).where(_keys.c.key == _p("key_"), _keys.c.even_at == _p("arrival_"))
_block = (
    sa.update(jobs)
    .where(jobs.c.id == _p("id_"), queued_row, jobs.c.token == _p("token_"))
    .values({**REQUEUED, "parked": KEY, "promised": None, "placed": None})
)
_unplaced = (
    sa.select(jobs.c.id)
    .where(unplaced)
    .limit(_limit)
    .with_for_update(skip_locked=True)
    .with_hint(jobs, BY_UNPLACED, "sqlite")
    .cte("unplaced")
    .prefix_with("MATERIALIZED")
)
_block_unplaced = (
    sa.update(jobs)
    .where(jobs.c.id.in_(sa.select(_unplaced.c.id)), queued_row)
    .values({**REQUEUED, "parked": KEY, "promised": None, "placed": None})
    .returning(jobs.c.limit_key)
)
_any_unplaced = (
    sa.select(sa.literal(1)).select_from(jobs).where(unplaced).limit(1).with_hint(jobs, BY_UNPLACED, "sqlite")
)
_soonest = sa.select(sa.func.min(_keys.c.next_at))
# A time that no rate has set was written before the clock was set back.
_due = (
    sa.select(_keys.c.key, _keys.c.even_at)
    .where(sa.or_(_keys.c.next_at <= _p("now"), _keys.c.next_at > _p("beyond")))
    .limit(_limit)
)
_next_key = (
    sa.select(jobs.c.limit_key)
    .where(by_key, jobs.c.limit_key >= _p("first_"), jobs.c.limit_key < _p("beyond_"))
    .order_by(jobs.c.limit_key, jobs.c.priority, jobs.c.id)
    .limit(1)
    .with_hint(jobs, BY_KEY, "sqlite")
)
_delete_rule = sa.delete(limit_rules).where(limit_rules.c.handler == _p("handler_"))
_set_rule = sa.text(
    "INSERT INTO _ledger.limit_rules (handler, name, concurrency, starts, period_us)"
    " VALUES (:handler, :name, :concurrency, :starts, :period_us)"
    " ON CONFLICT (handler) DO UPDATE SET name = excluded.name, concurrency = excluded.concurrency,"
    " starts = excluded.starts, period_us = excluded.period_us"
)
_count = sa.select(sa.func.count()).select_from(jobs).where(by_key).with_hint(jobs, BY_KEY, "sqlite")


class Rule(NamedTuple):
    """A handler's limit by key; handlers with one `name` share it."""

    name: str
    limit: Limit


class Note(NamedTuple):
    """The work of a transaction function on a key: it started a job, queued a `fresh` one, or neither, as at an end."""

    key: str
    started: bool = False
    fresh: Job | None = None


class State(NamedTuple):
    """A key: its places, those of them that are given to queued jobs, its first two blocked jobs, and its row.

    Both numbers are at most the largest limit that was asked for.
    """

    key: str
    places: int
    reserved: int
    overruns: int
    first: str | None
    second: str | None
    arrival: int | None
    next_at: int | None


def name_of(key: str) -> str:
    """Return the name of the limit that the key is of."""
    return key.partition(":")[0]


def value_of(key: str) -> str:
    """Return the value in a key; empty for the one key of a limit that is by no parameter."""
    return key.partition(":")[2]


def is_shared(key: str | None, handler: str) -> bool:
    """Return whether jobs of other handlers may have the key."""
    return key is not None and name_of(key) != handler


def configure(tx: Tx, rules: Mapping[str, Rule | None]) -> None:
    """Set the limits by key of these handlers, or None, for all processes; those of other handlers stay.

    Maintenance looks at all blocked jobs of a limit that has changed.
    """
    present = all_rules(tx)
    changed = set()
    for handler, rule in rules.items():
        before = present.get(handler)
        if rule == before:
            continue
        if rule is None:
            tx.execute(_delete_rule, handler_=handler)
        else:
            rate = rule.limit.rate
            starts, period_us = (rate.starts, rate.period_us) if rate else (None, None)
            values = {"name": rule.name, "concurrency": rule.limit.concurrency}
            tx.execute(_set_rule, handler=handler, **values, starts=starts, period_us=period_us)
        changed |= {one.name for one in (rule, before) if one is not None}
    for name in sorted(changed):
        tx.insert(_set_row, {"key": f"{CHANGED}{name}", "even_at": tx.now, "next_at": 0})


def unknown(tx: Tx, rules: Mapping[str, Rule]) -> dict[str, Rule]:
    """Return the rules of handlers that have none."""
    present = all_rules(tx)
    return {handler: rule for handler, rule in rules.items() if handler not in present}


def all_rules(tx: Tx) -> dict[str, Rule]:
    """Return the rules of all handlers that have one, by handler."""
    return {handler: Rule(name, limit) for handler, name, limit in _read(tx)}


def limits(tx: Tx) -> dict[str, Limit]:
    """Return all limits by their names. Where handlers of two projects disagree, it is that of the first by name."""
    return {name: limit for _, name, limit in _read(tx)}


def _read(tx: Tx) -> Iterable[tuple[str, str, Limit]]:
    for handler, name, concurrency, starts, period_us in tx.all(_rules):
        yield handler, name, Limit(concurrency, Rate(starts, period_us) if starts is not None else None)


def note(tx: Tx, key: str | None, *, started: bool = False, fresh: Job | None = None) -> None:
    """Have the key's places assigned at the end of the transaction. Does nothing without a key.

    `fresh` is a job that the transaction has queued, as the object that it will return.
    """
    if key is not None:
        tx.noted.append(Note(key, started, fresh))
        tx.at_end = assign


def block(tx: Tx, job: row.Candidate) -> None:
    """Block a job in line that has no place of its key."""
    tx.execute(_block, id_=job.id, token_=job.fencing_token, change=tx.change)
    note(tx, job.limit_key)


def count(tx: Tx) -> int:
    """Count the jobs that wait for a place of their key."""
    return tx.scalar(_count) or 0


def assign(tx: Tx) -> list[Job]:
    """Let the first blocked jobs of the noted keys start, as far as their limits allow; return them.

    Not the fresh ones, which are changed as they are: whoever has queued them delivers them, too.
    """
    if not tx.noted:
        return []
    present = limits(tx)
    fresh: dict[str, Job] = {}
    started: dict[str, int] = {}
    for one in tx.noted:
        if one.started:
            limit = present.get(name_of(one.key))
            if limit is None or limit.rate is None:
                continue  # the place that it had is the one that it has
        started[one.key] = started.get(one.key, 0) + one.started
        if one.fresh is not None:
            fresh[one.fresh.id] = one.fresh
    if not started:
        return []
    tx.lock_keys(started)
    wanted = {key: present.get(name_of(key), Limit()) for key in started}
    keys = [_Key(state, wanted[state.key], tx.now) for state in _states(tx, wanted)]
    left = MAX_STARTS
    for key in keys:
        key.start(started[key.state.key])
        left -= key.choose(tx, left)
    found = _admitted(tx, [job_id for key in keys for job_id in key.chosen], fresh)
    there = {job.id for job in found}.union(fresh)
    for key in keys:
        key.schedule(all_start=there.issuperset(key.chosen))
    _write(tx, keys)
    return found


def _states(tx: Tx, keys: Mapping[str, Limit]) -> list[State]:
    most = max(max(limit.concurrency or 0, limit.rate.burst if limit.rate else 0) for limit in keys.values())
    rows = tx.all(STATE[tx.dialect], keys=as_list(sorted(keys)), most=most)
    return [State._make(found) for found in rows]


def _admitted(tx: Tx, wanted: list[str], fresh: Mapping[str, Job]) -> list[Job]:
    """Put the jobs into the line; return those that are not fresh, and that no other transaction holds."""
    if mine := [job_id for job_id in wanted if job_id in fresh]:
        tx.execute(_let_fresh_start, ids=as_list(mine))
        for job_id in mine:  # nobody has seen the job yet: it is the result of a function of this transaction
            object.__setattr__(fresh[job_id], "blocked", None)
    others = [job_id for job_id in wanted if job_id not in fresh]
    if not others:
        return []
    rows = tx.all(_let_start, ids=as_list(others), change=tx.change, now=tx.now)
    return sorted(map(row.decode, rows), key=lambda job: (job.priority, job.id))


def _write(tx: Tx, keys: Iterable[_Key]) -> None:
    """Write the rows of the keys that have changed; a key that nobody has to look at has none."""
    changed = [key for key in keys if key.row != (key.state.arrival, key.state.next_at)]
    if gone := [key.state.key for key in changed if key.row[1] is None]:
        tx.execute(_drop_rows, keys=as_list(gone))
    for key in changed:
        if key.row[1] is not None:
            tx.insert(_set_row, {"key": key.state.key, "even_at": key.row[0], "next_at": key.row[1]})


class _Key:
    """A key while it is locked: what its limit leaves, and the jobs that are to start."""

    def __init__(self, state: State, limit: Limit, now: int) -> None:
        self.state = state
        self.chosen: list[str] = []
        self.row: tuple[int | None, int | None] = (state.arrival, state.next_at)
        self._limit = limit
        self._now = now
        self._arrival = state.arrival
        self._left = 0  # jobs that may start beyond the chosen ones
        self._more = state.first is not None  # whether jobs stay blocked

    def start(self, n: int) -> None:
        """Count so many starts."""
        if self._limit.rate is not None and n:
            self._arrival = self._limit.rate.after(self._arrival, self._now, n)

    @property
    def _places(self) -> int:
        limit = self._limit.concurrency
        return sys.maxsize if limit is None else limit - self.state.places - self.state.overruns

    @property
    def _starts(self) -> int:
        rate = self._limit.rate
        return sys.maxsize if rate is None else rate.free(self._arrival, self._now) - self.state.reserved

    def choose(self, tx: Tx, most: int) -> int:
        """Choose the jobs that are to start, at most so many; return their number."""
        able = min(self._places, self._starts)
        n = min(able, most, MAX_OF_KEY)
        if n > 0 and self.state.first is not None:
            if n == 1 or self.state.second is None:
                self.chosen, self._more = [self.state.first], self.state.second is not None
            else:
                self.chosen = tx.scalars(_first, key_=self.state.key, limit_=n)
                self._more = len(self.chosen) == n
        self._left = able - len(self.chosen)
        return len(self.chosen)

    def schedule(self, *, all_start: bool) -> None:
        """Set the key's row: when to look again, and how much of its rate is used. Not `all_start` if one is held."""
        rate, arrival, now, n = self._limit.rate, self._arrival, self._now, len(self.chosen)
        used_until = arrival if rate is not None and arrival is not None and rate.ahead(arrival, now) else None
        next_at = used_until
        if not all_start:
            next_at = now + LOCKED_US
        elif self._more and self._left > 0:
            next_at = now
        elif self._more and rate is not None and self._places > n:
            wait_us = rate.wait_beside_us(arrival, now, self.state.reserved + n)
            next_at = used_until if wait_us is None else now + max(wait_us, 1)
        self.row = (used_until, next_at)


def next_look_us(tx: Tx) -> int | None:
    """Return in how many microseconds a key has to be looked at, 0 if one has to be now; None if none has to be."""
    if tx.scalar(_any_unplaced):
        return 0
    soonest: int | None = tx.scalar(_soonest)
    return None if soonest is None else max(soonest - tx.now, 0)


class Looked(NamedTuple):
    """The keys and limits that were looked at, and where to go on with limits that have changed."""

    n: int
    after: Mapping[tuple[str, int], str]


def look(tx: Tx, limit: int, *, after: Mapping[tuple[str, int], str]) -> Looked:
    """Look at keys that are due, keys of jobs that nobody has asked a place for, and keys of limits that have changed.

    `after` is that of the look before.
    """
    keys: list[str] = tx.scalars(_block_unplaced, limit_=limit, change=tx.change)
    n = len(keys)
    goes_on = {}
    for key, since in tx.all(_due, now=tx.now, beyond=tx.now + LONGEST_US + CLOCK_TOLERANCE_US, limit_=limit):
        n += 1
        if not key.startswith(CHANGED):
            keys.append(key)
            continue
        name = key.removeprefix(CHANGED)
        found = _of_name(tx, name, limit, after.get((name, since), f"{name}:"))
        keys += found
        if len(found) == limit:
            goes_on[name, since] = _following(found[-1])
        else:
            tx.execute(_drop_row, key_=key, arrival_=since)
    for key in keys:
        note(tx, key)
    return Looked(n, goes_on)


def _of_name(tx: Tx, name: str, limit: int, first: str) -> list[str]:
    """Return the next keys of a limit that have blocked jobs."""
    found: list[str] = []
    while len(found) < limit:
        key = tx.scalar(_next_key, first_=first, beyond_=f"{name};")  # after the colon comes the semicolon
        if key is None:
            break
        found.append(key)
        first = _following(key)
    return found


def _following(key: str) -> str:
    """Return a text between the key and the next one: keys have no control characters."""
    return f"{key}\x01"
