"""The tables' indexes, for migrations alone: one that is partial on PostgreSQL loads all that SQLAlchemy has for it."""

from __future__ import annotations

from sqlalchemy import Index

from onward.storage.tables import (
    at_gate,
    finished,
    held,
    idempotency,
    jobs,
    later,
    metadata,
    owned,
    promised,
    ready,
    unsent,
)

__all__ = ["metadata"]

Index("jobs_changed", jobs.c.changed)
Index("jobs_by_status", jobs.c.status, jobs.c.id)
Index("jobs_by_handler", jobs.c.handler, jobs.c.id)
Index("jobs_by_owner", jobs.c.owner, jobs.c.id, sqlite_where=owned, postgresql_where=owned)
Index("jobs_ready", jobs.c.backend, jobs.c.priority, jobs.c.due_at, sqlite_where=ready, postgresql_where=ready)
Index("jobs_at_gate", jobs.c.handler, jobs.c.priority, jobs.c.due_at, sqlite_where=at_gate, postgresql_where=at_gate)
Index("jobs_unsent", jobs.c.backend, jobs.c.priority, jobs.c.due_at, sqlite_where=unsent, postgresql_where=unsent)
Index("jobs_later", jobs.c.due_at, sqlite_where=later, postgresql_where=later)
Index("jobs_promised", jobs.c.handler, sqlite_where=promised, postgresql_where=promised)
Index("jobs_held", jobs.c.runner, jobs.c.status, jobs.c.handler, sqlite_where=held, postgresql_where=held)
Index("jobs_finished", jobs.c.finished_at, sqlite_where=finished, postgresql_where=finished)
Index("idempotency_age", idempotency.c.created_at)
