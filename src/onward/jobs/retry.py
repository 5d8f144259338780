"""Times of further attempts, as pure functions."""

from __future__ import annotations

from datetime import timedelta
from random import Random

from onward.handlers.base import Retry


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
