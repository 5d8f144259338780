"""The output of jobs, in chunks as their handlers emit them."""

import sqlalchemy as sa
from alembic import op

from onward.storage.migrations.names import named

revision = "0014"
down_revision = "0013"

ID = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def upgrade() -> None:
    op.create_table(
        named("output"),
        sa.Column("job", ID, nullable=False),
        sa.Column("offset", sa.Integer(), nullable=False, quote=True),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("step", sa.Text(), nullable=False),
        sa.Column("size", sa.Integer(), nullable=False),
        sa.Column("data", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("job", "offset"),
    )


def downgrade() -> None:
    op.drop_table(named("output"))
