"""`orders.confirm` in the whole application, which runs in the test's own process and needs no server."""

import pytest
from onward.testing.app import TestApp

from sample_project.orders import confirm

SEND = """mutation ($input: OrdersConfirmInput!) {
  ordersConfirm(input: $input) { job { id } errors { message } }
}"""
JOB = "query ($id: ID!) { job(id: $id) { status output { ... on Receipt { order items } } } }"


@pytest.fixture
def onward_tables() -> dict[str, object]:
    return {"handlers": {"modules": ["sample_project.orders"]}}


async def test_the_mutation_accepts_a_job_that_confirms_the_order(onward_immediate: TestApp) -> None:
    answer = await onward_immediate.graphql(SEND, input={"order": "A-17", "items": ["pen"]})
    job = await onward_immediate.graphql(JOB, id=answer["data"]["ordersConfirm"]["job"]["id"])
    assert job["data"]["job"] == {"status": "SUCCEEDED", "output": {"order": "A-17", "items": 1}}


async def test_the_handler_alone(onward_immediate: TestApp) -> None:
    job = await onward_immediate.accept(confirm.job(order="A-17", items=["pen", "ink"]))
    assert (job.status, job.result) == ("SUCCEEDED", {"order": "A-17", "items": 2})
