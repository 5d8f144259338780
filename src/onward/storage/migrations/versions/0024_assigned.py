"""An index of the queued jobs that were accepted for one process."""

import sqlalchemy as sa
from alembic import op

from onward.storage.migrations.names import named

revision = "0024"
down_revision = "0023"


def upgrade() -> None:
    status, place = "status", "instr"
    if op.get_bind().dialect.name == "postgresql":
        status, place = "coalesce(status, '')", "strpos"
    where = sa.text(f"{status} = 'QUEUED' AND parked IS NULL AND {place}(delivered_to, '/') = 0")
    op.create_index(named("jobs_assigned"), named("jobs"), ["delivered_to"], sqlite_where=where, postgresql_where=where)


def downgrade() -> None:
    op.drop_index(named("jobs_assigned"), named("jobs"))
