"""SQLite's result codes, which tell a failing file, disk or lock from a statement that SQLite refuses.

The exceptions' classes do not: an OperationalError is a full disk as well as a misspelt column. Their words do not
either, because they quote the statement.
"""

from __future__ import annotations

from enum import IntEnum

CLOSED = "Cannot operate on a closed database."  # the driver's own words, without a code


class Code(IntEnum):
    """The codes that say nothing of a statement (https://sqlite.org/rescode.html)."""

    INTERNAL = 2
    PERM = 3
    BUSY = 5
    LOCKED = 6
    NOMEM = 7
    READONLY = 8
    INTERRUPT = 9  # it takes the whole transaction along
    IOERR = 10
    CORRUPT = 11
    FULL = 13
    CANTOPEN = 14
    PROTOCOL = 15
    SCHEMA = 17  # changed by others all the time: SQLite itself tries fifty times
    NOLFS = 22
    NOTADB = 26


TRANSIENT = frozenset((Code.BUSY, Code.LOCKED, Code.SCHEMA))
LOST = frozenset(Code)


def code_of(error: BaseException) -> int | None:
    """Return the primary result code of a driver's error; None if it came from the driver itself."""
    code = getattr(error, "sqlite_errorcode", None)  # an extended one from some versions
    return code & 0xFF if isinstance(code, int) else None


def is_lost(error: BaseException) -> bool:
    """Return whether the connection, the file, the disk or a lock failed."""
    code = code_of(error)
    return str(error) == CLOSED if code is None else code in LOST
