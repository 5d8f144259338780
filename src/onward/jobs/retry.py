"""Times of further attempts, as pure functions."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import timedelta
from random import Random

from onward.handlers.base import Retry

MIN_INTERNAL_DELAY = timedelta(seconds=1)
MAX_INTERNAL_DELAY = timedelta(minutes=5)


def name_of(kind: type) -> str:
    """Return the full name of a class, by which the process of a handler and its parent mean the same one."""
    return f"{kind.__module__}.{kind.__qualname__}"


def rule_for(policy: Retry, errors: Iterable[Sequence[str]]) -> Retry | None:
    """Return the policy for errors that were raised together; None if there is to be no further attempt.

    Each error is given by the names of its classes, the most specific first. One that is `Permanent` by its class
    decides, or else the first that has a policy of its own in `by_type`.
    """
    rules = {name_of(kind): rule for kind, rule in policy.by_type.items()}
    found = [rule for names in errors if (rule := next((rules[name] for name in names if name in rules), None))]
    if any(not isinstance(rule, Retry) for rule in found):
        return None
    return next((rule for rule in found if isinstance(rule, Retry)), policy)


def ceiling(policy: Retry, attempt: int) -> timedelta:
    """Return the longest wait after the n-th attempt, from 1 on: `base` doubled each time, up to `cap`."""
    if policy.base == timedelta(0):
        return timedelta(0)
    doublings = min(attempt - 1, (policy.cap // policy.base).bit_length())  # beyond that it is above the cap anyway
    return min(policy.cap, policy.base * (1 << doublings))


def delay(policy: Retry, attempt: int, chance: Random) -> timedelta:
    """Return the wait after the attempt, evenly distributed up to `ceiling`.

    Full jitter, after Marc Brooker's "Exponential Backoff And Jitter" (AWS Architecture Blog, 2015): it spreads the
    clients of a service that comes back best.
    """
    return ceiling(policy, attempt) * chance.random()


def internal_delay(in_a_row: int) -> timedelta:
    """Return the wait after the n-th attempt in a row, from 1 on, that an error of ours, or the ledger, ended."""
    doublings = min(in_a_row - 1, (MAX_INTERNAL_DELAY // MIN_INTERNAL_DELAY).bit_length())  # as in `ceiling`
    return min(MIN_INTERNAL_DELAY * (1 << doublings), MAX_INTERNAL_DELAY)
