"""Errors of the ledger's database."""

from __future__ import annotations


class StorageError(Exception):
    """Base class for errors of this package."""


class Unavailable(StorageError):
    """The ledger could not be read or written in time; send again, with an idempotency key where there is one."""


class Locked(Unavailable):
    """Another transaction has locked a row for longer than a moment; nothing was written."""


class Deadlock(Unavailable):
    """Two transactions of callers waited for each other, and the database ended this one: roll back, and run it again.

    Nothing was written. Transactions that enqueue in the same order never meet like this.
    """


class FileReplaced(Unavailable):
    """The ledger's file is not the one that this process opened; nothing is written until it is back."""


class NotALedger(StorageError):
    """The database holds something else: no table is made there."""


class NoLedger(StorageError):
    """The ledger does not exist yet, and the caller does not create it."""


class DiskFull(Unavailable):
    """The ledger's disk is full; nothing was written, and nothing will be until there is space."""


class TransactionEnded(StorageError):
    """A statement was refused, and its transaction function went on; nothing of the function was written."""


class OutOfDate(StorageError):
    """The ledger's tables are not those of this release: run `onward migrate`."""
