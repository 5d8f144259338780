"""The options that `handler` and `sequence` share, and their checks, before anything is made of them."""

import dataclasses
from collections.abc import Callable
from collections.abc import Set as AbstractSet
from datetime import timedelta
from types import NoneType
from typing import TYPE_CHECKING, Any, TypedDict

from onward.arguments import check_argument, check_names
from onward.handlers.limit import Limit
from onward.handlers.mutation import Mutation
from onward.handlers.parameters import Upgrade
from onward.handlers.retry import Retry
from onward.handlers.unique import Unique
from onward.text.queues import DEFAULT

if TYPE_CHECKING:
    from onward.handlers.base import Handler


class HandlerOptions(TypedDict, total=False):
    """The options of a handler, each of which may be left out.

    `retry` is the policy of failed attempts, `Retry()` by default; `timeout` the longest time of an attempt, without a
    limit by default. A job that has not begun within `expires` from its due time is cancelled; none is by default.
    `secret` names parameters that are never logged or shown. `upgrade` brings parameters of an older `version` up to
    date; the version is 1 by default. `process=True` runs each attempt in a process of its own, which can be killed.
    `mutation=True`, a name, or a `Mutation` gives the GraphQL schema a mutation that accepts the jobs.
    `unique` is a `Unique` where jobs with the same parameters are one.
    `on_failure` is a handler, or its name, of which a failed job brings a job: its parameters may be `job_id`,
    `handler`, `code` and `message`.
    `queue` names the queue of the jobs, which only processes that take it run; it is "default" by default.
    `limit` is how many jobs of one key run at once, and start in a time; without one by default.
    """

    retry: Retry
    timeout: timedelta | None
    version: int
    upgrade: Upgrade | None
    secret: frozenset[str]
    process: bool
    mutation: bool | str | Mutation
    unique: Unique | None
    expires: timedelta | None
    on_failure: "Handler[Any] | str | None"
    queue: str
    limit: Limit | None


def complete(name: str, options: HandlerOptions) -> HandlerOptions:
    """Return the options with the defaults of those that were left out.

    Raises TypeError with the handler and the way to write the option, for a wrong type and for an unknown option.
    """
    defaults = HandlerOptions(
        retry=Retry(),
        timeout=None,
        version=1,
        upgrade=None,
        secret=frozenset(),
        process=False,
        mutation=False,
        unique=None,
        expires=None,
        on_failure=None,
        queue=DEFAULT,
        limit=None,
    )
    if unknown := [one for one in options if one not in defaults]:
        words = f"there is no option {', '.join(unknown)}; the options are {', '.join(defaults)}"
        known = {field.name for field in dataclasses.fields(Mutation) if field.init}
        if of_mutation := [one for one in unknown if one in known]:
            words += f"; of the mutation: mutation=Mutation({of_mutation[0]}=...)"
        raise TypeError(f"{name}: {words}")
    given = HandlerOptions(**{**defaults, **options})
    check_argument("the name of a handler", name, 'a string, as in "orders.confirm"', str)
    check_argument(f"{name}: retry", given["retry"], "a Retry, as in Retry(max_attempts=3)", Retry)
    limit = "a timedelta, as in timedelta(seconds=30), or None"
    check_argument(f"{name}: timeout", given["timeout"], limit, timedelta, NoneType)
    check_argument(f"{name}: expires", given["expires"], limit, timedelta, NoneType)
    check_argument(f"{name}: version", given["version"], "a whole number, as in version=2", int)
    function = "a function of the version and the parameters, or None"
    check_argument(f"{name}: upgrade", given["upgrade"], function, Callable, NoneType)  # type: ignore[arg-type]
    check_names(f"{name}: secret", given["secret"], 'a set of parameters, as in frozenset({"pin"})', AbstractSet)
    check_argument(f"{name}: process", given["process"], "True or False", bool)
    fields = "True, False, a name, or a Mutation, as in Mutation(...)"
    check_argument(f"{name}: mutation", given["mutation"], fields, bool, str, Mutation)
    words = 'a Unique, as in Unique(by=("order",)), or None'
    check_argument(f"{name}: unique", given["unique"], words, Unique, NoneType)
    check_argument(f"{name}: queue", given["queue"], 'the name of a queue, as in queue="gpu"', str)
    by_key = 'a Limit, as in Limit(concurrency=1, by="customer"), or None'
    check_argument(f"{name}: limit", given["limit"], by_key, Limit, NoneType)
    return given
