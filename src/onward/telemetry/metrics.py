"""Metrics in Prometheus's format: counters of the process, and figures that are read at a scrape."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import NamedTuple

import prometheus_client
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

CONTENT_TYPE = prometheus_client.CONTENT_TYPE_PLAIN_0_0_4
MAX_AGE_S = 1.0
MAX_SHARE = 0.1  # of the time in which the figures of an installation are read, however many jobs wait
SOON_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
LATE_S = (0.005, 0.025, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 900, 3600)


class Figure(NamedTuple):
    """A gauge: its values by those of its one label, or by "" without a label."""

    name: str
    help: str
    label: str
    values: Mapping[str, float]


class Metrics:
    """Counters of one process. Its methods may be called from any thread and cost about a microsecond."""

    def __init__(self) -> None:
        prometheus_client.disable_created_metrics()  # type: ignore[no-untyped-call]
        self.registry = CollectorRegistry()  # everything that this process reports
        self._figures = CollectorRegistry()  # figures that every process of the installation reports alike
        own = self.registry
        ProcessCollector(registry=own)
        self._accepted = Counter("onward_jobs_accepted", "Accepted jobs.", ["handler"], registry=own)
        self._started = Counter("onward_jobs_started", "Started attempts.", ["handler"], registry=own)
        self._finished = Counter(
            "onward_jobs_finished",
            "Finished jobs, by terminal status.",
            ["handler", "status"],
            registry=own,
        )
        self._expired = Counter(
            "onward_jobs_expired",
            "Jobs that were cancelled because they had not begun by their time.",
            ["handler"],
            registry=own,
        )
        self._retries = Counter("onward_job_retries", "Failed attempts that are retried.", ["handler"], registry=own)
        self._rescues = Counter(
            "onward_lease_rescues",
            "Jobs reclaimed from dead processes, counted by the process that noticed.",
            registry=own,
        )
        self._accept_s = Histogram(
            "onward_accept_seconds",
            "Time from the start of a mutation until its job is committed.",
            ["handler"],
            registry=own,
            buckets=SOON_S,
        )
        self._wait_s = Histogram(
            "onward_wait_seconds",
            "Time from when a job was due until it was claimed.",
            ["handler"],
            registry=own,
            buckets=LATE_S,
        )
        self._run_s = Histogram(
            "onward_run_seconds", "Duration of an attempt.", ["handler"], registry=own, buckets=LATE_S
        )
        self._running = Gauge("onward_jobs_running", "Running jobs in this process.", registry=own)
        self._overruns = Gauge(
            "onward_overrun_threads",
            "Threads of plain functions that still run after their time limit.",
            registry=own,
        )
        self._loop_s = Histogram(
            "onward_event_loop_delay_seconds",
            "Delay of the event loop.",
            registry=own,
            buckets=SOON_S,
        )
        self._blocked = Counter(
            "onward_event_loop_blocked",
            "Times that a handler blocked the event loop for over 100 ms.",
            ["handler"],
            registry=own,
        )
        self._of: dict[str, _Meters] = {}  # a look-up here takes a third of one by labels
        self._ended: dict[tuple[str, str], Counter] = {}

    def _meters(self, handler: str) -> _Meters:
        found = self._of.get(handler)
        if found is None:
            labelled = (self._accepted, self._started, self._accept_s, self._wait_s, self._run_s)
            found = self._of[handler] = _Meters(*(meter.labels(handler) for meter in labelled))  # type: ignore[arg-type]
        return found

    def expect(self, handlers: Collection[str], statuses: Collection[str]) -> None:
        """Create every label series at zero, so that the first increase is visible."""
        for handler in handlers:
            self._meters(handler)
            self._retries.labels(handler)
            self._expired.labels(handler)
            self._blocked.labels(handler)
            for status in statuses:
                self._ended[handler, status] = self._finished.labels(handler, status)

    def accepted(self, handler: str, took_s: float | None = None) -> None:
        """Count a committed job; `took_s` is the time that a caller waited for it."""
        meters = self._meters(handler)
        meters.accepted.inc()
        if took_s is not None:
            meters.accept_s.observe(took_s)

    def started(self, handler: str, waited_s: float) -> None:
        """Count an attempt that begins."""
        meters = self._meters(handler)
        meters.started.inc()
        meters.wait_s.observe(waited_s)

    def ran(self, handler: str, took_s: float) -> None:
        """Record the duration of an attempt, whatever its outcome."""
        self._meters(handler).run_s.observe(took_s)

    def finished(self, handler: str, status: str) -> None:
        """Count a job that has reached a terminal state."""
        meter = self._ended.get((handler, status))
        if meter is None:
            meter = self._ended[handler, status] = self._finished.labels(handler, status)
        meter.inc()

    def expired(self, handler: str) -> None:
        """Count a job that had not begun by its time, beside its end."""
        self._expired.labels(handler).inc()

    def retried(self, handler: str) -> None:
        """Count a failed attempt that will be retried."""
        self._retries.labels(handler).inc()

    def rescued(self, jobs: int) -> None:
        """Count the jobs of a process that was found dead."""
        self._rescues.inc(jobs)

    def loop_delayed(self, seconds: float) -> None:
        """Record a delay of the event loop."""
        self._loop_s.observe(seconds)

    def loop_blocked(self, handler: str) -> None:
        """Count a handler that blocked the event loop."""
        self._blocked.labels(handler).inc()

    def count_running(self, running: Callable[[], float]) -> None:
        """Read the number of running jobs by this function, at each scrape."""
        self._running.set_function(running)

    def count_overruns(self, overruns: Callable[[], float]) -> None:
        """Read the number of functions past their time limit by this function, at each scrape."""
        self._overruns.set_function(overruns)

    def add(self, figures: Callable[[], Sequence[Figure]]) -> None:
        """Report these figures of the whole installation too, read from any thread.

        They are read once a second at most, and less often where that takes over a tenth of the time.
        """
        asked = _FigureCollector(figures)
        self.registry.register(asked)
        self._figures.register(asked)

    def text(self, *, own: bool = True) -> bytes:
        """Prometheus's text format; without `own`, only the figures of the installation. Blocks."""
        return generate_latest(self.registry if own else self._figures)


class _Meters(NamedTuple):
    accepted: Counter
    started: Counter
    accept_s: Histogram
    wait_s: Histogram
    run_s: Histogram


class _FigureCollector(Collector):
    def __init__(self, figures: Callable[[], Sequence[Figure]]) -> None:
        self._figures = figures
        self._lock = threading.Lock()
        self._kept: Sequence[Figure] = ()
        self._until = 0.0

    def describe(self) -> Iterator[GaugeMetricFamily]:
        return iter(())  # else it would be read when it is registered

    def collect(self) -> Iterator[GaugeMetricFamily]:
        with self._lock:
            if not self._kept or time.monotonic() > self._until:
                started = time.monotonic()
                self._kept, ended = self._figures(), time.monotonic()
                self._until = ended + max(MAX_AGE_S, (ended - started) / MAX_SHARE)
            kept = self._kept
        for figure in kept:
            family = GaugeMetricFamily(figure.name, figure.help, labels=[figure.label] if figure.label else [])
            for of, value in figure.values.items():
                family.add_metric([of] if figure.label else [], value)
            yield family
