"""The handlers as a later release has them: one is gone, and one takes other parameters."""

from onward.handlers.base import Handler, JobContext, handler
from tests.system.faults import acts


@handler("faults.flaky", retry=acts.ONCE)
async def flaky(job: JobContext, *, marker: int, times: int, place: str) -> None:
    """The same handler with one more parameter."""


CHANGED = ("faults.flaky", "faults.refuses")
HANDLERS: tuple[Handler, ...] = (*(one for one in acts.HANDLERS if one.name not in CHANGED), flaky)
