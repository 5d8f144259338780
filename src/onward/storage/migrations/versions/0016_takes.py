"""The queues that each process takes."""

import sqlalchemy as sa
from alembic import op

from onward.storage.migrations.names import named

revision = "0016"
down_revision = "0015"


def upgrade() -> None:
    op.add_column(named("runners"), sa.Column("takes", sa.Text()))


def downgrade() -> None:
    op.drop_column(named("runners"), "takes")
