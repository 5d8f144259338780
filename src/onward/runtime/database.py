"""The ledger's database, by the settings."""

from __future__ import annotations

from onward.config.settings import Settings
from onward.storage.engine import Database


def database_of(settings: Settings, *, embedded: bool = False) -> Database:
    """Return the ledger's database, not opened yet; its caller closes it."""
    found = settings.database
    return Database(found.url, found.migrations, found.schema_, embedded=embedded)
