"""Errors of handlers, and of their parameters."""

from collections.abc import Sequence
from datetime import timedelta

from onward.arguments import check_argument, wrong_argument
from onward.handlers.request import MAX_DELAY

MIN_UNCHARGED_DELAY = timedelta(seconds=1)  # a loop of attempts that do not count costs little


class HandlerError(Exception):
    """Base class for errors of handlers. Callers see code and message: put no address and no path into them."""

    code: str = "FAILED"


class Permanent(HandlerError):
    """An error that another attempt cannot fix."""

    def __init__(self, message: str, code: str = "PERMANENT") -> None:
        super().__init__(message)
        self.code = code


class RetryIn(HandlerError):
    """Fail this attempt, and begin the next one after `delay`, in place of the wait of the retry policy.

    With `charged=False` the attempt does not count against `max_attempts`; the delay is at least a second then, and
    every hundredth such attempt in a row counts all the same. Raises TypeError and ValueError for a wrong delay.
    """

    delay = timedelta(0)
    charged = True

    def __init__(
        self,
        delay: timedelta,
        message: str = "the handler asked for another attempt",
        *,
        charged: bool = True,
        code: str = "RETRY_IN",
    ) -> None:
        super().__init__(message)
        check_argument("delay", delay, "a timedelta, as in RetryIn(timedelta(minutes=5))", timedelta)
        check_argument("charged", charged, "True or False", bool)
        least = timedelta(0) if charged else MIN_UNCHARGED_DELAY
        if not least <= delay <= MAX_DELAY:
            named = "delay" if charged else "delay with charged=False"
            raise ValueError(f"{named} must be {least} to {MAX_DELAY.days} days (got {delay})")
        self.delay, self.charged, self.code = delay, charged, code


class InvalidParameters(HandlerError):
    """The parameters do not fit the handler. `errors` are pairs of a dotted path, which may be empty, and a message."""

    code = "INVALID_PARAMETERS"

    def __init__(self, errors: list[tuple[str, str]]) -> None:
        if not _are_pairs(errors):
            raise wrong_argument("errors", errors, 'a list of pairs, as in [("order", "is closed")]')
        super().__init__("; ".join(f"{path}: {message}" if path else message for path, message in errors))
        self.errors = errors


def _are_pairs(errors: object) -> bool:
    return isinstance(errors, list | tuple) and all(isinstance(one, list | tuple) and len(one) == 2 for one in errors)  # noqa: PLR2004 - a pair


class UnknownHandler(InvalidParameters):
    """The settings name no module that has a handler of this name."""

    def __init__(self, name: str) -> None:
        super().__init__([("", f"no handler is named {name!r}")])


REFUSALS = ("INVALID", "ALREADY_EXISTS", "NOT_FOUND", "NOT_ALLOWED", "CONFLICT", "RATE_LIMITED")


class Refused(HandlerError):
    """Take a mutation back, from the function that writes `beside` its job: an error of the payload.

    `path` names the parameter, with its inner fields and indices if it has some, as in ("items", 0, "price").
    """

    def __init__(self, message: str, *, code: str = "INVALID", path: Sequence[str | int] = ()) -> None:
        super().__init__(message)
        if code not in REFUSALS:
            raise ValueError(f"the code of Refused must be one of {', '.join(REFUSALS)} (got {code!r})")
        names = 'the name of a parameter, or a tuple, as in ("items", 0, "price")'
        check_argument("path", path, names, Sequence)
        self.code = code
        self.path = (path,) if isinstance(path, str) else tuple(path)


class JobCancelled(HandlerError):
    """The job was cancelled."""

    code = "CANCELLED"


class LeaseLost(HandlerError):
    """The claim of the job is over: another runner may have it, and further results of this one are not recorded."""

    code = "LEASE_LOST"


class TimedOut(HandlerError):
    """The handler has run past its time limit."""

    code = "TIMED_OUT"
