"""A place of their own for the tables, beside those of other applications.

`former_place.py` has moved those of an older release by now, so that a ledger of this revision is in its own place.
"""

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    """Nothing is left to do."""


def downgrade() -> None:
    """The tables go back when their columns are those of the older release."""
