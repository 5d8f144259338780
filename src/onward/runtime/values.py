"""Turns settings into the values that the parts of a process need."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Collection, Iterator, Mapping
from datetime import timedelta
from pathlib import Path

from onward.children import HandedDown
from onward.config import inherited
from onward.config.settings import Queue, Settings, SettingsError
from onward.dispatch.patterns import Patterns, Routes
from onward.dispatch.preparation import Preparation
from onward.findings import Finding, State
from onward.handlers.base import Handler, InvalidParameters
from onward.jobs.job_log import OFF
from onward.jobs.key_limits import Rule
from onward.jobs.limits import Limit, Rate
from onward.jobs.schedule_choices import ScheduleMissed, ScheduleOverlap
from onward.jobs.schedule_entry import BadRule, Entry
from onward.jobs.signal_urls import SignalUrls
from onward.jobs.timings import Timings
from onward.maintenance.cleaner import Retention
from onward.text.patterns import matches


def handed_down(settings: Settings, timings: Timings) -> HandedDown:
    """Return what a process of this one's jobs gets: the same settings, timings and import path."""
    environment = {
        **os.environ,
        **timings.environment(),
        "PYTHONPATH": os.pathsep.join(path or str(Path.cwd()) for path in sys.path),
        "ONWARD_PROJECT": str(settings.project),
    }
    return HandedDown(environment, inherited.encode(settings))


def signal_urls(settings: Settings) -> SignalUrls:
    """Return the maker and reader of signals' addresses."""
    server = settings.server
    host = f"[{server.host}]" if ":" in server.host else server.host
    base = settings.signals.url or f"http://{host}:{server.port}/signal"
    return SignalUrls([key.get_secret_value() for key in settings.signals.secret], base)


def log_level(settings: Settings) -> int:
    """Return the least level of log lines that are kept with their job; OFF for none."""
    level = settings.log.job_level
    return OFF if level == "off" else logging.getLevelNamesMapping()[level.upper()]


def routes(settings: Settings, handlers: Mapping[str, Handler]) -> Routes:
    """Return the destination of each handler's jobs."""
    queues = {name: queue.queue for name, queue in settings.queues.items()}
    return Routes(settings.backend, settings.routes, queues, {one.name: one.queue for one in handlers.values()})


def check_patterns(settings: Settings, handlers: Collection[str]) -> Iterator[Finding]:
    """Warn of tables in the settings for handlers that do not exist."""
    for table, patterns in (("routes", settings.routes), ("queues", settings.queues)):
        for pattern in patterns:
            if not any(matches(name, pattern) for name in handlers):
                words, fix = f"no handler is named {pattern}", f'correct {table}."{pattern}"'
                yield Finding("handlers", State.WARNING, words, fix)


def check_unique(settings: Settings, handlers: Mapping[str, Handler]) -> Iterator[Finding]:
    """Warn of handlers whose jobs are to be unique for longer than finished jobs are kept: a key goes with its job."""
    days = settings.retention.jobs_days
    for name, one in sorted(handlers.items()):
        within = None if one.unique is None else one.unique.within
        if days and within is not None and within > timedelta(days=days):
            wanted = f"{within / timedelta(days=1):g} days"
            words = f"{name} is unique within {wanted}, and finished jobs are kept for {days:g}"
            yield Finding("handlers", State.WARNING, words, "give retention.jobs_days more days, or a shorter within")


def priorities(settings: Settings) -> Patterns[int]:
    """Return each handler's priority as the ledger has it: smaller goes first."""
    return Patterns(0, {name: -queue.priority for name, queue in settings.queues.items()})


def limits(settings: Settings, handlers: Collection[str]) -> dict[str, Limit]:
    """Return each handler's limit, from the most specific table of the settings."""
    found = Patterns(Limit(), {name: _limit(queue) for name, queue in settings.queues.items()})
    return {handler: found(handler) for handler in handlers}


def key_limits(handlers: Mapping[str, Handler]) -> dict[str, Rule | None]:
    """Return each handler's limit by key. Raises SettingsError if two handlers disagree about one that they share."""
    found = {name: _rule(handler) for name, handler in handlers.items()}
    shared: dict[str, tuple[str, Rule]] = {}
    for name, rule in found.items():
        if rule is not None and shared.setdefault(rule.name, (name, rule))[1] != rule:
            places = f"{shared[rule.name][0]} and {name}"
            raise SettingsError(
                f"handlers.modules: the limit {rule.name} is not the same in {places}: give both the same Limit"
            )
    return found


def _rule(handler: Handler) -> Rule | None:
    limit = handler.limit
    if limit is None:
        return None
    rate = None if limit.rate is None else Rate.parsed(limit.rate)
    return Rule(limit.name or handler.name, Limit(limit.concurrency, rate))


def _limit(queue: Queue) -> Limit:
    return Limit(queue.concurrency, Rate.parsed(queue.rate) if queue.rate is not None else None)


def schedule_entries(settings: Settings, preparation: Preparation) -> dict[str, Entry]:
    """Return the recurring jobs by name, checked. Raises SettingsError."""
    entries = {}
    for name, given in settings.schedule.items():
        try:
            new = preparation.prepare(given.handler, given.params, owner=None)
            entries[name] = Entry.checked(
                name,
                new,
                given.cron,
                given.timezone,
                missed=ScheduleMissed.RUN_ONCE if given.missed == "once" else ScheduleMissed.SKIP,
                overlap=ScheduleOverlap(given.overlap.upper()),
            )
        except InvalidParameters as error:
            raise SettingsError(f"schedule.{name}: {error}") from error
        except BadRule as error:
            raise SettingsError(f"schedule.{name}.{error.key}: {error}") from error
    return entries


def retention(settings: Settings) -> Retention:
    keep = settings.retention
    return Retention(
        timedelta(days=keep.jobs_days) if keep.jobs_days else None,
        timedelta(days=keep.keys_days) if keep.keys_days else None,
    )
