"""Jobs that wait between two steps, and the signals that end their waits."""

import sqlalchemy as sa
from alembic import op

from onward.storage.base import StorageError
from onward.storage.migrations.names import named

revision = "0015"
down_revision = "0014"


def upgrade() -> None:
    op.add_column(named("jobs"), sa.Column("wait", sa.Text(), nullable=True))
    status = "coalesce(status, '')" if op.get_bind().dialect.name == "postgresql" else "status"
    where = sa.text(f"{status} = 'WAITING'")
    op.create_index(named("jobs_waiting"), named("jobs"), ["due_at"], sqlite_where=where, postgresql_where=where)
    op.create_table(
        named("signals"),
        sa.Column("job", sa.Text(), nullable=False),
        sa.Column("run", sa.Integer(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("payload", sa.Text(), nullable=False),
        sa.Column("sent_at", sa.BigInteger(), nullable=False),
        sa.Column("sent_by", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("job", "run", "name"),
    )


def downgrade() -> None:
    waiting = f"SELECT 1 FROM {named('jobs')} WHERE status = 'WAITING' LIMIT 1"  # noqa: S608 - our own name
    if op.get_bind().execute(sa.text(waiting)).scalar() is not None:
        raise StorageError(
            "jobs wait between two steps, and the older release knows nothing of that: let their waits end, or cancel"
            " them, as `onward jobs list --status WAITING` names them, and go back then"
        )
    # They sum to 0 by now, and the older release reads no count of a status that it does not know.
    op.execute(f"DELETE FROM {named('counts')} WHERE status = 'WAITING'")  # noqa: S608 - our own name
    op.drop_table(named("signals"))
    op.drop_index(named("jobs_waiting"), named("jobs"))
    op.drop_column(named("jobs"), "wait")
