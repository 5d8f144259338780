"""One operation on a WebSocket, under the id that the client gave it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import aclosing, suppress
from typing import Any

from graphql import OperationType

from onward.api.base import Disconnected
from onward.graphql.context import Context
from onward.graphql.execution.masking import masked
from onward.graphql.execution.operations import Invalid, Operation, Operations, Response
from onward.graphql.execution.requests import Request

Message = dict[str, Any]
SendMessage = Callable[[Message], Awaitable[None]]  # raises Disconnected, OSError


class OperationTask:
    """An operation from `subscribe` to `complete` or `error`. Starts a task of its own."""

    def __init__(
        self,
        id_: str,
        request: Request,
        *,
        operations: Operations,
        context: Context,
        slots: asyncio.Semaphore,
        send: SendMessage,
        on_end: Callable[[str, asyncio.Task[None]], object],
    ) -> None:
        self.id = id_
        self._operations = operations
        self._context = context
        self._slots = slots  # of answers that are built or sent: a client that does not read gets no further ones
        self._send = send
        self._on_end = on_end
        self._sends = True
        self._finishes = False
        self._task: asyncio.Task[None] | None = asyncio.create_task(self._run(request))

    def end(self) -> asyncio.Task[None] | None:
        """Send nothing more. A mutation finishes, so that its jobs are delivered; all else is cancelled.

        Return the task that is still running, on the first call only.
        """
        self._sends = False
        task, self._task = self._task, None  # its CancelledError has a traceback that would keep this object alive
        if task is not None and not self._finishes:
            task.cancel()
        return task

    async def _run(self, request: Request) -> None:
        try:
            operation = await self._operations.prepare(request, self._context.meter.caller)
            if isinstance(operation, Invalid):
                await self._respond(operation)
            elif operation.kind is OperationType.SUBSCRIPTION:
                await self._stream(operation)
            else:
                self._finishes = operation.kind is OperationType.MUTATION
                defer = self._context.services.dispatcher.defer
                async with self._slots:
                    await self._respond(await self._operations.execute(operation, self._context, defer))
            await self._last({"type": "complete"})
        except (Disconnected, OSError, asyncio.CancelledError):
            pass
        except Exception as error:  # noqa: BLE001 - it is masked and logged; the socket lives on
            shown = masked(error)
            with suppress(Disconnected, OSError):
                await self._last({"type": "error", "payload": [shown]})

    async def _stream(self, operation: Operation) -> None:
        async with aclosing(self._operations.subscribe(operation, self._context, self._slots)) as responses:
            async for response in responses:
                await self._respond(response)

    async def _respond(self, response: Response | Invalid) -> None:
        if isinstance(response, Invalid):
            await self._last({"type": "error", "payload": response.response["errors"]})
        elif self._sends:
            await self._send({"id": self.id, "type": "next", "payload": response})

    async def _last(self, message: Message) -> None:
        task, self._task = self._task, None
        if self._sends and task is not None:
            self._sends = False
            self._on_end(self.id, task)  # before it is sent: the client may reuse the id at once
            await self._send({"id": self.id, **message})
