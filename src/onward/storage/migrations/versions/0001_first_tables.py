"""The first tables."""

import sqlalchemy as sa
from alembic import op

from onward.storage.migrations.names import named

revision = "0001"
down_revision = None

ID = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def upgrade() -> None:
    op.create_table(named("commits"), sa.Column("n", sa.BigInteger(), nullable=False))
    op.create_table(
        named("counts"),
        sa.Column("slot", sa.Integer(), nullable=False),
        sa.Column("owner", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("n", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("slot", "owner", "status"),
    )
    op.create_table(
        named("idempotency"),
        sa.Column("viewer", sa.Text(), nullable=False),
        sa.Column("mutation", sa.Text(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("fingerprint", sa.Text(), nullable=False),
        sa.Column("reference", sa.Text(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("viewer", "mutation", "key"),
    )
    op.create_index(named("idempotency_age"), named("idempotency"), ["created_at"], unique=False)
    op.create_table(
        named("jobs"),
        sa.Column("id", ID, nullable=False),
        sa.Column("handler", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("backend", sa.Text(), nullable=False),
        sa.Column("owner", sa.Text(), nullable=True),
        sa.Column("priority", sa.SmallInteger(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("changed", sa.BigInteger(), nullable=False),
        sa.Column("run", sa.Integer(), nullable=False),
        sa.Column("params", sa.Text(), nullable=False),
        sa.Column("params_version", sa.Integer(), nullable=False),
        sa.Column("progress", sa.Text(), nullable=True),
        sa.Column("steps", sa.Text(), nullable=False),
        sa.Column("attempts", sa.Text(), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("charged", sa.Integer(), nullable=False),
        sa.Column("max_attempts", sa.Integer(), nullable=False),
        sa.Column("deaths", sa.Integer(), nullable=False),
        sa.Column("token", sa.Integer(), nullable=False),
        sa.Column("runner", sa.Text(), nullable=True),
        sa.Column("worker", sa.Text(), nullable=True),
        sa.Column("attempt_started_at", sa.BigInteger(), nullable=True),
        sa.Column("delivered_to", sa.Text(), nullable=True),
        sa.Column("due_at", sa.BigInteger(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("run_at", sa.BigInteger(), nullable=True),
        sa.Column("started_at", sa.BigInteger(), nullable=True),
        sa.Column("finished_at", sa.BigInteger(), nullable=True),
        sa.Column("result", sa.Text(), nullable=True),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("trace", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index(named("jobs_by_handler"), named("jobs"), ["handler", "id"], unique=False)
    op.create_index(
        named("jobs_by_owner"),
        named("jobs"),
        ["owner", "id"],
        unique=False,
        sqlite_where=sa.text("owner IS NOT NULL"),
        postgresql_where=sa.text("owner IS NOT NULL"),
    )
    op.create_index(named("jobs_by_status"), named("jobs"), ["status", "id"], unique=False)
    op.create_index(named("jobs_changed"), named("jobs"), ["changed"], unique=False)
    op.create_index(
        named("jobs_finished"),
        named("jobs"),
        ["finished_at"],
        unique=False,
        sqlite_where=sa.text("finished_at IS NOT NULL"),
        postgresql_where=sa.text("finished_at IS NOT NULL"),
    )
    op.create_index(
        named("jobs_held"),
        named("jobs"),
        ["runner", "status"],
        unique=False,
        sqlite_where=sa.text("status IN ('RUNNING', 'CANCELLING')"),
        postgresql_where=sa.text("status IN ('RUNNING', 'CANCELLING')"),
    )
    op.create_index(
        named("jobs_later"),
        named("jobs"),
        ["due_at"],
        unique=False,
        sqlite_where=sa.text("status IN ('SCHEDULED', 'RETRYING')"),
        postgresql_where=sa.text("status IN ('SCHEDULED', 'RETRYING')"),
    )
    op.create_index(
        named("jobs_queued"),
        named("jobs"),
        ["backend", "priority", "due_at"],
        unique=False,
        sqlite_where=sa.text("status = 'QUEUED'"),
        postgresql_where=sa.text("status = 'QUEUED'"),
    )
    op.create_table(
        named("marks"),
        sa.Column("writer", sa.Text(), nullable=False),
        sa.Column("mark", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("writer"),
    )
    op.create_table(
        named("meta"),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("value", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("name"),
    )
    op.create_table(
        named("runners"),
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("beat", sa.BigInteger(), nullable=False),
        sa.Column("place", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("started_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.execute(f"INSERT INTO {named('commits')} (n) VALUES (0)")  # noqa: S608 - our own name
