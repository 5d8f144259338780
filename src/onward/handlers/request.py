"""A request for a job: the name of its handler, and its parameters."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from onward.arguments import check_argument

MAX_DELAY = timedelta(days=365)  # until a job, or its next attempt, begins


@dataclass(frozen=True, slots=True)
class JobRequest:
    """A job to be accepted, as `confirm.job(order="A-17")` makes it. Its parameters are checked at the acceptance."""

    handler: str
    params: Mapping[str, Any]

    def __post_init__(self) -> None:
        check_argument("handler", self.handler, 'the name of a handler, as in JobRequest("orders.confirm", {})', str)
        check_argument("params", self.params, 'a dict of parameters, as in {"order": "A-17"}', Mapping)
