"""`orders.confirm`: an order is taken from stock, and its buyer is written to."""

import asyncio
from datetime import timedelta
from typing import TypedDict

from onward.handlers.base import Handler, JobContext, Permanent, Retry, handler, sequence

SOLD_OUT = frozenset({"unicorn"})
PACKING = timedelta(milliseconds=300)


class Order(TypedDict):
    """What `reserve` hands on."""

    order: str
    email: str
    items: list[str]


class Confirmation(TypedDict):
    """What the job results in."""

    order: str
    items: int


async def reserve(job: JobContext, *, order: str, email: str, items: list[str]) -> Order:
    """Each item is put aside. Raises Permanent where one is sold out: trying again would not bring it back."""
    for done, item in enumerate(items, start=1):
        if item in SOLD_OUT:
            raise Permanent(f"We are out of {item}s.", code="SOLD_OUT")
        await asyncio.sleep(PACKING.total_seconds())  # a shelf is walked to
        job.progress(done, len(items), item)
    return {"order": order, "email": email, "items": items}


def notify(job: JobContext, value: Order) -> Confirmation:
    """A further job, committed together with this step, tells the buyer: not twice, should this one be run again."""
    message = f"Order {value['order']} is confirmed: {', '.join(value['items'])}."
    job.dispatch("buyers.tell", email=value["email"], message=message)
    return {"order": value["order"], "items": len(value["items"])}


confirm = sequence("orders.confirm", [reserve, notify], retry=Retry(max_attempts=3), timeout=timedelta(seconds=30))


@handler("buyers.tell")
def tell(job: JobContext, *, email: str, message: str) -> None:
    """A line in the log. It names the job, so that a repeated one can be known."""
    job.tools.log.append({"job": job.id, "email": email, "message": message})


HANDLERS: tuple[Handler, ...] = (confirm, tell)
