"""The resources that the application's handlers need, opened once for each process."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from database.items import ItemStore
from onward import Ledger


@dataclass(frozen=True, slots=True)
class Resources:
    """`job.resources` of every handler."""

    items: ItemStore


@asynccontextmanager
async def lifespan(ledger: Ledger) -> AsyncGenerator[Resources]:
    """Yield the resources; close them when the process ends."""
    yield Resources(ItemStore(ledger))
