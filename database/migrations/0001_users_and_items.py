"""Users and items. A ledger that an older release made has both tables already, with their rows."""

from typing import Any

import sqlalchemy as sa
from alembic import op

from onward.storage.base import StorageError

revision = "0001"
down_revision = None


def upgrade() -> None:
    inspector = sa.inspect(op.get_bind())
    if _is_missing(inspector, "items", "sha256"):
        op.create_table(
            "items",
            sa.Column("job_id", sa.Text(), nullable=False),
            sa.Column("text", sa.Text(), nullable=False),
            sa.Column("characters", sa.Integer(), nullable=False),
            sa.Column("words", sa.Integer(), nullable=False),
            sa.Column("lines", sa.Integer(), nullable=False),
            sa.Column("sha256", sa.Text(), nullable=False),
            sa.Column("created_at", sa.BigInteger(), nullable=False),
            sa.PrimaryKeyConstraint("job_id"),
        )
    if _is_missing(inspector, "users", "username_key"):
        op.create_table(
            "users",
            sa.Column("id", sa.Text(), nullable=False),
            sa.Column("username", sa.Text(), nullable=False),
            sa.Column("username_key", sa.Text(), nullable=False),
            sa.Column("email", sa.Text(), nullable=False),
            sa.Column("email_key", sa.Text(), nullable=False),
            sa.Column("created_at", sa.BigInteger(), nullable=False),
            sa.PrimaryKeyConstraint("id"),
            sa.UniqueConstraint("email_key"),
            sa.UniqueConstraint("username_key"),
        )


def _is_missing(inspector: Any, table: str, column: str) -> bool:
    """Return whether the table has to be made. Raises StorageError if the one that is there is somebody else's."""
    if not inspector.has_table(table):
        return True
    if column not in {one["name"] for one in inspector.get_columns(table)}:
        fix = "take another database, or leave database.migrations out"
        raise StorageError(f"the database has a table {table} of another application: {fix}")
    return False
