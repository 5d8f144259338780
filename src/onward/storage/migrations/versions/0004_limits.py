"""Handlers with a limit of concurrent jobs, or of starts in a period."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"

PROMISED = sa.text("status = 'QUEUED' AND promised = token")
HELD = sa.text("status IN ('RUNNING', 'CANCELLING')")


def upgrade() -> None:
    for name, kind in (
        ("concurrency", sa.Integer()),
        ("starts", sa.Integer()),
        ("period_us", sa.BigInteger()),
        ("even_at", sa.BigInteger()),
    ):
        op.add_column("gates", sa.Column(name, kind, nullable=True))
    op.add_column("jobs", sa.Column("promised", sa.Integer(), nullable=True))
    op.create_index("jobs_promised", "jobs", ["handler"], sqlite_where=PROMISED, postgresql_where=PROMISED)
    op.drop_index("jobs_held", "jobs")
    op.create_index("jobs_held", "jobs", ["runner", "status", "handler"], sqlite_where=HELD, postgresql_where=HELD)
