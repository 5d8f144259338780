"""Changes of many rows, in commits of a bounded size."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from onward.storage.lock_order import ALONE
from onward.storage.transaction import Tx
from onward.storage.writer import Writer


async def in_batches(writer: Writer, change: Callable[[Tx], int]) -> int:
    """Repeat a change of limited rows, a commit each, until it finds none; return how many rows it changed.

    Half of the writer's time, and of the database's lock, is left to others. Raises Unavailable.
    """
    changed = 0
    while True:
        started = time.monotonic()
        rows = await writer.run(change, ALONE)
        if not rows:
            return changed
        changed += rows
        await asyncio.sleep(time.monotonic() - started)
