"""Resolvers of the library's fields. Each finds its context in any schema, and guards itself.

They hold in a schema that others build and execute, so nothing here depends on this package's own executor.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import aclosing
from functools import wraps
from inspect import isawaitable
from typing import Any, TypeVar, cast

from onward.graphql.base import SIGN_IN, NotAuthenticated
from onward.graphql.context import Context, Info, forget, own_info
from onward.graphql.enqueue import MutationError, check_viewer
from onward.graphql.internal_errors import hidden

T = TypeVar("T")
Function = TypeVar("Function", bound=Callable[..., Any])


def query(function: Function) -> Function:
    """Make the resolver of a field that looks at the viewer itself; `info` is its first parameter."""

    @wraps(function)
    def resolve(info: Info, *args: Any, **given: Any) -> Any:
        if type(info.context) is Context:  # our own executor hides internal errors itself
            return function(info, *args, **given)
        return _elsewhere(function, info, args, given)

    return cast("Function", resolve)


async def _elsewhere(function: Callable[..., Any], info: Info, args: Sequence[Any], given: Mapping[str, Any]) -> Any:
    """Resolve the field in a schema that others build or execute."""
    with hidden():
        found = function(await own_info(info), *args, **given)
        return await found if isawaitable(found) else found


def mutation(payload: Callable[..., Any]) -> Callable[[Function], Function]:
    """Make the resolver of a mutation: it needs a viewer, and a MutationError becomes the `errors` of its payload.

    `payload` is the class of a payload with `errors`, whose other fields have defaults.
    """

    def decorate(function: Function) -> Function:
        @wraps(function)
        async def answer(info: Info, *args: Any, **given: Any) -> Any:
            try:
                check_viewer(info.context.viewer)
                return await function(info, *args, **given)
            except MutationError as refused:
                return payload(errors=refused.errors)

        return cast("Function", query(answer))

    return decorate


def subscription(function: Function) -> Function:
    """Make the resolver of a subscription: it needs a viewer, and another server's ends with the session."""

    @wraps(function)
    async def subscribe(info: Info, *args: Any, **given: Any) -> AsyncGenerator[Any, None]:
        with hidden():
            info = await own_info(info, streams=True)
            if info.context.viewer.is_nobody:
                raise NotAuthenticated(SIGN_IN)
            meter = info.context.meter
            source = function(info, *args, **given)
            # Our own server closes the whole connection when the session ends.
            lasting = info.context.lasting
            events = source if lasting is None else lasting(source)
            try:
                async with aclosing(source), aclosing(events):
                    async for event in events:
                        if meter.is_due():
                            await meter.rest()  # changes that are there already are not waited for
                        yield event
            finally:
                forget()

    return cast("Function", subscribe)
