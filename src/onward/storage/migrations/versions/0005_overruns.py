"""Functions that go on past the end of their attempt, and keep their slot under the handler's limit."""

import sqlalchemy as sa
from alembic import op

from onward.storage.migrations.names import named

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    op.create_table(
        named("overruns"),
        sa.Column("job", sa.Text(), nullable=False),
        sa.Column("token", sa.Integer(), nullable=False),
        sa.Column("handler", sa.Text(), nullable=False),
        sa.Column("runner", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("job", "token"),
    )


def downgrade() -> None:
    # Of functions that still run in a process of this release: all of those have ended.
    op.drop_table(named("overruns"))
