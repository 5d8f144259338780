"""Errors of the ledger's database."""

from __future__ import annotations


class StorageError(Exception):
    """Base class for errors of this package."""


class Unavailable(StorageError):
    """The ledger could not be read or written in time; send again, with an idempotency key where there is one."""


class OutOfDate(StorageError):
    """The ledger's tables are not those of this release: run `onward migrate`."""
