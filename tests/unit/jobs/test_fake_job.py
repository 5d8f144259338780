"""The job for tests that call a step's function themselves."""

import pytest

from onward import JobContext, JobRequest, Permanent, handler
from onward.testing.job import FakeJob


@handler("tests.child")
async def child(_job: JobContext, *, n: int) -> None:
    """Do nothing."""


def step(job: JobContext, *, words: int) -> str:
    for n in range(words):
        job.emit(n)
        job.progress(n + 1, words)
    job.check()
    return job.dispatch(child.job(n=words))


def test_a_fake_job_keeps_what_it_is_given() -> None:
    job = FakeJob(owner="ada", attempt=2)
    assert step(job, words=2) == "job_test_1"
    assert (job.emitted, job.reported) == ([0, 1], [(1, 2, None), (2, 2, None)])
    assert job.dispatched == [JobRequest("tests.child", {"n": 2})]
    assert (job.owner, job.attempt, job.idempotency_key) == ("ada", 2, "job_test")


def test_a_fake_job_refuses_the_chunks_that_a_real_one_refuses() -> None:
    job = FakeJob()
    with pytest.raises(Permanent, match="the chunk has 40002 bytes"):
        job.emit("x" * 40_000)
    with pytest.raises(Permanent, match="emit text, or any other JSON but null"):
        job.emit(None)
    assert job.emitted == []


def test_a_fake_job_has_the_results_that_it_is_given() -> None:
    job = FakeJob(results={"draft": "words"})
    assert job.result_of("draft") == "words"
    with pytest.raises(ValueError, match="give FakeJob its result"):
        job.result_of("publish")
    assert job.signal_url("approval").endswith("/job_test/approval")
