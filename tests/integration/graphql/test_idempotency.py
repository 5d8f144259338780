"""The guarantee of an idempotency key."""

import asyncio
import uuid
from typing import Any

import pytest

from tests.integration.graphql.conftest import Api


@pytest.fixture
def key() -> str:
    return uuid.uuid4().hex


async def test_the_same_key_and_input_give_the_same_job(api: Api, key: str) -> None:
    first = await api.mutate("processItem", item="x", idempotencyKey=key)
    again = await api.mutate("processItem", item="x", idempotencyKey=key)
    assert first["replayed"] is False
    assert again["replayed"] is True
    assert again["job"]["id"] == first["job"]["id"]


async def test_a_replay_shows_the_job_as_it_is_now(api: Api, key: str) -> None:
    first = await api.mutate("processItem", item="x", idempotencyKey=key)
    await api.ends(first["job"]["id"])
    again = await api.mutate("processItem", item="x", idempotencyKey=key)
    assert again["job"]["status"] == "SUCCEEDED"


async def test_the_same_key_with_another_input_is_refused(api: Api, key: str) -> None:
    await api.mutate("processItem", item="x", idempotencyKey=key)
    for other in ({"item": "y"}, {"item": "x", "runAt": "2020-01-01T00:00:00Z"}):
        payload = await api.mutate("processItem", idempotencyKey=key, **other)
        assert [(e["code"], e["path"]) for e in payload["errors"]] == [("IDEMPOTENCY_KEY_REUSED", ["idempotencyKey"])]
        assert payload["job"] is None


async def test_a_key_belongs_to_its_mutation(api: Api, key: str) -> None:
    first = await api.mutate("processItem", item="x", idempotencyKey=key)
    other = await api.mutate("sendNotification", email="a@example.com", message="x", idempotencyKey=key)
    assert other["errors"] == []
    assert other["job"]["id"] != first["job"]["id"]


async def test_two_at_the_same_moment_make_one_job(api: Api, key: str) -> None:
    payloads = await asyncio.gather(*(api.mutate("processItem", item="x", idempotencyKey=key) for _ in range(20)))
    assert len({payload["job"]["id"] for payload in payloads}) == 1
    assert sorted(payload["replayed"] for payload in payloads) == [False] + [True] * 19


async def test_a_replayed_registration_gives_its_user_and_is_no_conflict(api: Api, key: str, name: str) -> None:
    """The key is looked up before uniqueness is checked."""
    fields = "user { id username } job { id } replayed"
    given = {"username": name, "email": f"{name}@example.com", "idempotencyKey": key}
    first = await api.mutate("registerUser", fields, **given)
    again = await api.mutate("registerUser", fields, **given)
    assert again == {**first, "replayed": True}


async def test_an_answer_with_errors_does_not_use_the_key_up(api: Api, key: str, name: str) -> None:
    await api.mutate("registerUser", username=name, email=f"{name}@example.com")
    taken = await api.mutate("registerUser", username=name, email=f"{name}2@example.com", idempotencyKey=key)
    assert [e["code"] for e in taken["errors"]] == ["ALREADY_EXISTS"]
    other = await api.mutate("registerUser", username=f"{name}3", email=f"{name}3@example.com", idempotencyKey=key)
    assert other["errors"] == []
    assert other["replayed"] is False


@pytest.mark.parametrize("key", ["", "x" * 256, "a\nb", "a\x00"])
async def test_an_empty_key_is_invalid(api: Api, key: str) -> None:
    payload: Any = await api.mutate("processItem", item="x", idempotencyKey=key)
    assert [(e["code"], e["path"]) for e in payload["errors"]] == [("INVALID", ["idempotencyKey"])]
