"""The uniqueness of a handler's jobs: which of them are the same, and what happens to a second one."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import timedelta
from types import NoneType

from onward.arguments import check_argument, check_names

SITUATIONS = ("scheduled", "queued", "running", "retrying", "waiting")
NOT_BEGUN = ("scheduled", "queued")
MAX_AGE = timedelta(days=365)
MAX_WAITS = 10  # times the delay: the longest wait of a job that is put off, where none is given


@dataclass(frozen=True, slots=True)
class Unique:
    """Allow one job for each value of the parameters `by` at a time; none at all means one job of the handler.

    An existing job counts while it is in one of the situations of `while_`: "scheduled", "queued" (it has not begun),
    "running" (also interrupted, and in the queue again), "retrying" (between two attempts), "waiting" (for a signal or
    a time); in all of them by default. With `within` it also counts for that long after its acceptance, unless it
    failed or was cancelled.

    Enqueueing again gives the job that is there. With `replace=True` that job gets the new parameters; with `debounce`
    each job starts that long after the last call, and at the latest `max_wait` after the first, which is ten times as
    long by default. Both change only a job that has not begun, so that `while_` is ("scheduled", "queued") then.

    Jobs of different owners never count as the same, unless `per_owner=False`: then a caller who finds another owner's
    job is refused.
    """

    by: Collection[str] = ()
    while_: Collection[str] | None = None
    within: timedelta | None = None
    replace: bool = False
    debounce: timedelta | None = None
    max_wait: timedelta | None = None
    per_owner: bool = True

    def __post_init__(self) -> None:
        check_names("by", self.by, 'a tuple of parameters, as in by=("order",)', Collection)
        if self.while_ is not None:
            check_names("while_", self.while_, 'a tuple of situations, as in while_=("queued", "running")', Collection)
        check_argument("replace", self.replace, "True or False", bool)
        check_argument("per_owner", self.per_owner, "True or False", bool)
        for name in ("within", "debounce", "max_wait"):
            value = getattr(self, name)
            check_argument(name, value, "a timedelta, as in timedelta(minutes=5), or None", timedelta, NoneType)
            if value is not None and not timedelta(0) < value <= MAX_AGE:
                raise ValueError(f"{name} must be positive, and at most {MAX_AGE.days} days (got {value})")
        default = NOT_BEGUN if self.changes else SITUATIONS
        object.__setattr__(self, "by", tuple(sorted(set(self.by))))
        object.__setattr__(self, "while_", default if self.while_ is None else tuple(dict.fromkeys(self.while_)))
        self._check_while()
        self._check_debounce()

    @property
    def changes(self) -> bool:
        """True if enqueueing again changes the job that is there."""
        return self.replace or self.debounce is not None

    @property
    def situations(self) -> tuple[str, ...]:
        """The situations in which a job counts."""
        return tuple(self.while_ or ())

    def _check_while(self) -> None:
        if unknown := [one for one in self.situations if one not in SITUATIONS]:
            raise ValueError(f"while_ must be of {', '.join(SITUATIONS)} (got {', '.join(unknown)})")
        if not self.situations and self.within is None:
            raise ValueError("while_ is empty, so that no job would count: name a situation, or give within")
        if self.changes and (self.within or not set(self.situations) <= set(NOT_BEGUN)):
            raise ValueError(
                "replace and debounce change a job that has not begun; a later one would lose what is new: leave out"
                f" within, and give while_ nothing but {' and '.join(NOT_BEGUN)}"
            )

    def _check_debounce(self) -> None:
        if self.debounce is None:
            if self.max_wait is not None:
                raise ValueError("max_wait bounds how long debounce puts a job off: give debounce, too")
            return
        if "scheduled" not in self.situations:
            raise ValueError("a job is scheduled while debounce puts it off: add scheduled to while_")
        if self.max_wait is None:
            object.__setattr__(self, "max_wait", min(self.debounce * MAX_WAITS, MAX_AGE))
        elif self.max_wait < self.debounce:
            raise ValueError(f"max_wait must be at least debounce, {self.debounce} (got {self.max_wait})")
