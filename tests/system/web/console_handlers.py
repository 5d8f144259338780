"""Handlers for the tests of the console: calls that fail until a file is there, a batch of them, and forms."""

import logging
import time
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from enum import Enum
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from onward import JobContext, Permanent, Retry, RetryIn, batch, handler

log = logging.getLogger(__name__)
log.setLevel(logging.INFO)


class Size(Enum):
    SMALL = "s"
    LARGE = "l"


@dataclass
class Item:
    sku: Annotated[str, Field(min_length=3)]
    unit_price: Annotated[Decimal, Field(ge=0)]
    size: Size = Size.SMALL
    tags: list[str] = field(default_factory=list)


@dataclass
class Address:
    street: str


@handler("work.call", mutation=True)
def call(job: JobContext, *, code: str, open_when: str, later: bool = False) -> str:
    """Call a service that answers once the file is there; `later` waits an hour for the next attempt."""
    if Path(open_when).exists():
        return "answered"
    if later:
        raise RetryIn(timedelta(hours=1), "no answer\nfrom the service", code=code)
    raise Permanent("no answer\nfrom the service", code)


@handler("work.total")
async def total(job: JobContext) -> str:
    return "all have answered"


@handler("work.all", mutation=True)
async def call_all(job: JobContext, *, codes: list[str], open_when: str, stop: bool = False) -> str:
    """Call several services, each in a job of its own; one without a code answers. `stop`: unless all answer."""
    calls = [call.job(code=code, open_when=open_when if code else "/") for code in codes]
    return job.dispatch(batch(calls, then=total.job(), on_failure=total.job() if stop else None))


@handler("work.order", mutation=True)
async def order(
    job: JobContext,
    *,
    items: list[Item],
    address: Address,
    due: datetime | None = None,
    wait: timedelta = timedelta(hours=1),
    limit: int = 5,
    gift: bool,
) -> list[str]:
    """Order some items."""
    return [f"{item.sku} {item.unit_price} {item.size.name} {item.tags}" for item in items] + [f"{gift} {due}"]


@handler("work.pay", mutation=True, secret=frozenset({"pin"}))
async def pay(job: JobContext, *, pin: str, amount: int) -> int:
    """Pay an amount."""
    return amount * len(pin)


@handler("work.log", mutation=True, retry=Retry(max_attempts=2, base=timedelta(0), cap=timedelta(0)))
def write_lines(job: JobContext, *, lines: int, go: str = "/") -> None:
    """Log lines, and go on once the file is there; the first of two attempts fails."""
    for number in range(lines):
        log.info("line %s", number)
    log.warning("<b>\x1b[31mred\u202e</b>")
    while not Path(go).exists():
        time.sleep(0.02)
    if job.attempt == 1:
        raise ValueError("broke")
    log.info("the last one")


@handler("work.keep", mutation=True)
async def keep(job: JobContext, *, extra: dict[str, Any]) -> dict[str, Any]:
    return extra


@handler("work.area", mutation=True)
async def area(job: JobContext, *, rings: list[list[list[float]]]) -> float:
    """Find the first coordinate of an area: its outline and its holes are lists of points."""
    return rings[0][0][0]
