"""The retry policy of a handler."""

from dataclasses import dataclass
from datetime import timedelta

from onward.arguments import check_argument


@dataclass(frozen=True, slots=True)
class Retry:
    """A retry policy: the wait is `base`, doubled with each attempt, and at most `cap`. One attempt means no retry."""

    max_attempts: int = 5
    base: timedelta = timedelta(seconds=1)
    cap: timedelta = timedelta(minutes=5)

    def __post_init__(self) -> None:
        check_argument("max_attempts", self.max_attempts, "a whole number, as in Retry(max_attempts=3)", int)
        check_argument("base", self.base, "a timedelta, as in Retry(base=timedelta(seconds=1))", timedelta)
        check_argument("cap", self.cap, "a timedelta, as in Retry(cap=timedelta(minutes=5))", timedelta)
        if self.max_attempts < 1:
            raise ValueError(f"max_attempts must be at least 1, the first attempt (got {self.max_attempts})")
        if not timedelta(0) <= self.base <= self.cap:
            raise ValueError(f"base must be 0 to cap (got base {self.base}, cap {self.cap})")
