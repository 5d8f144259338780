"""Guards the mutations that a project's modules add: each needs a token, and a refusal is an error of the payload."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from strawberry.execution import optimized_is_awaitable
from strawberry.extensions import FieldExtension
from strawberry.types.base import StrawberryList, StrawberryOptional, get_object_definition
from strawberry.types.field import StrawberryField

from onward.graphql.base import SIGN_IN, public_error
from onward.graphql.context import Context, own_info
from onward.graphql.enqueue import MutationError, check_viewer
from onward.graphql.types.user_error import UserError


class Guard(FieldExtension):
    """Refuses callers without a token, and makes a MutationError the `errors` of the payload, where it has them."""

    def __init__(self, *, open_to_all: bool = False) -> None:
        self._open_to_all = open_to_all
        self._payload: type[Any] | None = None

    def apply(self, field: StrawberryField) -> None:
        self._payload = _payload(field.type)

    async def resolve_async(self, next_: Any, source: Any, info: Any, **arguments: Any) -> Any:
        # A plain resolver may return a coroutine, which `next_` gives as it is.
        async def found() -> Any:
            made = await next_(source, info, **arguments)
            return await made if optimized_is_awaitable(made) else made

        return await self.around((await own_info(info)).context, found)

    async def around(self, context: Context, resolve: Callable[[], Any]) -> Any:
        """Return what the resolver gives, or the payload of a refusal. Raises GraphQLError."""
        try:
            if not self._open_to_all:
                check_viewer(context.viewer)
            found = resolve()
            return await found if optimized_is_awaitable(found) else found
        except MutationError as refused:
            if self._payload is not None:
                return self._payload(errors=refused.errors)
            if context.viewer.is_nobody and not self._open_to_all:
                raise public_error(SIGN_IN, "NOT_AUTHENTICATED") from None
            raise


def _payload(type_: Any) -> type[Any] | None:
    """Return the class of a payload with `errors` of our type and no other required field; else None."""
    definition = get_object_definition(type_.of_type if isinstance(type_, StrawberryOptional) else type_)
    errors = None if definition is None else definition.get_field("errors")
    if definition is None or errors is None:
        return None
    listed = errors.type
    if not isinstance(listed, StrawberryList) or not isinstance(listed.of_type, type):
        return None
    if not issubclass(listed.of_type, UserError):
        return None
    try:
        definition.origin(errors=[])
    except TypeError:
        return None
    return definition.origin
