"""Subscriptions miss no change when others come and go."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from onward.jobs import commands
from onward.jobs.change_feed import ChangeFeed
from onward.jobs.model import Visible
from onward.jobs.states import JobStatus
from onward.storage.writer import Writer
from tests.ledgers import accept

pytestmark = pytest.mark.anyio


async def test_a_second_subscription_does_not_consume_changes_of_the_first(
    writer: Writer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both begin while there is no other, and the second one reads the ledger later."""
    changes = ChangeFeed(writer.database)
    job = await writer.run(accept)
    read, slow = writer.database.read, asyncio.Event()

    async def late(transaction: Callable[[Any], Any]) -> Any:
        await slow.wait()
        return await read(transaction)

    async def second() -> None:
        monkeypatch.setattr(writer.database, "read", late)
        async with changes.watch_all():
            await asyncio.sleep(60)

    task = asyncio.create_task(second())
    await asyncio.sleep(0)
    monkeypatch.setattr(writer.database, "read", read)
    async with changes.watch_job(job.id) as subscription:
        await writer.run(lambda tx: commands.cancel(tx, job.id, reason=None, visible=Visible(everything=True)))
        slow.set()
        await asyncio.sleep(0.1)
        changes.start()
        async with asyncio.timeout(5):
            assert (await anext(subscription)).status is JobStatus.CANCELLED
    task.cancel()
    await changes.close()
