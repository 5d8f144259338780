"""A request for a batch: jobs that belong together, and the job that follows when all of them are over."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from types import NoneType
from typing import Union

from onward.arguments import check_argument, wrong_argument
from onward.handlers.request import JobRequest

MAX_CHILDREN = 100_000  # of a batch, with those of the batches in it
MAX_BATCHES = 1_000  # of them that are batches
MAX_DEPTH = 10  # of batches in batches
Child = Union[JobRequest, "BatchRequest"]


class BatchRequest:
    """A batch to be accepted, as `batch([...], then=...)` makes it. Its children are looked at by the acceptance."""

    __slots__ = ("_children", "_taken", "on_failure", "stop", "then")

    def __init__(
        self, children: Iterable[Child], then: JobRequest | None, on_failure: JobRequest | None, *, stop: bool
    ) -> None:
        self._children = children
        self._taken = False
        self.then = then
        self.on_failure = on_failure
        self.stop = stop

    def children(self) -> Iterator[Child]:
        """Return the children. Raises ValueError the second time, if they come from an iterator."""
        found = iter(self._children)
        if self._taken and found is self._children:
            raise ValueError("this batch was accepted before, and its children came from an iterator: make it anew")
        self._taken = True
        return found


def batch(
    children: Iterable[Child],
    *,
    then: JobRequest | None = None,
    on_failure: JobRequest | None = None,
    stop: bool | None = None,
) -> BatchRequest:
    """Request a batch of up to 100,000 jobs, some of which may be batches, for `enqueue` or `job.dispatch`.

    `then` runs once when all children are over, also if some have failed: its handler gets their `Results`. With
    `stop=True` a child that fails, or is cancelled, stops the batch: children that do not run are cancelled, and when
    the others are over, `on_failure` runs in place of `then`. An `on_failure` alone means `stop=True`.

    Raises TypeError and ValueError.
    """
    if isinstance(children, str | bytes | Mapping | JobRequest | BatchRequest) or not isinstance(children, Iterable):
        raise wrong_argument("batch: children", children, "a list of jobs, as in batch([HANDLER.job(...)])")
    job = "a job, as made by HANDLER.job(...), or None"
    check_argument("batch: then", then, job, JobRequest, NoneType)
    check_argument("batch: on_failure", on_failure, job, JobRequest, NoneType)
    check_argument("batch: stop", stop, "True or False", bool, NoneType)
    if stop is False and on_failure is not None:
        raise ValueError("batch: on_failure runs only where a failed child stops the batch: leave out stop=False")
    return BatchRequest(children, then, on_failure, stop=on_failure is not None if stop is None else stop)
