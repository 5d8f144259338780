"""The figures of `onward top`, as one read of the ledger finds them."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from onward.jobs import concurrency, due, ledger, stats, workers
from onward.jobs.due import Backlog
from onward.jobs.history_rows import COUNTS, Sums
from onward.jobs.model import EVERYTHING
from onward.jobs.states import JobStatus
from onward.jobs.stats import Behind, Span, WrongRange
from onward.jobs.stats_step import DAY_US, HOUR_US, LENGTH_US, StatsStep
from onward.jobs.workers import Worker
from onward.storage.transaction import Tx

MINUTES_UP_TO, HOURS_UP_TO = 2 * HOUR_US, 4 * DAY_US


@dataclass(frozen=True, slots=True)
class HandlerFigures:
    """The figures of a handler in the time, and its waiting jobs now."""

    handler: str
    sums: Sums
    depth: int
    oldest: int | None  # the due time of the first that waits, in microseconds
    blocked: int
    is_paused: bool

    @property
    def counts(self) -> Mapping[str, int]:
        return dict(zip(COUNTS, self.sums.counts, strict=True))


@dataclass(frozen=True, slots=True)
class Figures:
    """The figures of the installation. `parts` are the counts of each step of the time, also of one without any job."""

    span: Span
    counts: Mapping[JobStatus, int]
    handlers: Sequence[HandlerFigures]
    parts: Sequence[Mapping[str, int]]
    step: StatsStep
    workers: Sequence[tuple[Worker, Mapping[str, int]]]  # with the number of jobs that it runs, by handler
    problem: str = ""  # the reason why the history is missing


class KeptBacklog:
    """Reads the backlog, and keeps it for some time if it takes long to count."""

    def __init__(self) -> None:
        self._found: Sequence[Backlog] = ()
        self._until = 0.0

    def __call__(self, tx: Tx) -> Sequence[Backlog]:
        began = time.monotonic()
        if began >= self._until:
            self._found = due.backlog(tx)
            now = time.monotonic()
            self._until = now + due.KEPT_TIMES * (now - began)
        return self._found


def look(tx: Tx, span: Span, backlog: Callable[[Tx], Sequence[Backlog]] = due.backlog) -> Figures:
    """Read the figures of the time, and the present ones."""
    step = step_of(span)
    problem = ""
    try:
        done = {one.handler: one.sums for one in stats.stats(tx, span)}
        parts = _parts(span, step, stats.stats(tx, span, step=step))
    except (Behind, WrongRange) as error:
        problem = str(error) or "the history is not up to date yet"
        done, parts = {}, []
    waiting: dict[str, list[Backlog]] = {}
    for one in backlog(tx):
        waiting.setdefault(one.handler, []).append(one)
    paused = {pause.handler for pause in concurrency.pauses(tx)}
    running = workers.running_by_handler(tx)
    return Figures(
        span,
        ledger.counts(tx, visible=EVERYTHING),
        [
            _handler(name, done.get(name) or Sums(), waiting.get(name, ()), is_paused=name in paused)
            for name in sorted({*done, *waiting, *paused})
        ],
        parts,
        step,
        [(worker, running.get(worker.id, {})) for worker in workers.all_workers(tx)],
        problem,
    )


def step_of(span: Span) -> StatsStep:
    """Return the step that divides the time into some dozens of parts."""
    length = span.end - span.begin
    if length <= MINUTES_UP_TO:
        return StatsStep.MINUTE
    return StatsStep.HOUR if length <= HOURS_UP_TO else StatsStep.DAY


def _handler(name: str, sums: Sums, waiting: Sequence[Backlog], *, is_paused: bool) -> HandlerFigures:
    oldest = min((one.oldest for one in waiting if one.oldest is not None), default=None)
    depth, blocked = sum(one.depth for one in waiting), sum(one.blocked for one in waiting)
    return HandlerFigures(name, sums, depth, oldest, blocked, is_paused)


def _parts(span: Span, step: StatsStep, found: Sequence[stats.HandlerStats]) -> list[Mapping[str, int]]:
    """Return the sums of all handlers for each step of the time."""
    length = LENGTH_US[step]
    first = span.begin - span.begin % length
    parts: list[dict[str, int]] = [dict.fromkeys(COUNTS, 0) for _ in range(first, span.end, length)]
    for one in found:
        part = parts[(one.span.begin - first) // length]
        for name, n in one.counts.items():
            part[name] += n
    return list(parts)
