"""Slopes of what was sampled, and the verdict on each."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

HOUR_S = 3600.0
BLOCKS = 12  # samples next to each other are alike, so the slope's uncertainty is that of the means of so many blocks


@dataclass(frozen=True, slots=True)
class Bound:
    """The largest growth in an hour that is allowed.

    A `certain` bound is for what swings, like the number of open descriptors: it is broken by a growth that is above it
    and, at three times the slope's uncertainty, no accident of the swings.
    """

    per_hour: float
    certain: bool = False


@dataclass(frozen=True, slots=True)
class Verdict:
    """A line through the samples of one quantity."""

    name: str
    first: float  # of the line, at the first sample that counts
    last: float
    per_hour: float
    uncertainty: float
    bound: Bound
    samples: int

    @property
    def passed(self) -> bool:
        accident = self.bound.certain and self.per_hour < 3 * self.uncertainty
        return self.samples >= BLOCKS and (self.per_hour < self.bound.per_hour or accident)


def judge(name: str, samples: Sequence[tuple[float, float]], bound: Bound, *, since_s: float) -> Verdict:
    """Judge (seconds, value) samples from that second on, by the line of least squares."""
    counted = [sample for sample in samples if sample[0] >= since_s]
    if len(counted) < BLOCKS:
        return Verdict(name, 0.0, 0.0, 0.0, 0.0, bound, len(counted))
    at_first, slope = line(counted)
    blocks = [
        counted[n * len(counted) // BLOCKS : (n + 1) * len(counted) // BLOCKS] for n in range(BLOCKS)
    ]  # each has a sample at least
    means = [(fmean(at for at, _ in block), fmean(value for _, value in block)) for block in blocks]
    elapsed = counted[-1][0] - counted[0][0]
    return Verdict(
        name,
        at_first,
        at_first + slope * elapsed,
        slope * HOUR_S,
        _uncertainty(means) * HOUR_S,
        bound,
        len(counted),
    )


def line(samples: Sequence[tuple[float, float]]) -> tuple[float, float]:
    """Return the value at the first sample and the slope in a second, by least squares."""
    middle_at, middle = fmean(at for at, _ in samples), fmean(value for _, value in samples)
    spread = sum((at - middle_at) ** 2 for at, _ in samples)
    slope = sum((at - middle_at) * (value - middle) for at, value in samples) / spread
    return middle + slope * (samples[0][0] - middle_at), slope


def _uncertainty(means: Sequence[tuple[float, float]]) -> float:
    """Return the standard error of the slope through the blocks' means."""
    at_first, slope = line(means)
    began_s = means[0][0]
    rest = sum((value - at_first - slope * (at - began_s)) ** 2 for at, value in means)
    middle_at = fmean(at for at, _ in means)
    spread = sum((at - middle_at) ** 2 for at, _ in means)
    return float((rest / (len(means) - 2) / spread) ** 0.5)
