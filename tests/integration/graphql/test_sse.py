"""Server-sent events, in the distinct connections mode of graphql-sse."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx2
import pytest

from onward.api.sse import COMPLETE, EventStream
from onward.graphql.execution import limits
from tests.integration.graphql.conftest import running, serving, settings_in

ACCEPT = {"accept": "text/event-stream"}


class Events:
    """The events of one response."""

    def __init__(self, response: httpx2.Response) -> None:
        self.response = response
        self.comments = 0
        self._lines = response.aiter_lines()

    async def next(self) -> Any:
        """Return the next event's data; None if the operation is complete."""
        async with asyncio.timeout(20):
            while True:
                event, data = await self._block()
                if event == "next":
                    return json.loads(data)
                if event == "complete":
                    return None

    async def __aiter__(self) -> AsyncIterator[Any]:
        while (event := await self.next()) is not None:
            yield event

    async def _block(self) -> tuple[str | None, str]:
        event, data = None, ""
        async for line in self._lines:
            if line.startswith(":"):
                self.comments += 1
            elif line.startswith("event: "):
                event = line[7:]
            elif line.startswith("data"):
                data = line[5:].lstrip()
            elif not line:
                return event, data
        raise AssertionError("the stream ended without its last event")


@asynccontextmanager
async def events(address: str, body: Any) -> AsyncIterator[Events]:
    async with (
        httpx2.AsyncClient(timeout=30) as http,
        http.stream("POST", f"http://{address}/graphql", json=body, headers=ACCEPT) as response,
    ):
        yield Events(response)


async def test_a_subscription_is_a_stream_of_events(address: str) -> None:
    async with events(address, {"query": "subscription { count(to: 3) }"}) as stream:
        assert stream.response.status_code == 200
        assert stream.response.headers["content-type"] == "text/event-stream; charset=utf-8"
        assert stream.response.headers["cache-control"] == "no-cache"
        assert [event async for event in stream] == [{"data": {"count": n}} for n in range(3)]


async def test_a_query_is_one_event(address: str) -> None:
    async with events(address, {"query": "{ viewer { roles } }"}) as stream:
        assert [event async for event in stream] == [{"data": {"viewer": {"roles": ["admin"]}}}]


async def test_a_mutation_by_events_runs_its_job(address: str) -> None:
    async with events(address, {"query": 'mutation { processItem(input: {item: "x"}) { job { id } } }'}) as stream:
        [event] = [event async for event in stream]
    job = event["data"]["processItem"]["job"]["id"]
    query = f'subscription {{ jobUpdated(id: "{job}") {{ status }} }}'
    async with events(address, {"query": query}) as stream:
        assert [event async for event in stream][-1] == {"data": {"jobUpdated": {"status": "SUCCEEDED"}}}


@pytest.mark.parametrize(
    "query", ["{", "subscription { nope }", "subscription($id: ID!) { jobUpdated(id: $id) { id } }"]
)
async def test_an_invalid_operation_is_reported_in_the_stream(address: str, query: str) -> None:
    async with events(address, {"query": query}) as stream:
        assert stream.response.status_code == 200
        [event] = [event async for event in stream]
    assert event["errors"]
    assert "data" not in event


async def test_a_body_that_is_not_a_request_is_400(address: str) -> None:
    async with httpx2.AsyncClient() as http:
        response = await http.post(f"http://{address}/graphql", json=5, headers=ACCEPT)
    assert response.status_code == 400
    assert response.headers["content-type"] == "application/json"


async def test_an_exception_in_a_subscription_is_not_revealed(address: str) -> None:
    async with events(address, {"query": "subscription { raisesLater }"}) as stream:
        seen = [event async for event in stream]
    assert seen[0] == {"data": {"raisesLater": 1}}
    assert seen[1]["errors"][0]["extensions"]["code"] == "INTERNAL"
    assert "hunter2" not in json.dumps(seen)


async def test_comments_keep_an_idle_stream_open(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from onward.api import composition

    monkeypatch.setattr(composition, "limits", lambda _settings: limits.Limits(heartbeat_s=0.05))
    with serving(settings_in(tmp_path)) as address:
        async with events(address, {"query": "subscription { jobsUpdated { id } }"}) as stream:
            async with asyncio.timeout(20):
                while stream.comments < 4:
                    await stream._block()


async def test_a_stopping_server_breaks_its_streams_off(tmp_path: Any) -> None:
    """Without a last event and a last chunk the client reconnects, and finds another server."""
    async with running(settings_in(tmp_path)) as api:
        sent: list[Any] = []
        never = asyncio.Event()

        async def receive() -> Any:
            await never.wait()

        async def send(message: Any) -> None:
            sent.append(message)
            if len(sent) == 2:
                api.app.state.view.close()

        body = [{"type": "http.request", "body": b'{"query": "subscription { jobsUpdated { id } }"}'}]
        scope = {
            "type": "http",
            "method": "POST",
            "headers": [(b"content-type", b"application/json"), (b"accept", b"text/event-stream")],
        }

        async def first() -> Any:
            return body.pop() if body else await receive()

        async with asyncio.timeout(20):
            await api.app.state.view(scope, first, send)
    assert all(message.get("more_body", True) for message in sent)
    assert not any(b"complete" in message.get("body", b"") for message in sent)


@pytest.mark.parametrize("value", [{1}, 2**70, "\ud800"])
async def test_a_value_that_is_not_json_ends_the_stream_with_an_error(value: Any) -> None:
    """Clients would take a cut connection for one to open again, and subscribe for ever."""

    async def responses() -> AsyncIterator[Any]:
        yield {"data": {"n": 1}}
        yield {"data": {"n": value}}

    sent: list[bytes] = []

    async def receive() -> Any:
        await asyncio.Event().wait()

    async def send(message: Any) -> None:
        sent.append(message.get("body", b""))

    await EventStream(responses(), heartbeat_s=5, closing=asyncio.Event())({}, receive, send)  # type: ignore[arg-type]
    found = [json.loads(part.partition(b"data: ")[2]) for part in sent if b"data: {" in part]
    assert found[0] == {"data": {"n": 1}}
    assert found[1]["errors"][0]["extensions"]["code"] == "INTERNAL"
    assert sent[-1] == COMPLETE
    assert len(found) == 2
