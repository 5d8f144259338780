"""Base types of a benchmark: a row of the table, its measurements, its errors."""

from __future__ import annotations

import shutil
import statistics
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
PROJECT = Path(__file__).resolve().parent / "project"
RIVALS = Path(__file__).resolve().parent / "rivals"


class BenchError(Exception):
    """A measurement failed; the message says what to do."""


@dataclass(frozen=True)
class Scope:
    """The size of a measurement, and the folder for its files."""

    folder: Path
    quick: bool
    large: int | None = None  # the number of jobs in a large ledger, where it is not the usual one

    @property
    def rounds(self) -> int:
        """Return the number of rounds; contestants take turns."""
        return 2 if self.quick else 3

    @property
    def many_rounds(self) -> int:
        """Return the number of rounds for measurements that vary much, because they keep both cores busy."""
        return 2 if self.quick else 5

    def jobs(self, full: int) -> int:
        """Return the number of jobs to measure; `full` is the number of a whole measurement."""
        return max(full // 4, 100) if self.quick else full


@dataclass
class Measured:
    """One contestant's value of each round, and further figures."""

    name: str
    values: list[float] = field(default_factory=list)
    beside: dict[str, list[float]] = field(default_factory=dict)

    @property
    def median(self) -> float:
        return statistics.median(self.values)

    @property
    def spread(self) -> float:
        """Return half of the distance between the smallest and the largest value, as a share of the median."""
        return (max(self.values) - min(self.values)) / 2 / self.median if self.median else 0.0

    def add(self, value: float, **beside: float) -> None:
        self.values.append(value)
        for name, figure in beside.items():
            self.beside.setdefault(name, []).append(figure)


@dataclass
class Row:
    """A row of the table. `reach` is the target for the ratio, or for the value if there is no rival."""

    figure: str
    what: str
    unit: str
    ours: Measured
    rival: Measured | None = None
    reach: float | None = None
    at_least: bool = True
    generous: float | None = None  # `--quick` fails beyond it

    @property
    def ratio(self) -> float | None:
        """Return ours divided by the rival's: the median of the rounds' ratios, because a slow machine slows both."""
        if self.rival is None:
            return None
        return statistics.median(a / b for a, b in zip(self.ours.values, self.rival.values, strict=True) if b)

    @property
    def judged(self) -> float:
        return self.ours.median if self.ratio is None else self.ratio

    def holds(self, bound: float | None) -> bool:
        if bound is None:
            return True
        return self.judged >= bound if self.at_least else self.judged <= bound

    def as_json(self) -> dict[str, Any]:
        return {
            "figure": self.figure,
            "what": self.what,
            "unit": self.unit,
            "ours": self.ours.values,
            "ours_beside": self.ours.beside,
            "rival": self.rival and self.rival.name,
            "rival_values": self.rival and self.rival.values,
            "rival_beside": self.rival and self.rival.beside,
            "ratio": self.ratio,
            "reach": self.reach,
            "at_least": self.at_least,
            "reached": self.holds(self.reach),
        }


Take = Callable[[], Iterator[Row]]


def in_turn(rounds: int, contestants: Sequence[tuple[Measured, Callable[[Measured], None]]]) -> None:
    """Measure each contestant once a round, one after another, so that a slow minute is shared by all.

    Each second round goes backwards, so that what one leaves behind for the next, as writes of the disk, is shared too.
    """
    for number in range(rounds):
        for measured, take in contestants if number % 2 == 0 else reversed(contestants):
            take(measured)


def emptied(folder: Path) -> Path:
    """Create an empty folder there."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder
