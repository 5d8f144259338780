"""The SQLite that the ledger is kept by, and how it tells the time."""

from __future__ import annotations

from typing import Any

# Microseconds since 1970, exact to the millisecond. `unixepoch('subsec')` says it shorter, from SQLite 3.42 on.
NOW = "CAST(round((julianday('now') - 2440587.5) * 86400000) AS INTEGER) * 1000"


def driver() -> Any:
    """The module of pysqlite3, whose SQLite is a current one; Python's own where there is no wheel of it."""
    try:
        import pysqlite3  # noqa: PLC0415
    except ModuleNotFoundError:
        import sqlite3 as pysqlite3  # noqa: PLC0415
    # Else it looks anew for how to adapt each None, which takes as long as ten other values.
    pysqlite3.register_adapter(type(None), _as_it_is)
    return pysqlite3


def _as_it_is(value: None) -> None:
    return value
