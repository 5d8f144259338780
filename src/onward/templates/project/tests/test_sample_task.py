"""`sample.task` and its mutation, in the whole application."""

import pytest
from onward.testing.app import TestApp

pytestmark = pytest.mark.anyio
SEND = """mutation ($input: SampleTaskInput!) {
  sampleTask(input: $input) { job { id } replayed errors { code path } }
}"""
JOB = "query ($id: ID!) { job(id: $id) { status output { ... on SampleTaskResult { words } } } }"


@pytest.fixture
def onward_tables() -> dict[str, object]:
    return {"handlers": {"modules": ["sample_project.sample_task"]}}


async def test_the_mutation_accepts_a_job_that_succeeds(onward_immediate: TestApp) -> None:
    answer = await onward_immediate.graphql(SEND, input={"text": "Hello there"})
    job = await onward_immediate.graphql(JOB, id=answer["data"]["sampleTask"]["job"]["id"])
    assert job["data"]["job"] == {"status": "SUCCEEDED", "output": {"words": 2}}


async def test_the_same_key_gives_the_same_job(onward_recording: TestApp) -> None:
    given = {"text": "Hello", "idempotencyKey": "once"}
    first, second = [(await onward_recording.graphql(SEND, input=given))["data"]["sampleTask"] for _ in range(2)]
    assert first["job"] == second["job"]
    assert (first["replayed"], second["replayed"]) == (False, True)
    assert len(onward_recording.delivered) == 1


async def test_an_error_names_its_field(onward_recording: TestApp) -> None:
    answer = await onward_recording.graphql(SEND, input={"text": ""})
    assert answer["data"]["sampleTask"]["errors"] == [{"code": "INVALID", "path": ["text"]}]
    assert onward_recording.delivered == []
