"""`orders.confirm` and its mutation, in the whole application."""

import pytest

from onward.testing.app import TestApp

pytestmark = pytest.mark.anyio
SEND = """
    mutation ($input: ConfirmOrderInput!) { confirmOrder(input: $input) { job { id } errors { code path } } }
"""
ORDER = {"order": "A-17", "email": "ada@example.org", "items": ["pen", "ink"]}


@pytest.fixture
def onward_tables() -> dict[str, object]:
    return {"handlers": {"modules": ["orders"]}}


async def test_an_order_is_confirmed_and_its_buyer_notified(onward_immediate: TestApp) -> None:
    answer = await onward_immediate.graphql(SEND, input=ORDER)
    job = await onward_immediate.job(answer["data"]["confirmOrder"]["job"]["id"])
    assert (job.status, job.result) == ("SUCCEEDED", {"order": "A-17", "items": 2})
    assert [step.name for step in job.steps] == ["reserve", "notify"]


async def test_a_sold_out_item_fails_at_once(onward_immediate: TestApp) -> None:
    job = await onward_immediate.accept("orders.confirm", **{**ORDER, "items": ["unicorn"]})
    assert job.error is not None
    assert (job.error.code, job.error.retryable) == ("SOLD_OUT", False)


async def test_an_order_without_items_is_refused(onward_recording: TestApp) -> None:
    answer = await onward_recording.graphql(SEND, input={**ORDER, "items": []})
    assert answer["data"]["confirmOrder"]["errors"] == [{"code": "INVALID", "path": ["items"]}]
    assert onward_recording.delivered == []
