"""The limit of a handler's jobs by a key, such as the customer: how many run at once, and start in a time."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import NoneType
from typing import Any

from onward.arguments import check_argument, check_names
from onward.text.patterns import is_rate
from onward.text.visibility import is_plain

MAX_CONCURRENCY = 100_000
MAX_CHARACTERS = 100  # of a value in a key; a longer one is hashed
NAME = re.compile(r"[a-z][a-z0-9_.-]{0,99}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Limit:
    """At most so many jobs of each key at once, and so many starts in a time; over all processes.

    `concurrency` is the most jobs that run at once, `rate` the most that begin in any second, minute, hour or day, as
    in "100/m". `by` names the parameter whose value is the key, or several parameters; without it all jobs have one
    key. Handlers whose limits have the same `name` share the places of each key.
    """

    concurrency: int | None = None
    rate: str | None = None
    by: str | tuple[str, ...] = ()
    name: str | None = None

    def __post_init__(self) -> None:
        check_argument("concurrency", self.concurrency, "a whole number, as in concurrency=1, or None", int, NoneType)
        check_argument("rate", self.rate, 'a string, as in rate="100/m", or None', str, NoneType)
        check_argument("name", self.name, 'a string, as in name="crm", or None', str, NoneType)
        check_names("by", self.parameters, 'a parameter or a tuple of them, as in by="customer"', tuple)
        if self.concurrency is None and self.rate is None:
            fix = 'give concurrency, as in concurrency=1, or rate, as in rate="100/m"'
            raise ValueError(f"a Limit limits nothing: {fix}")
        if self.concurrency is not None and not 1 <= self.concurrency <= MAX_CONCURRENCY:
            raise ValueError(f"concurrency must be 1 to {MAX_CONCURRENCY:,} (got {self.concurrency})")
        if self.rate is not None and not is_rate(self.rate):
            raise ValueError(f"rate must be a number and s, m, h or d for its time, as in 100/m (got {self.rate!r})")
        if self.name is not None and not NAME.fullmatch(self.name):
            raise ValueError(f"name must be lowercase letters, digits, '_', '.' and '-', as in crm (got {self.name!r})")

    @property
    def parameters(self) -> tuple[str, ...]:
        """The names of the parameters whose values make the key."""
        return (self.by,) if isinstance(self.by, str) else self.by

    def key(self, handler: str, params: Mapping[str, Any]) -> str:
        """Return the key of a job with these parameters, as JSON has them: the limit's name, and the value.

        A text stands for itself, another value is written as JSON; one that is long or not plain is hashed.
        """
        values = [params[one] for one in self.parameters]
        value = values[0] if len(values) == 1 else values
        text = value if isinstance(value, str) else _written(value) if values else ""
        if len(text) > MAX_CHARACTERS or not is_plain(text):
            text = f"sha256-{hashlib.sha256(text.encode('utf-8', 'surrogatepass')).hexdigest()[:32]}"
        return f"{self.name or handler}:{text}"


def _written(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), sort_keys=True)
