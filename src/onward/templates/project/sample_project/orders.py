"""`orders.confirm`: a handler that is its own mutation, `ordersConfirm`."""

import asyncio
from dataclasses import dataclass

from onward import JobContext, handler


@dataclass
class Receipt:
    """A confirmed order."""

    order: str
    items: int


# The parameters are the mutation's input, the docstring is its description, and the returned value is `job { output }`.
@handler("orders.confirm", mutation=True)
async def confirm(job: JobContext, *, order: str, items: list[str]) -> Receipt:
    """Confirm an order."""
    for done, item in enumerate(items, start=1):
        await asyncio.sleep(0.2)  # your work, in place of this line
        job.progress(done, len(items), item)
    return Receipt(order, len(items))
