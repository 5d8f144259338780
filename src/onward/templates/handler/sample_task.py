"""`sample.task`: what its job does."""

from datetime import timedelta

from onward.handlers.base import Handler, JobContext, Permanent, Retry, handler


@handler("sample.task", retry=Retry(max_attempts=5), timeout=timedelta(seconds=30))
async def sample_task(job: JobContext, *, text: str) -> dict[str, int]:
    """Its parameters were checked when the job was accepted; what it returns is the job's result."""
    words = text.split()
    if not words:
        raise Permanent("There are no words in it.", code="EMPTY")  # whatever else is raised is tried again
    for done, word in enumerate(words, start=1):
        job.progress(done, len(words), word)
    return {"words": len(words)}


HANDLERS: tuple[Handler, ...] = (sample_task,)
