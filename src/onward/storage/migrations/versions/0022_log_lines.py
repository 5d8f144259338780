"""The log lines of jobs."""

import sqlalchemy as sa
from alembic import op

from onward.storage.migrations.names import named

revision = "0022"
down_revision = "0021"

ID = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def upgrade() -> None:
    op.create_table(
        named("log_lines"),
        sa.Column("job", ID, nullable=False),
        sa.Column("claim", sa.Integer(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("lines", sa.Integer(), nullable=False),
        sa.Column("size", sa.Integer(), nullable=False),
        sa.Column("shift", sa.BigInteger(), nullable=False),
        sa.Column("data", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("job", "claim", "number"),
    )


def downgrade() -> None:
    op.drop_table(named("log_lines"))
