"""Jobs that a step has dispatched and that are not yet rows of `jobs`."""

import sqlalchemy as sa
from alembic import op

from onward.storage.base import StorageError
from onward.storage.migrations.names import named

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    op.create_table(
        named("dispatched"),
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("accepted_at", sa.BigInteger(), nullable=False),
        sa.Column("jobs", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )


def downgrade() -> None:
    waiting = f"SELECT 1 FROM {named('dispatched')} LIMIT 1"  # noqa: S608 - our own name
    if op.get_bind().execute(sa.text(waiting)).scalar() is not None:
        raise StorageError(
            "jobs that a step has dispatched are not accepted yet, and the older release knows nothing of them:"
            " start this release again for some seconds, stop it, and go back then"
        )
    op.drop_table(named("dispatched"))
