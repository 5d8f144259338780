"""The jobs with an error, by its code."""

import sqlalchemy as sa
from alembic import op

from onward.storage.migrations.names import named

revision = "0023"
down_revision = "0022"


def upgrade() -> None:
    place = "strpos" if op.get_bind().dialect.name == "postgresql" else "instr"
    begin = sa.text(f"substr(error, 1, {place}(error, '\",'))")
    where = sa.text("error IS NOT NULL")
    op.create_index(named("jobs_by_error"), named("jobs"), [begin, "id"], sqlite_where=where, postgresql_where=where)


def downgrade() -> None:
    op.drop_index(named("jobs_by_error"), named("jobs"))
