"""Functions that go on past the end of their attempt, and keep their slot under the handler's limit."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    op.create_table(
        "overruns",
        sa.Column("job", sa.Text(), nullable=False),
        sa.Column("token", sa.Integer(), nullable=False),
        sa.Column("handler", sa.Text(), nullable=False),
        sa.Column("runner", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("job", "token"),
    )


def downgrade() -> None:
    op.drop_table("overruns")  # of functions that still run in a process of this release: all of those have ended
