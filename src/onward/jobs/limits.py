"""How many jobs of a handler may run at once, and how many may begin in a time."""

from __future__ import annotations

from dataclasses import dataclass

CLOCK_TOLERANCE_US = (
    60_000_000  # transactions are no older: one that waited for its turn has an earlier now than the one before
)
UNITS_US = {"s": 1_000_000, "m": 60_000_000, "h": 3_600_000_000, "d": 86_400_000_000}


@dataclass(frozen=True, slots=True)
class Rate:
    """At most `starts` in any time as long as the period; by the generic cell rate algorithm (ITU-T I.371).

    A tenth of them may begin at once, after a pause. The rest come evenly, so that no period sees more, wherever it
    begins: `burst` at once and one an interval after that are `starts` in a period.
    """

    starts: int
    period_us: int

    @classmethod
    def parsed(cls, text: str) -> Rate:
        """Such as 100/m, as the settings have checked it."""
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

    def ahead(self, even_at: int | None, now: int) -> int:
        """By how much starts are ahead of an even line, in microseconds; a clock that was set back holds up nobody."""
        most = self.burst * self.interval_us
        found = max((even_at or 0) - now, 0)
        return min(found, most) if found <= most + CLOCK_TOLERANCE_US else 0

    def free(self, even_at: int | None, now: int) -> int:
        """How many may begin now, where `even_at` is when the next one would in an even line."""
        return self.burst - -(-self.ahead(even_at, now) // self.interval_us)

    def after(self, even_at: int | None, now: int, started: int) -> int:
        """`even_at` once so many have begun."""
        return now + self.ahead(even_at, now) + started * self.interval_us

    def wait_us(self, even_at: int | None, now: int) -> int:
        """How long until one more may begin; 0 where one may."""
        return max(self.ahead(even_at, now) - (self.burst - 1) * self.interval_us, 0)


@dataclass(frozen=True, slots=True)
class Limit:
    """What is set for a handler; None does not limit."""

    concurrency: int | None = None
    rate: Rate | None = None
