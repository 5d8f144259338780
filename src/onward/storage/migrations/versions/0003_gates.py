"""Handlers that are paused."""

import sqlalchemy as sa
from alembic import op

from onward.storage.migrations.names import named

revision = "0003"
down_revision = "0002"

READY = sa.text("status = 'QUEUED' AND parked IS NULL")
AT_GATE = sa.text("status = 'QUEUED' AND parked IS NOT NULL")


def upgrade() -> None:
    op.create_table(
        named("gates"),
        sa.Column("handler", sa.Text(), nullable=False),
        sa.Column("paused_at", sa.BigInteger(), nullable=True),
        sa.Column("paused_by", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("handler"),
    )
    op.add_column(named("jobs"), sa.Column("parked", sa.Text(), nullable=True))
    for name, condition, columns in (
        ("jobs_ready", READY, ["backend", "priority", "due_at"]),
        ("jobs_at_gate", AT_GATE, ["handler", "priority", "due_at"]),
    ):
        op.create_index(named(name), named("jobs"), columns, sqlite_where=condition, postgresql_where=condition)
    op.drop_index(named("jobs_queued"), named("jobs"))
