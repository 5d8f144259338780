"""The job whose handler dispatched a job."""

import sqlalchemy as sa
from alembic import op

from onward.storage.migrations.names import named

revision = "0010"
down_revision = "0009"

ID = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def upgrade() -> None:
    op.add_column(named("jobs"), sa.Column("parent", ID))
    where = sa.text("parent IS NOT NULL")
    columns = ["parent", "status", "id"]
    op.create_index(named("jobs_by_parent"), named("jobs"), columns, sqlite_where=where, postgresql_where=where)


def downgrade() -> None:
    op.drop_index(named("jobs_by_parent"), named("jobs"))
    op.drop_column(named("jobs"), "parent")
