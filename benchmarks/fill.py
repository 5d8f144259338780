"""Accepts jobs by the product's own code, without HTTP: `python -m benchmarks.fill HANDLER COUNT`."""

from __future__ import annotations

import asyncio
import sys

import sqlalchemy as sa
import uvloop

from onward.backends.base import Role
from onward.config.settings import enter
from onward.runtime import wiring
from onward.storage.tables import jobs, ready
from onward.storage.transaction import Tx

BATCH = 200
FILL_TIMEOUT_S = 60
_unconfirmed = sa.select(sa.func.count()).where(ready, jobs.c.delivered_to.is_(None))


async def fill(handler: str, count: int) -> None:
    """Accept that many jobs. Those for workers are put into Redis and confirmed."""
    settings = enter()
    async with wiring.run_process(settings, Role.RUN) as parts:
        dispatcher = parts.dispatcher
        await dispatcher.health()  # the broker's identity is known, so that deliveries are confirmed

        async def one(n: int) -> None:
            new = dispatcher.prepare(handler, {"n": n}, owner=None)
            job = await parts.writer.run(lambda tx: dispatcher.accept(tx, new))
            await dispatcher.deliver([job], after_response=dispatcher.defer)

        for start in range(0, count, BATCH):
            await asyncio.gather(*(one(n) for n in range(start, min(start + BATCH, count))))
        if dispatcher.backends[dispatcher.route(handler)].runs_elsewhere:
            async with asyncio.timeout(FILL_TIMEOUT_S):
                while await parts.database.read(_left):  # noqa: ASYNC110 - changes by other processes have no event here
                    await asyncio.sleep(0.05)


def _left(tx: Tx) -> int:
    row = tx.one(_unconfirmed)
    return int(row[0]) if row else 0


if __name__ == "__main__":
    uvloop.run(fill(sys.argv[1], int(sys.argv[2])))
