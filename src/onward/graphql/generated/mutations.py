"""The mutation of a handler: its input, its payload and its resolver."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import strawberry
from graphql import GraphQLResolveInfo
from strawberry.types.field import StrawberryField

from onward.graphql.base import HandlerSchemaError
from onward.graphql.context import Context, Info
from onward.graphql.enqueue import MutationError, accept
from onward.graphql.generated.classes import class_of
from onward.graphql.generated.inputs import input_members
from onward.graphql.generated.members import Member, reading
from onward.graphql.generated.rows import Row, row_of
from onward.graphql.generated.schema_type import SchemaType
from onward.graphql.generated.types import Types
from onward.graphql.types.enums import UserErrorCode
from onward.graphql.types.job import Job
from onward.graphql.types.user_error import UserError
from onward.handlers.base import Handler, Mutation
from onward.handlers.fields import fields_of
from onward.jobs import model

NOT_ALLOWED = "You may not send this mutation."
KEY, RUN_AT = "idempotencyKey", "runAt"
Resolve = Callable[..., Any]


@dataclass(frozen=True, slots=True)
class MadeMutation:
    """A field of the type Mutation; `resolve` is called by graphql-core, without Strawberry's conversions."""

    handler: str
    name: str
    field: StrawberryField
    resolve: Resolve


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
    field = strawberry.mutation(
        resolver=_signature(input_, payload),
        name=declared.name,
        description=declared.description or f"Accept a job of `{handler.name}`.",
        deprecation_reason=declared.deprecated,
    )
    return MadeMutation(handler.name, declared.name, field, _resolver(handler, declared, members, row, payload))


def _input(title: str, fields: dict[str, tuple[Any, Any]], handler: Handler, types: Types) -> type:
    name = f"{title}Input"
    types.names.claim(name, handler, handler.name)
    key = strawberry.field(name=KEY, description="The same key with the same input gives the same job.")
    run_at = strawberry.field(name=RUN_AT, description="The earliest start; at most a year ahead.")
    made = {**fields, "idempotency_key": (str | None, key), "run_at": (datetime | None, run_at)}
    return strawberry.input(class_of(name, made), name=name)


def _payload(title: str, row: Row | None, handler: Handler, types: Types) -> type:
    name = f"{title}Payload"
    types.names.claim(name, handler, handler.name)
    fields: dict[str, tuple[Any, Any]] = {
        "job": (model.Job | None, strawberry.field(default=None, graphql_type=Job | None))
    }
    if row is not None and row.type is not None:
        type_ = row.type.annotation | None
        fields[row.name] = (Any, strawberry.field(default=None, graphql_type=type_, name=row.name))
    replayed = strawberry.field(default=False, description="True if the key had made this job before.")
    fields["replayed"] = (bool, replayed)
    fields["errors"] = (list[UserError], strawberry.field(default_factory=list))
    return strawberry.type(class_of(name, fields), name=name)


def _signature(input_: type, payload: type) -> Resolve:
    """A function that tells Strawberry the types of the field; `MadeMutation.resolve` takes its place."""

    def resolver(info: Any, input: Any) -> Any:
        raise NotImplementedError

    resolver.__annotations__ = {"info": Info, "input": input_, "return": payload | None}
    return resolver


def _resolver(
    handler: Handler, declared: Mutation, members: Sequence[Member], row: Row | None, payload: Callable[..., Any]
) -> Resolve:
    read, path = reading(members), SchemaType(None, members=_by_location(handler, members)).path

    def named(location: str) -> list[str]:
        return path(location.split(".")) if location else ["input"]

    async def resolve(_root: Any, info: GraphQLResolveInfo[Any], input: Mapping[str, Any]) -> Any:
        context: Context = info.context
        if not declared.permits(context.viewer):
            return payload(errors=[UserError(code=UserErrorCode.NOT_ALLOWED, message=NOT_ALLOWED, path=None)])
        params, key, run_at = read(input), input.get(KEY), input.get(RUN_AT)
        try:
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

    return resolve


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
    return bool(value == member.default)
