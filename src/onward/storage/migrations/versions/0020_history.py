"""The figures of each handler in each minute, hour and day, and the errors of jobs that failed."""

import sqlalchemy as sa
from alembic import op

from onward.storage.migrations.names import named

revision = "0020"
down_revision = "0019"

COUNTS = ("enqueued", "started", "succeeded", "failed", "cancelled", "retried")


def upgrade() -> None:
    op.create_table(
        named("figures"),
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), sa.Identity(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("data", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_table(
        named("history"),
        sa.Column("step", sa.SmallInteger(), nullable=False),
        sa.Column("from_at", sa.BigInteger(), nullable=False),
        sa.Column("handler", sa.Text(), nullable=False),
        *(sa.Column(name, sa.BigInteger(), nullable=False) for name in COUNTS),
        sa.Column("waits", sa.Text(), nullable=False),
        sa.Column("runs", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("step", "from_at", "handler"),
    )
    op.create_table(
        named("failures"),
        sa.Column("hour", sa.BigInteger(), nullable=False),
        sa.Column("handler", sa.Text(), nullable=False),
        sa.Column("code", sa.Text(), nullable=False),
        sa.Column("message", sa.Text(), nullable=False),
        sa.Column("n", sa.BigInteger(), nullable=False),
        sa.Column("first_at", sa.BigInteger(), nullable=False),
        sa.Column("last_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("hour", "handler", "code", "message"),
    )


def downgrade() -> None:
    for table in ("failures", "history", "figures"):
        op.drop_table(named(table))
