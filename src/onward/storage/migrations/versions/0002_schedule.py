"""Recurring jobs."""

import sqlalchemy as sa
from alembic import op

from onward.storage.migrations.names import named

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    op.create_table(
        named("schedule"),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("rule", sa.Text(), nullable=False),
        sa.Column("next_at", sa.BigInteger(), nullable=False),
        sa.Column("last_at", sa.BigInteger(), nullable=True),
        sa.Column("last_job", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("name"),
    )
