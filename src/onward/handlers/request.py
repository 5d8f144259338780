"""A request for a job: the name of its handler, and its parameters."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from onward.arguments import check_argument

MAX_DELAY = timedelta(days=365)  # until a job, or its next attempt, begins


def check_expires(name: str, expires: object) -> None:
    """Check the span in which a job has to begin. Raises TypeError and ValueError."""
    check_argument(name, expires, "a timedelta, as in expires=timedelta(hours=1), or None", timedelta)
    if isinstance(expires, timedelta) and not timedelta(0) < expires <= MAX_DELAY:
        raise ValueError(f"{name} must be positive, and at most {MAX_DELAY.days} days (got {expires})")


@dataclass(frozen=True, slots=True)
class JobRequest:
    """A job to be accepted, as `confirm.job(order="A-17")` makes it. Its parameters are checked at the acceptance."""

    handler: str
    params: Mapping[str, Any]

    def __post_init__(self) -> None:
        check_argument("handler", self.handler, 'the name of a handler, as in JobRequest("orders.confirm", {})', str)
        check_argument("params", self.params, 'a dict of parameters, as in {"order": "A-17"}', Mapping)
