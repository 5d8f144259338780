"""Unique jobs: the holders of their keys."""

import sqlalchemy as sa
from alembic import op

from onward.storage.migrations.names import named

revision = "0011"
down_revision = "0010"


def upgrade() -> None:
    op.create_table(
        named("uniques"),
        sa.Column("handler", sa.Text(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("job", sa.Text(), nullable=False),
        sa.Column("until", sa.BigInteger(), nullable=True),
        sa.Column("situations", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("handler", "key"),
    )
    op.add_column(named("jobs"), sa.Column("unique_key", sa.Text(), nullable=True))


def downgrade() -> None:
    op.drop_column(named("jobs"), "unique_key")
    op.drop_table(named("uniques"))
