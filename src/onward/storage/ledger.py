"""The ledger's database as a project's own code uses it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from onward.storage.base import Locked, Unavailable
from onward.storage.transaction import Tx
from onward.storage.writer import Writer

T = TypeVar("T")


class Ledger:
    """Reads and writes in the ledger's database, for tables of the project's own that stand beside the ledger's.

    Both raise the driver's error for a statement that the database refuses.
    """

    def __init__(self, writer: Writer) -> None:
        self._writer = writer

    async def write(self, transaction: Callable[[Tx], T]) -> T:
        """Run the function in a transaction, and return what it returned after its commit. Raises Unavailable.

        The function may be run twice; those that come together share one commit, each in a savepoint of its own.
        """
        with self._own_limits():
            return await self._writer.run(transaction)

    async def read(self, transaction: Callable[[Tx], T]) -> T:
        """Run the function on one consistent state of the database, and return what it returned. Raises Unavailable."""
        with self._own_limits():
            return await self._writer.database.read(transaction, snapshot=True)

    @contextmanager
    def _own_limits(self) -> Iterator[None]:
        """Raise the driver's error for a statement that took too long, or that a limit of its own ended: no outage."""
        began = time.monotonic()
        try:
            yield
        except Locked:
            raise
        except Unavailable as error:
            cause = error.__cause__
            limit_s = None if cause is None else self._writer.database.driver.server_limit_s(cause)
            if cause is not None and limit_s is not None and time.monotonic() - began < limit_s:
                raise cause from None
            raise
