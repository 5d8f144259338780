"""The time by which a job has to begin, and the handler that hears of its failure."""

import sqlalchemy as sa
from alembic import op

from onward.storage.migrations.names import named

revision = "0013"
down_revision = "0012"

EXPIRING = "IN ('QUEUED', 'SCHEDULED') AND attempt = 0 AND expires_at IS NOT NULL"


def upgrade() -> None:
    op.add_column(named("jobs"), sa.Column("expires_at", sa.BigInteger(), nullable=True))
    op.add_column(named("jobs"), sa.Column("on_failure", sa.Text(), nullable=True))
    status = "coalesce(status, '')" if op.get_bind().dialect.name == "postgresql" else "status"
    where = sa.text(f"{status} {EXPIRING}")
    op.create_index(named("jobs_expiring"), named("jobs"), ["expires_at"], sqlite_where=where, postgresql_where=where)


def downgrade() -> None:
    # The older release begins jobs whose time is over, and tells nobody of a failure.
    op.drop_index(named("jobs_expiring"), named("jobs"))
    op.drop_column(named("jobs"), "on_failure")
    op.drop_column(named("jobs"), "expires_at")
