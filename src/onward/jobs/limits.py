"""Limits of a handler: how many of its jobs may run at once, and how many may start in a time."""

from __future__ import annotations

from typing import NamedTuple

CLOCK_TOLERANCE_US = 60_000_000  # by so much a transaction that waited may have an earlier `now` than one before it
UNITS_US = {"s": 1_000_000, "m": 60_000_000, "h": 3_600_000_000, "d": 86_400_000_000}
LONGEST_US = UNITS_US["d"]


class Rate(NamedTuple):
    """At most `starts` in any time as long as the period; by the generic cell rate algorithm (ITU-T I.371).

    A tenth of them may start at once, after a pause. The rest come evenly, so that no period sees more, wherever it
    begins: `burst` at once and one an interval after that are `starts` in a period.
    """

    starts: int
    period_us: int

    @classmethod
    def parsed(cls, text: str) -> Rate:
        """Parse a rate such as 100/m, which the settings have validated."""
        starts, unit = text.split("/")
        return cls(int(starts), UNITS_US[unit])

    def __str__(self) -> str:
        return f"{self.starts}/{next(unit for unit, us in UNITS_US.items() if us == self.period_us)}"

    @property
    def burst(self) -> int:
        return max(self.starts // 10, 1)

    @property
    def interval_us(self) -> int:
        return -(-self.period_us // (self.starts - self.burst + 1))

    def ahead(self, arrival: int | None, now: int) -> int:
        """Return the microseconds by which starts are ahead of an even rate; 0 if the clock was set back."""
        most = self.burst * self.interval_us
        found = max((arrival or 0) - now, 0)
        return min(found, most) if found <= most + CLOCK_TOLERANCE_US else 0

    def free(self, arrival: int | None, now: int) -> int:
        """Return the number that may start now; `arrival` is the theoretical arrival of the next one."""
        return self.burst - -(-self.ahead(arrival, now) // self.interval_us)

    def after(self, arrival: int | None, now: int, started: int) -> int:
        """Return the theoretical arrival after that many starts."""
        return now + self.ahead(arrival, now) + started * self.interval_us

    def wait_us(self, arrival: int | None, now: int) -> int:
        """Return the microseconds until one more may start; 0 if one may now."""
        return self.wait_beside_us(arrival, now, 0) or 0

    def wait_beside_us(self, arrival: int | None, now: int, reserved: int) -> int | None:
        """Return the same for one more than the reserved starts; None if one of those has to begin first."""
        if reserved >= self.burst:
            return None
        return max(self.ahead(arrival, now) - (self.burst - 1 - reserved) * self.interval_us, 0)


class Limit(NamedTuple):
    """The limits of a handler; None does not limit."""

    concurrency: int | None = None
    rate: Rate | None = None
