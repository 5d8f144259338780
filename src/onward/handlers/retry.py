"""The retry policy of a handler."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta

from onward.arguments import check_argument, wrong_argument
from onward.handlers.errors import InvalidParameters, Permanent, RetryIn


@dataclass(frozen=True, slots=True)
class Retry:
    """A retry policy: the wait is `base`, doubled with each attempt, and at most `cap`. One attempt means no retry.

    `by_type` gives errors another policy by their class, or `Permanent`, which allows no further attempt; of several
    classes the most specific one counts. All attempts of a run are counted together, and `max_attempts` of the newest
    error's policy is the limit. Raises TypeError and ValueError for anything else.
    """

    max_attempts: int = 5
    base: timedelta = timedelta(seconds=1)
    cap: timedelta = timedelta(minutes=5)
    by_type: "Mapping[type[Exception], Retry | type[Permanent]]" = field(default_factory=dict, kw_only=True, hash=False)

    def __post_init__(self) -> None:
        check_argument("max_attempts", self.max_attempts, "a whole number, as in Retry(max_attempts=3)", int)
        check_argument("base", self.base, "a timedelta, as in Retry(base=timedelta(seconds=1))", timedelta)
        check_argument("cap", self.cap, "a timedelta, as in Retry(cap=timedelta(minutes=5))", timedelta)
        if self.max_attempts < 1:
            raise ValueError(f"max_attempts must be at least 1, the first attempt (got {self.max_attempts})")
        if not timedelta(0) <= self.base <= self.cap:
            raise ValueError(f"base must be 0 to cap (got base {self.base}, cap {self.cap})")
        policies = "a dict of classes and their policies, as in {TimeoutError: Retry(10), ValueError: Permanent}"
        check_argument("by_type", self.by_type, policies, Mapping)
        object.__setattr__(self, "by_type", dict(self.by_type))
        for kind, rule in self.by_type.items():
            _check_rule(kind, rule)


def _check_rule(kind: object, rule: object) -> None:
    """Check one item of `by_type`."""
    if not (isinstance(kind, type) and issubclass(kind, Exception)):
        raise wrong_argument("a key of by_type", kind, "a class of exceptions, as in {TimeoutError: Retry(10)}")
    if issubclass(kind, Permanent | InvalidParameters | RetryIn):
        raise ValueError(f"by_type needs no {kind.__name__}, which says itself whether there is another attempt")  # noqa: TRY004 - of a right type
    if rule is not Permanent and not isinstance(rule, Retry):
        expected = "a Retry or Permanent, as in {TimeoutError: Retry(10), ValueError: Permanent}"
        raise wrong_argument(f"by_type of {kind.__name__}", rule, expected)
    if isinstance(rule, Retry) and rule.by_type:
        raise ValueError(f"by_type of {kind.__name__}: its policy cannot have a by_type; list its classes beside it")
