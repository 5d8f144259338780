"""The handlers of an earlier release, whose work `later_handlers` continues."""

import time
from datetime import timedelta

from onward.handlers.base import Handler, JobContext, Permanent, Retry, handler, sequence

HOUR = timedelta(hours=1)


@handler("release.greet")
async def greet(job: JobContext, *, name: str) -> str:
    """Greet a whole name."""
    return f"Good day, {name}"


@handler("release.refused")
async def refused(job: JobContext, *, name: str) -> None:
    """Fail for good."""
    raise Permanent("not in this release", code="REFUSED")


@handler("release.later", retry=Retry(base=HOUR, cap=HOUR))
async def later(job: JobContext, *, name: str) -> None:
    """Fail for now."""
    raise ConnectionError("not in this hour")


async def first(job: JobContext, *, name: str) -> str:
    return f"{name}, half done"


def second(job: JobContext, value: str) -> str:
    """Run until the process is killed."""
    while True:
        time.sleep(1)


HANDLERS: tuple[Handler, ...] = (greet, refused, later, sequence("release.half", [first, second]))
