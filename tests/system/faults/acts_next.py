"""The handlers of a later release: one is missing, and one has other parameters."""

from onward.handlers.base import Handler, JobContext, handler
from tests.system.faults import acts


@handler("faults.flaky", retry=acts.ONCE)
async def flaky(job: JobContext, *, marker: int, times: int, place: str) -> None:
    """The same handler with one more parameter."""


CHANGED = ("faults.flaky", "faults.refuses")
HANDLERS: tuple[Handler, ...] = (*(one for one in acts.HANDLERS if one.name not in CHANGED), flaky)
