"""`sample.task`: count the words of a text."""

from datetime import timedelta

from onward import JobContext, Permanent, Retry, handler


@handler("sample.task", retry=Retry(max_attempts=5), timeout=timedelta(seconds=30))
async def sample_task(job: JobContext, *, text: str) -> dict[str, int]:
    """Count the words. Parameters are checked when a job is accepted; the returned value is the job's result."""
    words = text.split()
    if not words:
        raise Permanent("The text holds no words.", code="EMPTY")  # any other error is retried
    for done, word in enumerate(words, start=1):
        job.progress(done, len(words), word)
    return {"words": len(words)}
