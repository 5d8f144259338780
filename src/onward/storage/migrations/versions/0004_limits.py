"""Handlers with a limit of concurrent jobs, or of starts in a period."""

import sqlalchemy as sa
from alembic import op

from onward.storage.migrations.names import named

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
        op.add_column(named("gates"), sa.Column(name, kind, nullable=True))
    op.add_column(named("jobs"), sa.Column("promised", sa.Integer(), nullable=True))
    op.create_index(
        named("jobs_promised"), named("jobs"), ["handler"], sqlite_where=PROMISED, postgresql_where=PROMISED
    )
    op.drop_index(named("jobs_held"), named("jobs"))
    op.create_index(
        named("jobs_held"), named("jobs"), ["runner", "status", "handler"], sqlite_where=HELD, postgresql_where=HELD
    )
