"""The role, version, memory and drain of each process."""

import sqlalchemy as sa
from alembic import op

from onward.storage.migrations.names import named

revision = "0019"
down_revision = "0018"

COLUMNS = (("role", sa.Text()), ("version", sa.Text()), ("memory", sa.BigInteger()), ("draining", sa.SmallInteger()))


def upgrade() -> None:
    for name, kind in COLUMNS:
        op.add_column(named("runners"), sa.Column(name, kind, nullable=True))


def downgrade() -> None:
    for name, _ in COLUMNS:
        op.drop_column(named("runners"), name)
