"""A handler that dispatches a batch of three."""

from onward.handlers.base import JobContext, batch, handler


@handler("lines.child")
async def child(job: JobContext, *, number: int) -> int:
    return number


@handler("lines.all", mutation=True)
async def all_of_them(job: JobContext) -> str:
    return job.dispatch(batch([child.job(number=number) for number in range(3)]))
