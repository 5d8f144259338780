"""An index of the jobs that a caller's transaction brought, and that nobody has delivered yet."""

import sqlalchemy as sa
from alembic import op

from onward.storage.migrations.names import named

revision = "0007"
down_revision = "0006"

UNSENT = sa.text("status = 'QUEUED' AND delivered_to = ''")
# The older release reads the counters of the first sixteen slots.
FOLD = """
WITH gone AS (DELETE FROM counts WHERE slot >= 16 RETURNING owner, status, n)
INSERT INTO counts AS counts (slot, owner, status, n)
SELECT 0, owner, status, sum(n) FROM gone GROUP BY owner, status
ON CONFLICT (slot, owner, status) DO UPDATE SET n = counts.n + excluded.n
"""


def upgrade() -> None:
    columns = ["backend", "priority", "due_at"]
    op.create_index(named("jobs_unsent"), named("jobs"), columns, sqlite_where=UNSENT, postgresql_where=UNSENT)


def downgrade() -> None:
    op.drop_index(named("jobs_unsent"), named("jobs"))
    op.execute(f"UPDATE {named('jobs')} SET delivered_to = NULL WHERE delivered_to = ''")  # noqa: S608 - our own name
    if op.get_bind().dialect.name == "postgresql":  # elsewhere there are none
        op.execute(FOLD)
