"""Checks of the options that `handler` and `sequence` share, before anything is made of them."""

from collections.abc import Callable
from collections.abc import Set as AbstractSet
from datetime import timedelta
from types import NoneType

from onward.arguments import check_argument, check_names
from onward.handlers.mutation import Mutation
from onward.handlers.retry import Retry


def check_options(
    name: object,
    *,
    retry: object,
    timeout: object,
    version: object,
    upgrade: object,
    secret: object,
    process: object,
    mutation: object,
) -> None:
    """Check the types of a handler's options. Raises TypeError with the handler and the way to write the option."""
    check_argument("the name of a handler", name, 'a string, as in "orders.confirm"', str)
    check_argument(f"{name}: retry", retry, "a Retry, as in Retry(max_attempts=3)", Retry)
    limit = "a timedelta, as in timedelta(seconds=30), or None"
    check_argument(f"{name}: timeout", timeout, limit, timedelta, NoneType)
    check_argument(f"{name}: version", version, "a whole number, as in version=2", int)
    function = "a function of the version and the parameters, or None"
    check_argument(f"{name}: upgrade", upgrade, function, Callable, NoneType)  # type: ignore[arg-type]
    check_names(f"{name}: secret", secret, 'a set of parameters, as in frozenset({"pin"})', AbstractSet)
    check_argument(f"{name}: process", process, "True or False", bool)
    fields = "True, False, a name, or a Mutation, as in Mutation(...)"
    check_argument(f"{name}: mutation", mutation, fields, bool, str, Mutation)
