"""The tables with their indexes, as a migration finds or makes them.

Apart from the tables, and for one kind of database at a time: a partial index loads all that SQLAlchemy has for it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from sqlalchemy import Column, Index, MetaData, TextClause

from onward.storage.place import Place
from onward.storage.sql import per_dialect
from onward.storage.tables import (
    assigned,
    at_gate,
    batches,
    between_steps,
    by_handler,
    by_key,
    dangerous,
    dispatched,
    error_begin,
    expiring,
    finished,
    followed_batch,
    has_parent,
    has_place,
    held,
    idempotency,
    in_batch,
    jobs,
    key_limits,
    later,
    metadata,
    nested_batch,
    of_batch,
    owned,
    promised,
    ready,
    schedules,
    unfinished_batch,
    unplaced,
    unsent,
    with_error,
)

# By name: the columns, and the condition of a partial one.
INDEXES: Mapping[str, tuple[tuple[Column[Any] | per_dialect, ...], TextClause | per_dialect | None]] = {
    "jobs_changed": ((jobs.c.changed,), None),
    "jobs_by_status": ((jobs.c.status, jobs.c.id), None),
    "jobs_by_handler": ((jobs.c.handler, jobs.c.id), None),
    "jobs_by_owner": ((jobs.c.owner, jobs.c.id), owned),
    "jobs_by_parent": ((jobs.c.parent, jobs.c.status, jobs.c.id), has_parent),
    "jobs_in_batch": ((jobs.c.batch, jobs.c.status, jobs.c.position), in_batch),
    "jobs_ready": ((jobs.c.backend, jobs.c.priority, jobs.c.due_at), ready),
    "jobs_at_gate": ((jobs.c.handler, jobs.c.priority, jobs.c.due_at), at_gate),
    "jobs_blocked": ((jobs.c.handler, jobs.c.priority, jobs.c.due_at), by_handler),
    "jobs_by_key": ((jobs.c.limit_key, jobs.c.priority, jobs.c.id), by_key),
    "jobs_placed": ((jobs.c.limit_key, jobs.c.status), has_place),
    "jobs_unplaced": ((jobs.c.limit_key,), unplaced),
    "jobs_unsent": ((jobs.c.backend, jobs.c.priority, jobs.c.due_at), unsent),
    "jobs_assigned": ((jobs.c.delivered_to,), assigned),
    "jobs_dangerous": ((jobs.c.backend,), dangerous),
    "jobs_later": ((jobs.c.due_at,), later),
    "jobs_waiting": ((jobs.c.due_at,), between_steps),
    "jobs_promised": ((jobs.c.handler,), promised),
    "jobs_held": ((jobs.c.runner, jobs.c.status, jobs.c.handler), held),
    "jobs_expiring": ((jobs.c.expires_at,), expiring),
    "jobs_finished": ((jobs.c.finished_at,), finished),
    "jobs_by_error": ((error_begin, jobs.c.id), with_error),
    "dispatched_of_batch": ((dispatched.c.batch,), of_batch),
    "batches_unfinished": ((batches.c.state, batches.c.id), unfinished_batch),
    "batches_nested": ((batches.c.parent, batches.c.position), nested_batch),
    "batches_followed": ((batches.c.next_job,), followed_batch),
    "batches_age": ((batches.c.finished_at,), None),
    "idempotency_age": ((idempotency.c.created_at,), None),
    "schedules_due": ((schedules.c.look_at,), None),
    "key_limits_next": ((key_limits.c.next_at,), None),
}


def tables_in(place: Place) -> MetaData:
    """Return the tables and their indexes by the names that they have in a ledger's place."""
    found = MetaData()
    schema = cast("str", None if place.prefix else place.schema)  # SQLAlchemy's types do not know that it may be None
    copies = {
        table: table.to_metadata(found, schema=schema, name=f"{place.prefix}{table.name}")
        for table in metadata.sorted_tables
    }
    if place.dialect == "sqlite":  # which counts such keys by itself, and does not tell
        for column in (column for copy in copies.values() for column in copy.columns if column.identity is not None):
            column.identity = column.server_default = None
    for name, (columns, condition) in INDEXES.items():
        words = getattr(condition, place.dialect) if isinstance(condition, per_dialect) else condition
        where: Any = {} if words is None else {f"{place.dialect}_where": words}
        of = next(copies[one.table] for one in columns if isinstance(one, Column))
        parts = [getattr(one, place.dialect) if isinstance(one, per_dialect) else of.c[one.name] for one in columns]
        Index(f"{place.prefix}{name}", *parts, **where)
    return found
