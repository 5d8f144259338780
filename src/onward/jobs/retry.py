"""Times of further attempts: pure functions."""

from __future__ import annotations

from datetime import timedelta
from random import Random

from onward.handlers.base import Retry


def ceiling(policy: Retry, attempt: int) -> timedelta:
    """The longest wait after the attempt of that number, counted from 1: `base` doubled each time, up to `cap`."""
    if policy.base == timedelta(0):
        return timedelta(0)
    doublings = min(attempt - 1, (policy.cap // policy.base).bit_length())  # beyond that it is above the cap anyway
    return min(policy.cap, policy.base * (1 << doublings))


def delay(policy: Retry, attempt: int, chance: Random) -> timedelta:
    """The wait after the attempt: anything up to `ceiling` alike.

    Full jitter, after Marc Brooker's "Exponential Backoff And Jitter" (AWS Architecture Blog, 2015): it spreads the
    clients of a service that comes back best.
    """
    return ceiling(policy, attempt) * chance.random()
