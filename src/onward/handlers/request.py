"""A job that is asked for: the name of its handler, and its parameters."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class JobRequest:
    """A job to be accepted, as `confirm.job(order="A-17")` makes it. Its parameters are checked when it is accepted."""

    handler: str
    params: Mapping[str, Any]
