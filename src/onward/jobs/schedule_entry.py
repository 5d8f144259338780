"""A recurring job: its cron expression in a time zone, and the choices about late and overlapping ticks."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from functools import lru_cache
from typing import NamedTuple
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError

from onward.jobs.model import NewJob, to_datetime, to_us
from onward.jobs.schedule_choices import ScheduleMissed, ScheduleOverlap

NOT_ZONES = frozenset(
    {"", "localtime", "posixrules", "Factory"}
)  # files of the database that mean another zone on each host
SECOND_US = 1_000_000
MINUTE_US = 60 * SECOND_US
MAX_LENGTH = 200  # of a cron expression, and of a time zone's name


class BadRule(ValueError):
    """An invalid rule; `key` is the setting that is wrong."""

    def __init__(self, key: str, message: str) -> None:
        super().__init__(message)
        self.key = key


class Entry(NamedTuple):
    """A recurring job, and its cron expression in a time zone."""

    name: str
    new: NewJob
    cron: str
    zone: ZoneInfo
    missed: ScheduleMissed = ScheduleMissed.RUN_ONCE
    overlap: ScheduleOverlap = ScheduleOverlap.ALLOW

    @classmethod
    def checked(
        cls,
        name: str,
        new: NewJob,
        cron: str,
        timezone: str,
        *,
        missed: ScheduleMissed = ScheduleMissed.RUN_ONCE,
        overlap: ScheduleOverlap = ScheduleOverlap.ALLOW,
    ) -> Entry:
        """Validate an entry. Raises BadRule."""
        for key, text in (("cron", cron), ("timezone", timezone)):
            if len(text) > MAX_LENGTH:  # before anything is computed of it
                raise BadRule(key, f"it must have at most {MAX_LENGTH} characters (got {len(text):,})")
        no_zone = BadRule("timezone", f"{timezone!r} is no time zone; use a name such as Europe/Berlin")
        if timezone in NOT_ZONES:
            raise no_zone
        try:
            zone = ZoneInfo(timezone)
        except (KeyError, ValueError, OSError) as error:
            raise no_zone from error
        entry = cls(name, new, cron, zone, missed, overlap)
        try:
            entry.next(0)
        except CronSimError as error:
            raise BadRule(
                "cron", f"{cron!r} is no cron expression ({error}); write one such as 30 7 * * MON-FRI"
            ) from error
        except StopIteration as error:
            raise BadRule("cron", f"{cron!r} matches no time; write one such as 30 7 * * MON-FRI") from error
        return entry

    @property
    def rule(self) -> str:
        return f"{self.cron} {self.zone.key}"

    def next(self, after: int) -> int:
        """Return the first tick after a time; both in microseconds."""
        return _next(self.cron, self.zone, after - after % SECOND_US)

    def newest(self, now: int) -> int:
        """Return the last tick that is not after a time; both in microseconds."""
        return _newest(self.cron, self.zone, now - now % SECOND_US)


@lru_cache(maxsize=1_024)  # a page of schedules is asked for again and again, and a rare tick takes long to find
def upcoming(cron: str, timezone: str, next_at: int, count: int) -> tuple[int, ...]:
    """Return the next tick and those after it, at most `count`; times in microseconds."""
    found = [next_at]
    while len(found) < count:
        try:
            found.append(_next(cron, ZoneInfo(timezone), found[-1]))
        except StopIteration:
            break
    return tuple(found)


# Ticks are whole seconds. Of many schedules that are due at once, most have one of a few rules.
@lru_cache(maxsize=1_024)
def _next(cron: str, zone: ZoneInfo, after: int) -> int:
    # In an hour that a clock change repeats, CronSim gives times of its first pass, which are over in the second one.
    return next(tick for tick in _ticks(cron, _local(zone, after - MINUTE_US)) if tick > after)


@lru_cache(maxsize=1_024)
def _newest(cron: str, zone: ZoneInfo, second: int) -> int:
    # Backwards, CronSim gives times strictly before a whole second. In the second pass of a repeated hour, all ticks of
    # the first one are over, those of later minutes, too.
    start = _local(zone, second + SECOND_US)
    repeated = to_us(start) - to_us(start.replace(fold=0))
    start = _local(zone, second + SECOND_US + repeated)
    return next(tick for tick in _ticks(cron, start, reverse=True) if tick <= second)


def _ticks(cron: str, start: datetime, *, reverse: bool = False) -> Iterator[int]:
    """Yield the ticks of the minutes after a time, or before it, in order; StopIteration, if there is none, passes.

    The seconds are put into the minutes here: CronSim follows the clock changes only for rules without seconds.
    """
    seconds = sorted(CronSim(cron, start).seconds, reverse=reverse)
    for minute in CronSim(" ".join(cron.split()[-5:]), start, reverse=reverse):
        yield from (to_us(minute) + second * SECOND_US for second in seconds)


def _local(zone: ZoneInfo, at: int) -> datetime:
    return to_datetime(at).astimezone(zone)
