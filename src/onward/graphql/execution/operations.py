"""Executes the operations of requests, over whichever transport they arrived."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, aclosing, nullcontext
from typing import Any, NamedTuple, cast

from graphql import ExecutionResult, GraphQLError, GraphQLSchema, OperationType
from graphql.execution import create_source_event_stream, map_source_to_response_event

from onward.cancellation import cancels_as_errors
from onward.graphql import positions
from onward.graphql.base import BadRequest, public_error, unavailable
from onward.graphql.context import Context, Services
from onward.graphql.execution.compiled_selections import CompiledExecutor, Deadline
from onward.graphql.execution.documents import Document, Documents, Named
from onward.graphql.execution.limits import Limits
from onward.graphql.execution.masking import formatted, masked, of_request
from onward.graphql.execution.requests import Request
from onward.graphql.execution.trusted import Trusted
from onward.graphql.meter import Meter, Shares
from onward.graphql.viewer import Viewer
from onward.jobs.position import Position
from onward.storage.base import Unavailable

Response = dict[str, Any]
Defer = Callable[..., None]
FURTHER_S = 1.0  # for what follows the fields of a mutation


class Operation(NamedTuple):
    """A request whose document is valid and holds the operation."""

    request: Request
    document: Document
    named: Named

    @property
    def kind(self) -> OperationType:
        return self.named.kind


class Invalid(NamedTuple):
    """The response to a request that cannot be executed: it has no `data`."""

    response: Response
    error: BadRequest | None = None  # the error, where the request was refused before its document was read


class Operations:
    """Runs operations against one schema. Those of several schemas in a process have the same `shares`."""

    def __init__(
        self,
        schema: GraphQLSchema,
        limits: Limits,
        *,
        open_schema: bool = True,
        trusted: Trusted | None = None,
        shares: Shares | None = None,
    ) -> None:
        self.limits = limits
        self._schema = schema
        self._documents = Documents(schema, limits, open_schema=open_schema, shares=shares)
        self._hide_suggestions = not open_schema
        self._trusted = trusted or Trusted()

    @property
    def shares(self) -> Shares:
        """The parts of the process that callers share."""
        return self._documents.shares

    def check(self, text: str) -> str | None:
        """Return the first error of a document, or None."""
        errors = self._documents.get(text).errors
        return errors[0]["message"] if errors else None

    async def close(self) -> None:
        """End the thread that reads documents. May be called twice; a later document starts it again."""
        await self._documents.close()

    async def prepare(self, request: Request, caller: str = "") -> Operation | Invalid:
        """Find the operation of a request; `caller` is the client that queues for it."""
        try:
            document = await self._documents.find(self._trusted.text(request), caller)
        except BadRequest as error:
            return Invalid({"errors": [error.formatted]}, error)
        if document.errors:
            return Invalid({"errors": list(document.errors)})
        named = document.find(request.operation_name)
        if named is None:
            words = (
                "`operationName` is needed, since the document has not exactly one operation."
                if request.operation_name is None
                else "The document has no operation of this name."
            )
            return self._invalid([public_error(words, "BAD_REQUEST")])
        if named.values(request.variables or {}) > self.limits.answer_values:
            words = (
                f"The operation asks for more than {self.limits.answer_values} values: fewer objects or fields at once."
            )
            return self._invalid([public_error(words, "TOO_COMPLEX")])
        return Operation(request, document, named)

    def context(
        self,
        services: Services,
        viewer: Viewer,
        address: str,
        trace: str | None = None,
        headers: Sequence[tuple[bytes, bytes]] = (),
    ) -> Context:
        """Build the context of one operation of a viewer, or of an address without one."""
        caller = viewer.subject or address
        meter = Meter(self.limits.answer_values, self.limits.answer_bytes, caller, self.shares)
        return Context(services, viewer, trace, meter=meter, raw_headers=headers)

    async def execute(self, operation: Operation, context: Context, defer: Defer) -> Response | Invalid:
        """Execute a query or a mutation, and deliver the jobs it accepted; `defer` runs the rest after the response."""
        kind = operation.kind._value_
        with context.services.tracing.request(f"graphql {kind}", context.trace, operation=kind) as span:
            response = await self._execute(operation, context, defer)
            if isinstance(response, Invalid) or "errors" in response:
                span.fail("GRAPHQL_ERRORS")
        return response

    async def _execute(self, operation: Operation, context: Context, defer: Defer) -> Response | Invalid:
        if operation.kind is OperationType.MUTATION:
            context.meter.connection = None  # its jobs are delivered even if nobody reads the answer
        executor = self._executor(operation, context)
        if isinstance(executor, Invalid):
            return executor
        try:
            with cancels_as_errors():
                async with asyncio.timeout(self._limit_s(operation, executor)):
                    await context.meter.rest()
                    if positions.FIELD in operation.named.cost.names:
                        await context.take_position()  # before any job is read
                    result = executor.execute_operation()
                    if executor.is_awaitable(result):
                        result = await cast("Awaitable[ExecutionResult]", result)
            response = self._response(cast("ExecutionResult", result))
        except TimeoutError:
            response = {"errors": [self._late().formatted], "data": None}
        except Unavailable:
            response = {"errors": [unavailable().formatted], "data": None}
        except GraphQLError as error:
            response = {"errors": formatted([error], self.limits.errors), "data": None}
        except Exception as error:  # noqa: BLE001 - it is masked and logged
            response = {"errors": [masked(error)], "data": None}
        finally:
            if context.accepted:
                await context.services.dispatcher.deliver(context.accepted, after_response=defer, in_order=True)
        return response

    async def subscribe(
        self, operation: Operation, context: Context, slots: AbstractAsyncContextManager[Any] | None = None
    ) -> AsyncGenerator[Response | Invalid, None]:
        """Yield the responses of a subscription; the last one holds the error that ended it, if any.

        Each is built in one of the `slots`, and keeps it until the next one is asked for.
        """
        shows_change = positions.FIELD in operation.named.cost.names
        executor = self._executor(operation, context)
        if isinstance(executor, Invalid):
            yield executor
            return
        try:
            taken = await context.take_position() if shows_change else None  # before any job is read
        except Unavailable:
            yield {"errors": [unavailable().formatted]}
            return
        stream = create_source_event_stream(executor)
        if executor.is_awaitable(stream):
            stream = await stream
        if isinstance(stream, ExecutionResult):
            yield {"errors": formatted(stream.errors or (), self.limits.errors)}
            return
        try:
            # Closed here: the generators of graphql-core leave it to the garbage collector when they are dropped.
            source = cast("Any", stream)
            with cancels_as_errors():
                async with aclosing(source), aclosing(_in_slots(source, slots, context, taken)) as events:
                    async for result in map_source_to_response_event(executor, events):
                        yield self._response(result)
                        context.meter.start()
                        context.made.clear()
        except Unavailable:
            yield {"errors": [unavailable().formatted]}
        except GraphQLError as error:
            yield {"errors": formatted([error], self.limits.errors)}
        except Exception as error:  # noqa: BLE001 - it is masked and logged
            yield {"errors": [masked(error)]}

    def _executor(self, operation: Operation, context: Context) -> CompiledExecutor | Invalid:
        context.meter.fields = operation.named.cost.names
        try:
            executor = CompiledExecutor.build(
                self._schema,
                operation.document.node,
                None,
                context,
                operation.request.variables,
                operation.request.operation_name,
                plan=operation.named.plan,
                max_coercion_errors=self.limits.errors,
                hide_suggestions=self._hide_suggestions,
            )
        except GraphQLError as error:  # raised by an input type that checks its fields together, as a oneOf input does
            return self._invalid([public_error(error.message, "BAD_REQUEST")])
        return self._invalid(executor) if isinstance(executor, list) else executor

    def _response(self, result: ExecutionResult) -> Response:
        if result.errors:
            return {"errors": formatted(result.errors, self.limits.errors), "data": result.data}
        return {"data": result.data}

    def _limit_s(self, operation: Operation, executor: CompiledExecutor) -> float:
        """The seconds of an operation. Of a mutation's fields each one in time has its answer, with its job's id."""
        plan = operation.named.plan
        if operation.kind is not OperationType.MUTATION or (plan is not None and plan.alone is not None):
            return self.limits.timeout_s
        executor.deadline = Deadline(asyncio.get_running_loop().time() + self.limits.timeout_s, self._late)
        return self.limits.timeout_s + FURTHER_S

    def _late(self) -> GraphQLError:
        words = f"The operation took longer than {self.limits.timeout_s:g} s and was stopped."
        return public_error(words, "TIMEOUT")

    def _invalid(self, errors: Sequence[GraphQLError]) -> Invalid:
        return Invalid({"errors": [of_request(error) for error in errors[: self.limits.errors]]})


async def _in_slots(
    events: AsyncIterator[Any],
    slots: AbstractAsyncContextManager[Any] | None,
    context: Context,
    taken: Position | None,
) -> AsyncGenerator[Any, None]:
    """Pass the events on. A position that was `taken`, and that they leave as it is, is taken anew before each."""
    async for event in events:
        async with slots or nullcontext():
            yield event
        if taken is not None and context.position is taken:
            context.position = None
            taken = await context.take_position()
