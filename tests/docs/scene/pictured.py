"""Handlers of a shop, for the pictures of the page: one that takes its time, one that fails, one that is retried."""

import asyncio
import logging
from datetime import timedelta

from onward.handlers.base import HandlerError, JobContext, Permanent, Retry, handler, sequence

SHEETS = 40
DRAWN = 16
log = logging.getLogger("reports")


async def collect(job: JobContext, *, month: str) -> dict[str, str | int]:
    """The report of a month."""
    log.info("18,204 rows of %s", month)
    return {"month": month, "rows": 18_204}


async def render(job: JobContext, report: dict[str, str | int]) -> dict[str, str | int]:
    """Render one sheet after the other; the last ones never end, so that the picture shows progress."""
    for sheet in range(1, SHEETS):
        job.progress(sheet, SHEETS, f"sheet {sheet}")
        if sheet == SHEETS // 2:
            log.warning("sheet %s has no prices", sheet)
        await asyncio.sleep(0.2 if sheet < SHEETS * 0.7 else 3600)
    return report


async def draw(job: JobContext, report: dict[str, str | int]) -> dict[str, str | int]:
    """Draw a few sheets, in as many moments."""
    for sheet in range(1, DRAWN + 1):
        job.progress(sheet, DRAWN, f"sheet {sheet}")
        await asyncio.sleep(0.25)
    return report


async def send(job: JobContext, report: dict[str, str | int]) -> dict[str, str | int]:
    """Send the report."""
    return report


@handler("orders.confirm", retry=Retry(max_attempts=3))
async def confirm(job: JobContext, *, order: str, items: list[str]) -> dict[str, int]:
    """Check every item."""
    if "unicorn" in items:
        raise Permanent("We are out of unicorns.", code="SOLD_OUT")
    return {"items": len(items)}


@handler("payments.capture", retry=Retry(max_attempts=5, base=timedelta(minutes=4)))
async def capture(job: JobContext, *, order: str) -> None:
    """Fail, because the provider is down."""
    raise HandlerError(f"The provider did not answer for order {order}.")


DRAWING = sequence("reports.draw", [collect, draw, send], mutation="drawReport")
HANDLERS = (sequence("reports.build", [collect, render, send]), DRAWING, confirm, capture)
