"""`sample.task`: count the words of a text. The mutation sampleTask accepts its jobs."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Annotated

from pydantic import Field

from onward import JobContext, Permanent, Retry, handler


@dataclass
class SampleTaskResult:
    """The words of a text."""

    words: int


@handler("sample.task", mutation=True, retry=Retry(max_attempts=5), timeout=timedelta(seconds=30))
async def sample_task(
    job: JobContext, *, text: Annotated[str, Field(min_length=1, max_length=10_000)]
) -> SampleTaskResult:
    """Count the words of a text."""
    # The parameters are those of the mutation, which checks them; the returned value is the job's result.
    words = text.split()
    if not words:
        raise Permanent("The text holds no words.", code="EMPTY")  # any other error is retried
    for done, word in enumerate(words, start=1):
        job.progress(done, len(words), word)
    return SampleTaskResult(len(words))
