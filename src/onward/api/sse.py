"""Server-sent events: one operation per response, in graphql-sse's distinct connections mode."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing, suppress
from typing import Any

import orjson
from starlette.background import BackgroundTasks
from starlette.types import Receive, Scope, Send

from onward.api.http_connection import CONNECTION
from onward.api.session import Session
from onward.graphql.base import BadRequest
from onward.graphql.execution.masking import masked
from onward.graphql.execution.operations import Invalid, Response

HEADERS = (
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-cache"),
    (b"x-accel-buffering", b"no"),  # nginx forwards each event at once
)
COMMENT = b":\n\n"
COMPLETE = b"event: complete\ndata:\n\n"


async def one(response: Response | Invalid) -> AsyncGenerator[Response | Invalid, None]:
    """Yield a single response."""
    yield response


async def lasting(
    responses: AsyncGenerator[Response | Invalid, None], session: Session
) -> AsyncGenerator[Response | Invalid, None]:
    """Yield the responses until the end of the session, then an error."""
    try:
        async with aclosing(responses), aclosing(session.during(responses)) as passed:
            async for response in passed:
                yield response
    except BadRequest as error:
        yield Invalid({"errors": [error.formatted]})


class EventStream:
    """An ASGI response that sends each of `responses` as an event, with comments between them as a heartbeat.

    A client that disconnects closes `responses`; so does `closing`, which breaks the connection off: a response with
    its last chunk would look complete, and the client would not come back. `background` runs afterwards in any case.
    """

    def __init__(
        self,
        responses: AsyncGenerator[Response | Invalid, None],
        *,
        heartbeat_s: float,
        closing: asyncio.Event,
        background: BackgroundTasks | None = None,
    ) -> None:
        self._responses = responses
        self._heartbeat_s = heartbeat_s
        self._closing = closing
        self._background = background

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        over = (asyncio.create_task(_disconnected(receive)), asyncio.create_task(self._closing.wait()))
        try:
            await send({"type": "http.response.start", "status": 200, "headers": list(HEADERS)})
            async with aclosing(self._responses) as responses:
                ended = await self._send(responses, send, over)
            if ended:
                await _chunk(send, COMPLETE, more=False)
            elif (connection := scope.get("extensions", {}).get(CONNECTION)) is not None:
                connection.close_now()
                await over[0]
        except OSError:  # the server's sign that the connection is closed already
            pass
        finally:
            for task in over:
                task.cancel()
            await asyncio.wait(over)
            if self._background is not None:
                await self._background()

    async def _send(
        self, responses: AsyncGenerator[Response | Invalid, None], send: Send, over: tuple[asyncio.Task[Any], ...]
    ) -> bool:
        """Return whether the responses ended before the stream did."""
        await _chunk(send, COMMENT)
        upcoming = asyncio.ensure_future(_next(responses))
        try:
            while not any(task.done() for task in over):
                await asyncio.wait((upcoming, *over), timeout=self._heartbeat_s, return_when=asyncio.FIRST_COMPLETED)
                if upcoming.done():
                    try:
                        response = upcoming.result()
                        text = b"" if response is None else event(response)
                    except Exception as error:  # noqa: BLE001 - as of a value that is not JSON; it is masked and logged
                        await _chunk(send, event({"errors": [masked(error)]}))
                        return True
                    if response is None:
                        return True
                    await _chunk(send, text)
                    upcoming = asyncio.ensure_future(_next(responses))
                else:
                    await _chunk(send, COMMENT)
            return False
        finally:
            upcoming.cancel()
            with suppress(asyncio.CancelledError, Exception):
                await upcoming


def event(response: Response | Invalid) -> bytes:
    payload = response.response if isinstance(response, Invalid) else response
    return b"event: next\ndata: " + orjson.dumps(payload) + b"\n\n"


async def _next(responses: AsyncGenerator[Response | Invalid, None]) -> Response | Invalid | None:
    return await anext(responses, None)


async def _chunk(send: Send, body: bytes, *, more: bool = True) -> None:
    await send({"type": "http.response.body", "body": body, "more_body": more})


async def _disconnected(receive: Receive) -> None:
    message: Any = {}
    while message.get("type") != "http.disconnect":
        message = await receive()
