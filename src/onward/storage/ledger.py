"""The ledger's database as a project's own code uses it."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

from onward.storage.base import Unavailable
from onward.storage.transaction import Tx
from onward.storage.writer import Writer

T = TypeVar("T")


class Ledger:
    """Reads and writes in the ledger's database, for tables of the project's own that stand beside the ledger's.

    Both raise the driver's error for a statement that the database refuses, or ends because it takes too long.
    """

    def __init__(self, writer: Writer) -> None:
        self._writer = writer

    async def write(self, transaction: Callable[[Tx], T]) -> T:
        """Run the function in a transaction, and return what it returned after its commit. Raises Unavailable.

        The function may be run twice; those that come together share one commit, each in a savepoint of its own.
        """
        return await self._writer.run(transaction, of_project=True)

    async def read(self, transaction: Callable[[Tx], T]) -> T:
        """Run the function on one consistent state of the database, and return what it returned. Raises Unavailable."""
        began, database = time.monotonic(), self._writer.database
        try:
            return await database.read(transaction, snapshot=True)
        except Unavailable as error:
            cause = error.__cause__
            if cause is None:
                raise
            limit_s = database.driver.server_limit_s(cause)
            has_own_limit = limit_s is not None and time.monotonic() - began < limit_s
            if has_own_limit or database.driver.is_too_slow(cause):
                raise cause from None
            raise
