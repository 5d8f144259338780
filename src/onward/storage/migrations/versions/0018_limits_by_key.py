"""Limits of a handler's jobs by a key."""

import sqlalchemy as sa
from alembic import op

from onward.storage.migrations.names import named

revision = "0018"
down_revision = "0017"

QUEUED = "= 'QUEUED'"
PLACE = "limit_key IS NOT NULL AND ({0} IN ('RUNNING', 'CANCELLING') OR ({0} = 'QUEUED' AND placed = token))"
UNPLACED = (
    " AND limit_key IS NOT NULL AND"
    " ((parked = 'KEY' AND placed < 0) OR (parked IS NULL AND coalesce(placed, -1) <> token))"
)
INDEXES = (
    ("jobs_blocked", f"{{0}} {QUEUED} AND coalesce(parked, 'KEY') <> 'KEY'", ["handler", "priority", "due_at"]),
    ("jobs_by_key", f"{{0}} {QUEUED} AND coalesce(parked, '') = 'KEY'", ["limit_key", "priority", "id"]),
    ("jobs_placed", PLACE, ["limit_key", "status"]),
    ("jobs_unplaced", f"{{0}} {QUEUED}{UNPLACED}", ["limit_key"]),
)


def upgrade() -> None:
    is_postgresql = op.get_bind().dialect.name == "postgresql"
    text = sa.Text(collation="C") if is_postgresql else sa.Text()
    op.add_column(named("jobs"), sa.Column("limit_key", text, nullable=True))
    op.add_column(named("jobs"), sa.Column("placed", sa.Integer(), nullable=True))
    op.add_column(named("overruns"), sa.Column("limit_key", sa.Text(), nullable=True))
    op.create_table(
        named("limit_rules"),
        sa.Column("handler", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("concurrency", sa.Integer(), nullable=True),
        sa.Column("starts", sa.Integer(), nullable=True),
        sa.Column("period_us", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("handler"),
    )
    op.create_table(
        named("key_limits"),
        sa.Column("key", text, nullable=False),
        sa.Column("even_at", sa.BigInteger(), nullable=True),
        sa.Column("next_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("key"),
    )
    op.create_index(named("key_limits_next"), named("key_limits"), ["next_at"])
    for name, condition, columns in INDEXES:
        where = sa.text(condition.format("coalesce(status, '')" if is_postgresql else "status"))
        op.create_index(named(name), named("jobs"), columns, sqlite_where=where, postgresql_where=where)


def downgrade() -> None:
    for name, _, _ in INDEXES:
        op.drop_index(named(name), named("jobs"))
    op.drop_table(named("key_limits"))
    op.drop_table(named("limit_rules"))
    op.execute(sa.text(f"UPDATE {named('jobs')} SET parked = NULL WHERE parked = 'KEY'"))  # noqa: S608 - a table's name
    for table, column in (("overruns", "limit_key"), ("jobs", "placed"), ("jobs", "limit_key")):
        op.drop_column(named(table), column)
