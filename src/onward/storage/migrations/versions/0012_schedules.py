"""Schedules made at run time, and pauses of those of the settings."""

import sqlalchemy as sa
from alembic import op

from onward.storage.base import StorageError
from onward.storage.migrations.names import named

revision = "0012"
down_revision = "0011"

PAUSES = (("paused_at", sa.BigInteger()), ("paused_by", sa.Text()), ("skipped_at", sa.BigInteger()))


def upgrade() -> None:
    for name, kind in PAUSES:
        op.add_column(named("schedule"), sa.Column(name, kind, nullable=True))
    key = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
    op.create_table(
        named("schedules"),
        sa.Column("name", key, nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        *(sa.Column(name, sa.Text(), nullable=False) for name in ("handler", "params")),
        sa.Column("params_version", sa.Integer(), nullable=False),
        *(sa.Column(name, sa.Text(), nullable=False) for name in ("cron", "time_zone", "overlap", "missed")),
        sa.Column("made_at", sa.BigInteger(), nullable=False),
        sa.Column("made_by", sa.Text(), nullable=True),
        sa.Column("next_at", sa.BigInteger(), nullable=False),
        sa.Column("look_at", sa.BigInteger(), nullable=True),
        sa.Column("last_at", sa.BigInteger(), nullable=True),
        sa.Column("last_job", sa.Text(), nullable=True),
        *(sa.Column(name, kind, nullable=True) for name, kind in PAUSES),
        sa.Column("problem", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("name"),
    )
    op.create_index(named("schedules_due"), named("schedules"), ["look_at"])


def downgrade() -> None:
    made = f"SELECT 1 FROM {named('schedules')} LIMIT 1"  # noqa: S608 - our own name
    if op.get_bind().execute(sa.text(made)).scalar() is not None:
        raise StorageError(
            "the older release knows no schedules made at run time: delete them first, with"
            " `onward schedules list` and `onward schedules delete`"
        )
    op.drop_table(named("schedules"))
    for name, _ in PAUSES:
        op.drop_column(named("schedule"), name)
