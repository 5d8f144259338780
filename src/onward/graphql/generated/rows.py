"""The row that a mutation writes beside its job, as a field of the payload."""

from __future__ import annotations

import inspect
import typing
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

from graphql import GraphQLError

from onward.graphql.base import HandlerSchemaError
from onward.graphql.context import Context
from onward.graphql.enqueue import Companion, MutationError
from onward.graphql.generated.names import field_name
from onward.graphql.generated.schema_type import SchemaType
from onward.graphql.generated.types import Types
from onward.graphql.types.enums import UserErrorCode
from onward.graphql.types.user_error import UserError
from onward.handlers.base import Handler, Mutation, Refused
from onward.handlers.fields import all_members_of, fields_of, has_fields
from onward.handlers.signatures import annotations_of, signature_of
from onward.storage.transaction import Tx

Path = Callable[[Sequence[str]], list[str]]


@dataclass(frozen=True, slots=True)
class Row:
    """The row that is written beside the job: its field of the payload, and the functions that write and read it."""

    name: str
    type: SchemaType | None
    declared: Mutation
    wants: frozenset[str]

    def companion(self, handler: Handler, params: Mapping[str, Any], context: Context, path: Path) -> Companion[Any]:
        """The companion of one request; `path` names the place of an error in the schema."""
        read = self.declared.read

        def write(tx: Tx) -> Any:
            assert self.declared.beside is not None  # noqa: S101 - this is its row
            given: dict[str, Any] = {"viewer": context.viewer, **handler.arguments(params)}
            try:
                return self.declared.beside(tx, **{name: given[name] for name in self.wants if name in given})
            except Refused as refused:
                place = path([str(part) for part in refused.path]) or None
                error = UserError(code=UserErrorCode[refused.code], message=str(refused), path=place)
                raise MutationError(error) from refused

        return Companion(self.name, write, read or (lambda _tx, _id: None))

    def shown(self, row: Any) -> dict[str, Any]:
        """The row as a field of the payload; one that cannot be shown is the error of that field alone."""
        if self.type is None:
            return {}
        try:
            return {self.name: row if row is None or self.type.convert is None else self.type.convert(row)}
        except GraphQLError as error:
            return {self.name: error}


def row_of(handler: Handler, declared: Mutation, types: Types) -> Row | None:
    """The row that a mutation declares; None if it declares none. Raises HandlerSchemaError."""
    if declared.beside is None:
        return None
    wants = frozenset(list(signature_of(declared.beside).parameters)[1:])
    found = [one for one in all_members_of(_returned(handler, declared.beside)) if one is not type(None)]
    if len(found) != 1 or not has_fields(found[0]):
        return Row("row", None, declared, wants)
    name = found[0].__name__[0].lower() + found[0].__name__[1:]
    if name in ("job", "replayed", "errors"):
        raise HandlerSchemaError(f"{handler.name}: its payload has a field {name} already; rename {found[0].__name__}")
    if declared.read is not None and "id" not in {field.name for field in fields_of(found[0])}:
        raise HandlerSchemaError(f"{handler.name}: {found[0].__name__} needs an id, by which `read` finds it again")
    found_type, _ = types.of(found[0], f"{handler.name}.beside", "", output=True)
    return Row(field_name(name, handler.name), found_type, declared, wants)


def _returned(handler: Handler, beside: Callable[..., Any]) -> Any:
    """The type of the row. That of the transaction may be imported for type checkers alone."""
    holder = SimpleNamespace(__annotations__={"return": annotations_of(beside).get("return")})
    try:
        return typing.get_type_hints(holder, getattr(inspect.unwrap(beside), "__globals__", {}))["return"]
    except NameError as error:
        words = f"the row of beside: {error}; import its type in the module of {beside.__name__}"
        raise HandlerSchemaError(f"{handler.name}: {words}") from error
