"""How long a job may wait, apart from its due time, which a limit by key moves."""

import sqlalchemy as sa
from alembic import op

from onward.storage.migrations.names import named

revision = "0021"
down_revision = "0020"


def upgrade() -> None:
    # Jobs of now keep it empty: theirs is the time from `due_at` to `expires_at`.
    op.add_column(named("jobs"), sa.Column("expires_in", sa.BigInteger(), nullable=True))


def downgrade() -> None:
    op.drop_column(named("jobs"), "expires_in")
