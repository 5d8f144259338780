"""Indexes whose conditions no other index has, so that PostgreSQL's plans do not depend on statistics."""

import sqlalchemy as sa
from alembic import op

from onward.storage.migrations.names import named

revision = "0009"
down_revision = "0008"

QUEUED, LATER, HELD = "= 'QUEUED'", "IN ('SCHEDULED', 'RETRYING')", "IN ('RUNNING', 'CANCELLING')"
LINE = ["backend", "priority", "due_at"]
PARTIAL = (
    ("jobs_ready", QUEUED, " AND parked IS NULL", LINE),
    ("jobs_at_gate", QUEUED, " AND parked IS NOT NULL", ["handler", "priority", "due_at"]),
    ("jobs_unsent", QUEUED, " AND delivered_to = ''", LINE),
    ("jobs_later", LATER, "", ["due_at"]),
    ("jobs_promised", QUEUED, " AND promised = token", ["handler"]),
    ("jobs_held", HELD, "", ["runner", "status", "handler"]),
)
DANGEROUS = " AND parked IS NULL AND deaths >= 2"


def upgrade() -> None:
    status = "status"
    if op.get_bind().dialect.name == "postgresql":
        status = "coalesce(status, '')"
        _replace(status)
    _create("jobs_dangerous", f"{status} {QUEUED}{DANGEROUS}", ["backend"])


def downgrade() -> None:
    op.drop_index(named("jobs_dangerous"), named("jobs"))
    if op.get_bind().dialect.name == "postgresql":
        _replace("status")


def _replace(status: str) -> None:
    for name, is_, further, columns in PARTIAL:
        op.drop_index(named(name), named("jobs"))
        _create(name, f"{status} {is_}{further}", columns)


def _create(name: str, condition: str, columns: list[str]) -> None:
    where = sa.text(condition)
    op.create_index(named(name), named("jobs"), columns, sqlite_where=where, postgresql_where=where)
