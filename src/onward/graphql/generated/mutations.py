"""The mutation of a handler: its input, its payload and its resolver."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from typing import Any, NamedTuple, cast

import strawberry
from graphql import GraphQLResolveInfo
from strawberry.types.field import StrawberryField

from onward.graphql.base import HandlerSchemaError
from onward.graphql.context import Context, Info
from onward.graphql.enqueue import MutationError, accept, check_viewer
from onward.graphql.generated.classes import class_of
from onward.graphql.generated.inputs import input_members
from onward.graphql.generated.members import Member, reading
from onward.graphql.generated.rows import Row, row_of
from onward.graphql.generated.schema_type import SchemaType
from onward.graphql.generated.types import Types
from onward.graphql.inputs import as_given
from onward.graphql.resolvers import query
from onward.graphql.types.enums import UserErrorCode
from onward.graphql.types.job import Job
from onward.graphql.types.user_error import UserError
from onward.graphql.value_resolver import DIRECT
from onward.graphql.viewer import Viewer
from onward.handlers.base import Handler, Mutation
from onward.handlers.equality import is_same
from onward.handlers.errors import InvalidParameters
from onward.handlers.fields import fields_of
from onward.jobs import model

NOT_ALLOWED = "You may not send this mutation."
KEY, RUN_AT = "idempotencyKey", "runAt"
Resolve = Callable[..., Any]
Answer = Callable[[Context, Mapping[str, Any]], Awaitable[Any]]


class MadeMutation(NamedTuple):
    """A field of the type Mutation."""

    handler: str
    name: str
    field: StrawberryField


def mutation_of(handler: Handler, types: Types) -> MadeMutation | None:
    """Make the mutation that a handler declares. Raises HandlerSchemaError."""
    declared = handler.mutation
    if declared is None:
        return None
    types.names.claim_mutation(declared.name, handler.name)
    title = declared.name[0].upper() + declared.name[1:]
    members, fields = input_members(types, fields_of(handler.parameters), handler.name, title, dict(declared.arguments))
    for one in members:
        if one.name in (KEY, RUN_AT):
            raise HandlerSchemaError(
                f"{handler.name}.{one.python}: every mutation has a field {one.name}; rename the parameter"
            )
    row = row_of(handler, declared, types)
    input_, payload = _input(title, fields, handler, types), _payload(title, row, handler, types)
    answer = _answering(handler, declared, members, row, payload)
    field = strawberry.mutation(
        resolver=_resolver(input_, payload, answer),
        name=declared.name,
        description=declared.description or f"Accept a job of `{handler.name}`.",
        deprecation_reason=declared.deprecated,
        metadata={DIRECT: _direct(answer)},
    )
    return MadeMutation(handler.name, declared.name, field)


def _input(title: str, fields: dict[str, tuple[Any, Any]], handler: Handler, types: Types) -> type:
    name = f"{title}Input"
    types.names.claim(name, handler, handler.name)
    key = strawberry.field(name=KEY, description="The same key with the same input gives the same job.")
    run_at = strawberry.field(name=RUN_AT, description="The earliest start; at most a year ahead.")
    made = {**fields, "idempotency_key": (str | None, key), "run_at": (datetime | None, run_at)}
    cls: Any = strawberry.input(class_of(name, made), name=name)
    cls.__strawberry_definition__.from_input = as_given
    return cast("type", cls)


def _payload(title: str, row: Row | None, handler: Handler, types: Types) -> type:
    name = f"{title}Payload"
    types.names.claim(name, handler, handler.name)
    fields: dict[str, tuple[Any, Any]] = {
        "job": (model.Job | None, strawberry.field(default=None, graphql_type=Job | None))
    }
    if row is not None and row.type is not None:
        type_ = row.type.annotation | None
        fields[row.name] = (Any, strawberry.field(default=None, graphql_type=type_, name=row.name))
    replayed = strawberry.field(default=False, description="True if the job was there before.")
    fields["replayed"] = (bool, replayed)
    fields["errors"] = (list[UserError], strawberry.field(default_factory=list))
    return strawberry.type(class_of(name, fields), name=name)


def _resolver(input_: type, payload: type, answer: Answer) -> Resolve:
    """The field's resolver, with its types; `input` is the object as it was given."""

    async def resolve(info: Any, input: Any) -> Any:
        return await answer(info.context, input)

    resolve.__annotations__ = {"info": Info, "input": input_, "return": payload | None}
    return query(resolve)


def _direct(answer: Answer) -> Resolve:
    """The same as graphql-core calls it, for this package's own executor."""

    def resolve(_root: Any, info: GraphQLResolveInfo[Any], input: Mapping[str, Any]) -> Any:
        return answer(info.context, input)

    return resolve


def _answering(
    handler: Handler, declared: Mutation, members: Sequence[Member], row: Row | None, payload: Callable[..., Any]
) -> Answer:
    read, path = reading(members), SchemaType(None, members=_by_location(handler, members)).path

    def named(location: str) -> list[str]:
        return path(location.split(".")) if location else ["input"]

    async def answer(context: Context, input: Mapping[str, Any]) -> Any:
        try:
            if declared.name not in context.services.open_to_all:
                check_viewer(context.viewer)
            _check_permitted(declared, context.viewer)
            params, key, run_at = read(input), input.get(KEY), input.get(RUN_AT)
            if row is not None:
                with suppress(InvalidParameters):  # which `accept` raises again
                    params = handler.bind(params)  # once: the row and the job have the same of each `default_factory`
            accepted = await accept(
                context,
                mutation=declared.name,
                handler=handler.name,
                params=params,
                given={} if key is None else _given(input, members),
                key=key,
                run_at=run_at,
                companion=None if row is None else row.companion(handler, params, context, path),
                named=named,
            )
        except MutationError as refused:
            return payload(errors=refused.errors)
        shown = {} if row is None else row.shown(accepted.row)
        return payload(job=accepted.job, replayed=accepted.replayed, **shown)

    return answer


def _check_permitted(declared: Mutation, viewer: Viewer) -> None:
    """Raise MutationError unless the viewer may send the mutation."""
    if not declared.permits(viewer):
        raise MutationError(UserError(code=UserErrorCode.NOT_ALLOWED, message=NOT_ALLOWED, path=None))


def _by_location(handler: Handler, members: Sequence[Member]) -> dict[str, Member]:
    """The members by their names in pydantic's errors."""
    by_name = {one.python: one for one in members}
    aliases = {one.alias: by_name[one.name] for one in fields_of(handler.parameters) if one.alias}
    return {**aliases, **by_name}


def _given(input: Mapping[str, Any], members: Sequence[Member]) -> dict[str, Any]:
    """The input that an idempotency key stands for, without defaults: new optional parameters leave it as it was."""
    run_at = input.get(RUN_AT)
    found = {
        one.name: input[one.name] for one in members if one.name in input and not _is_default(input[one.name], one)
    }
    return {**found, RUN_AT: run_at and run_at.isoformat()}


def _is_default(value: Any, member: Member) -> bool:
    """True if the handler gets the same as where the field is left out."""
    if value is None:
        return member.null_is_absent or member.none_if_absent or member.default is None
    return is_same(value, member.default)
