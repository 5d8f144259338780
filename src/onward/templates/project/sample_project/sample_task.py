"""`sample.task`: a handler that is its own mutation, `sampleTask`."""

from dataclasses import dataclass
from datetime import timedelta

from onward import JobContext, Permanent, Retry, handler
from onward.handlers.types import Text


@dataclass
class SampleTaskResult:
    """The words of a text."""

    words: int


@handler("sample.task", mutation=True, retry=Retry(max_attempts=5), timeout=timedelta(seconds=30))
async def sample_task(job: JobContext, *, text: Text) -> SampleTaskResult:
    """Count the words of a text."""
    if text.isupper():
        raise Permanent("Do not shout.", code="SHOUTED")  # any other error is retried
    words = text.split()
    for done, word in enumerate(words, start=1):
        job.progress(done, len(words), word)
    return SampleTaskResult(len(words))
