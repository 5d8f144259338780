"""`[register] disclose = false`: a registration does not reveal whether an address is registered."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.integration.graphql.conftest import Api, running, settings_in

WHOLE = """
    user { id username email } replayed errors { code message path }
    job { handler status done backend version maxAttempts result canCancel canRetry waitingFor runAt
          progress { completed } steps { name index status result } attempts { number charged backend worker }
          error { message } }
"""
JOB = "job { id } errors { code path }"


@pytest.fixture
async def api(tmp_path: Path) -> AsyncIterator[Api]:
    async with running(settings_in(tmp_path, register={"disclose": False})) as api:
        yield api


def mails(api: Api) -> list[str]:
    folder = api.app.state.onward.settings.email.directory
    return [path.read_text("utf-8") for path in folder.glob("*.eml")]


async def registered(api: Api, username: str, email: str, **further: Any) -> Any:
    payload = await api.mutate("registerUser", JOB, username=username, email=email, **further)
    assert not payload["errors"], payload
    await api.ends(payload["job"]["id"])
    return payload["job"]["id"]


async def test_the_answers_and_the_jobs_are_alike(api: Api) -> None:
    await registered(api, "ada", "ada@example.com")
    fresh = await api.mutate("registerUser", WHOLE, username="bob", email="bob@example.com")
    known = await api.mutate("registerUser", WHOLE, username="eve", email="ADA@example.com")
    assert known == fresh
    assert fresh["user"] is None
    assert fresh["errors"] == []
    look = f"query($id: ID!) {{ job(id: $id) {WHOLE[WHOLE.index('job') + 3 :]} }}"
    one, other = [
        (await api.data(look, id=await registered(api, name, email)))["job"]
        for name, email in (("carl", "carl@example.com"), ("dora", "ada@example.com"))
    ]
    assert one == other


async def test_only_the_owner_of_the_address_is_notified(api: Api) -> None:
    await registered(api, "ada", "Ada@example.com")
    await registered(api, "mallory", "ada@example.com")
    first, second = sorted(mails(api), key=lambda mail: "registered already" in mail)
    assert "Hello ada" in first
    assert "To: Ada@example.com" in second
    assert "mallory" not in second


async def test_a_name_is_taken_whether_or_not_the_address_was_registered(api: Api) -> None:
    taken = [{"code": "ALREADY_EXISTS", "message": "This username is taken.", "path": ["username"]}]
    await registered(api, "ada", "ada@example.com")
    await registered(api, "eve", "ada@example.com")
    await registered(api, "bob", "bob@example.com")
    for name, email in (("eve", "new@example.com"), ("bob", "new@example.com"), ("BOB", "ada@example.com")):
        payload = await api.mutate("registerUser", JOB, username=name, email=email)
        assert payload == {"job": None, "errors": taken}


async def test_a_key_gives_the_same_answer_again(api: Api) -> None:
    await registered(api, "ada", "ada@example.com")
    for name, email in (("eve", "ada@example.com"), ("bob", "bob@example.com")):
        first = await registered(api, name, email, idempotencyKey=name)
        payload = await api.mutate(
            "registerUser", "user { id } replayed job { id }", username=name, email=email, idempotencyKey=name
        )
        assert payload == {"user": None, "replayed": True, "job": {"id": first}, "errors": []}


async def test_one_of_many_simultaneous_registrations_succeeds_and_all_answers_are_alike(api: Api) -> None:
    payloads = await asyncio.gather(
        *(api.mutate("registerUser", JOB, username=f"name{n}", email="ada@example.com") for n in range(10))
    )
    for payload in payloads:
        assert payload["errors"] == []
        await api.ends(payload["job"]["id"])
    assert len(mails(api)) == 10
    assert sum("welcome to Onward" in mail for mail in mails(api)) == 1
