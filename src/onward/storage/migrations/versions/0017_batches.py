"""Batches: jobs that belong together."""

import sqlalchemy as sa
from alembic import op

from onward.storage.base import StorageError
from onward.storage.migrations.names import named

revision = "0017"
down_revision = "0016"

ID = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
INDEXES = (
    ("jobs_in_batch", "jobs", ["batch", "status", "position"], "batch IS NOT NULL"),
    ("dispatched_of_batch", "dispatched", ["batch"], "batch IS NOT NULL"),
    ("batches_unfinished", "batches", ["state", "id"], "finished_at IS NULL"),
    ("batches_nested", "batches", ["parent", "position"], "parent IS NOT NULL"),
    ("batches_followed", "batches", ["next_job"], "next_job IS NOT NULL"),
)


def upgrade() -> None:
    op.create_table(
        named("batches"),
        sa.Column("id", ID, nullable=False),
        sa.Column("owner", sa.Text()),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("parent", ID),
        sa.Column("position", sa.Integer()),
        sa.Column("job", ID),
        sa.Column("total", sa.Integer(), nullable=False),
        sa.Column("jobs", sa.Integer(), nullable=False),
        sa.Column("made", sa.Integer(), nullable=False),
        sa.Column("stops", sa.SmallInteger(), nullable=False),
        sa.Column("on_success", sa.Text()),
        sa.Column("on_failure", sa.Text()),
        sa.Column("next_job", ID),
        sa.Column("reason", sa.Text()),
        sa.Column("retried", sa.BigInteger()),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("finished_at", sa.BigInteger()),
        sa.PrimaryKeyConstraint("id"),
    )
    op.add_column(named("jobs"), sa.Column("batch", ID))
    op.add_column(named("jobs"), sa.Column("position", sa.Integer()))
    op.add_column(named("dispatched"), sa.Column("batch", ID))
    for name, table, columns, condition in INDEXES:
        where = sa.text(condition)
        op.create_index(named(name), named(table), columns, sqlite_where=where, postgresql_where=where)
    op.create_index(named("batches_age"), named("batches"), ["finished_at"])


def downgrade() -> None:
    unfinished = f"SELECT 1 FROM {named('batches')} WHERE finished_at IS NULL LIMIT 1"  # noqa: S608 - our own name
    if op.get_bind().execute(sa.text(unfinished)).scalar() is not None:
        raise StorageError(
            "batches are under way, and the older release knows nothing of them: let them end, or cancel them, and go"
            " back then"
        )
    op.drop_index(named("jobs_in_batch"), named("jobs"))
    op.drop_index(named("dispatched_of_batch"), named("dispatched"))
    op.drop_column(named("dispatched"), "batch")
    op.drop_column(named("jobs"), "position")
    op.drop_column(named("jobs"), "batch")
    op.drop_table(named("batches"))
