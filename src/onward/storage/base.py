"""What can go wrong in the ledger's database."""

from __future__ import annotations


class StorageError(Exception):
    """The root of what this room raises."""


class Unavailable(StorageError):
    """The ledger could not be reached or written in time; send again, with an idempotency key where there is one."""


class OutOfDate(StorageError):
    """The ledger's tables are not those of this release: run `./onward migrate`."""
