"""The handlers of a later release: one is missing, and one has other parameters."""

from onward.handlers.base import Handler, JobContext, handler
from tests.system.faults import fault_handlers


@handler("faults.flaky", retry=fault_handlers.ONCE)
async def flaky(job: JobContext, *, marker: int, times: int, place: str) -> None:
    """The same handler with one more parameter."""


CHANGED = ("faults.flaky", "faults.refuses")
HANDLERS: tuple[Handler, ...] = (*(one for one in fault_handlers.HANDLERS if one.name not in CHANGED), flaky)
