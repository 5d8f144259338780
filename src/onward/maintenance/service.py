"""The interface of a maintenance service."""

from __future__ import annotations

import asyncio
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import ClassVar

from onward.storage.lock_order import ALONE
from onward.storage.transaction import Tx
from onward.storage.writer import Writer


class Service(ABC):
    """One kind of work on the ledger, repeated in a task of its own by the process that leads."""

    name: ClassVar[str]

    @abstractmethod
    async def run_once(self) -> float:
        """Do what there is to do, and return the seconds until the next time. Raises Unavailable."""

    def stand_by(self) -> None:  # noqa: B027 - most remember nothing
        """Forget what was learnt from the ledger: another process leads, and changes it."""


async def in_batches(writer: Writer, change: Callable[[Tx], int]) -> int:
    """Repeat a change of limited rows, a commit each, until it finds none; return how many rows it changed.

    Half of the writer's time, and of the database's lock, is left to others.
    """
    changed = 0
    while True:
        begun = time.monotonic()
        rows = await writer.run(change, ALONE)
        if not rows:
            return changed
        changed += rows
        await asyncio.sleep(time.monotonic() - begun)
