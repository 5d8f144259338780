"""`orders.confirm`: take an order from stock and notify its buyer. It is the mutation `confirmOrder`, too."""

import asyncio
from datetime import timedelta
from typing import Annotated, TypedDict

from pydantic import Field

from onward import JobContext, Permanent, Retry, handler, sequence
from onward.handlers.types import Email, Text

SOLD_OUT = frozenset({"unicorn"})
PACKING = timedelta(milliseconds=300)


Items = Annotated[list[Text], Field(min_length=1, max_length=20)]


class Order(TypedDict):
    """The value that `reserve` hands to `notify`."""

    order: str
    email: str
    items: list[str]


class Confirmation(TypedDict):
    """The result of the job."""

    order: str
    items: int


async def reserve(job: JobContext, *, order: Text, email: Email, items: Items) -> Order:
    """Reserve the items and notify the buyer, by the job `orders.confirm`.

    This step puts each item aside. Raises Permanent if one is sold out, because a retry would not bring it back.
    """
    for done, item in enumerate(items, start=1):
        if item in SOLD_OUT:
            raise Permanent(f"We are out of {item}s.", code="SOLD_OUT")
        await asyncio.sleep(PACKING.total_seconds())  # walk to the shelf
        job.progress(done, len(items), item)
    return {"order": order, "email": email, "items": items}


def notify(job: JobContext, value: Order) -> Confirmation:
    """Dispatch a job that tells the buyer. It is committed with this step, so a repeated step tells nobody twice."""
    message = f"Order {value['order']} is confirmed: {', '.join(value['items'])}."
    job.dispatch(tell.job(email=value["email"], message=message))
    return {"order": value["order"], "items": len(value["items"])}


confirm = sequence(
    "orders.confirm",
    [reserve, notify],
    mutation="confirmOrder",
    retry=Retry(max_attempts=3),
    timeout=timedelta(seconds=30),
)


@handler("buyers.tell")
def tell(job: JobContext, *, email: str, message: str) -> None:
    """Append a line to the log. It names the job, so that readers recognise a repeated line."""
    job.tools.log.append({"job": job.id, "email": email, "message": message})
