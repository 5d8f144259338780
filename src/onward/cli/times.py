"""Times that a command's option gives."""

from __future__ import annotations

import re
from datetime import datetime

from onward.cli.job_text import plain
from onward.jobs.model import to_datetime, to_us
from onward.jobs.stats_step import DAY_US, HOUR_US, MINUTE_US

AGE = re.compile(r"(\d{1,6})([mhd])", re.ASCII)
UNITS_US = {"m": MINUTE_US, "h": HOUR_US, "d": DAY_US}


def span_of(options: str, begin: str | None, end: str | None, now: int) -> tuple[int | None, int | None]:
    """Return the bounds, both exclusive, of a time from `begin` on to before `end`.

    `options` is the first part of the names of the two options. Raises ValueError.
    """
    first, last = (None if text is None else time_of(text, now) for text in (begin, end))
    if first is not None and last is not None and first > last:
        raise ValueError(
            f"--{options}from must be earlier than --{options}to (got {plain(begin or '')} and {plain(end or '')})"
        )
    return None if first is None else first - 1, last


def time_of(text: str, now: int) -> int:
    """Return a time in microseconds: one with its zone, or an age. Raises ValueError."""
    if (age := AGE.fullmatch(text)) is not None:
        at = now - int(age[1]) * UNITS_US[age[2]]
    else:
        try:
            found = datetime.fromisoformat(text)
        except ValueError:
            found = None
        if found is None or found.tzinfo is None:
            raise ValueError(
                "a time must have its zone, as in 2030-01-31T09:00:00+01:00, or be an age such as 90m or 7d"
                f" (got {plain(text)})"
            )
        at = to_us(found)
    try:
        to_datetime(at)  # it may be shown
    except OverflowError:
        raise ValueError(f"a time must be in the years 1 to 9999 of UTC (got {plain(text)})") from None
    return at
