"""A histogram of durations that merges: buckets whose bounds grow by one factor, as in DDSketch.

Masson, Rim and Lee, "DDSketch: a fast and fully-mergeable quantile sketch with relative-error guarantees", VLDB 2019.
A bucket's value is off by 5 % at most, from a tenth of a millisecond to 130 days; shorter times are off by 50
microseconds. To merge two histograms is to add their buckets, so it is exact, in any order.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping
from functools import lru_cache

import orjson

RELATIVE_ERROR = 0.05
LEAST_US = 100
GAMMA = (1 + RELATIVE_ERROR) / (1 - RELATIVE_ERROR)
BUCKETS = 256  # the last one holds all that is longer
# A console asks for the hours of a week, or the minutes of an hour, every few seconds: all but the last are over.
KEPT, KEPT_CHARACTERS = 600, 16_384  # decoded texts, and the longest of them
_LONGEST = tuple(int(LEAST_US * GAMMA**of) for of in range(BUCKETS - 1))  # microseconds, of each bucket but the last
Sketch = dict[int, int]
"""The number of durations in each bucket that has any."""


def bucket(us: int) -> int:
    """Return the bucket of a duration in microseconds."""
    return bisect_left(_LONGEST, us)


def seconds(of: int) -> float:
    """Return the duration that a bucket stands for."""
    us = LEAST_US / 2 if of == 0 else LEAST_US * 2 * GAMMA**of / (GAMMA + 1)
    return us / 1_000_000


def merge(into: Sketch, other: Mapping[int, int]) -> None:
    """Add the other histogram to the first one."""
    for of, n in other.items():
        into[of] = into.get(of, 0) + n


def percentiles(sketch: Mapping[int, int]) -> dict[str, float | None]:
    """Return the durations in seconds that 50, 95 and 99 of a hundred do not exceed; None for an empty histogram."""
    found: dict[str, float | None] = {"p50": None, "p95": None, "p99": None}
    total, seen = sum(sketch.values()), 0
    ranks = [(name, -(-int(name[1:]) * total // 100)) for name in found]
    for of in sorted(sketch):
        seen += sketch[of]
        while ranks and ranks[0][1] <= seen:
            found[ranks.pop(0)[0]] = seconds(of)
    return found


def encode(sketch: Mapping[int, int]) -> str:
    """Return the histogram as a JSON array: a bucket, its number, the next bucket, and so on."""
    return orjson.dumps([value for pair in sorted(sketch.items()) for value in pair]).decode()


def merge_encoded(into: Sketch, texts: str, *, kept: bool = False) -> None:
    """Add the histograms that `encode` wrote, one behind the other; `kept` if they are asked for again and again."""
    decode = _kept if kept and len(texts) <= KEPT_CHARACTERS else _decoded
    merge(into, decode(texts))


def _decoded(texts: str) -> Mapping[int, int]:
    flat = orjson.loads(texts.replace("[]", "").replace("][", ",") or "[]")
    found: Sketch = {}
    for of, n in zip(flat[::2], flat[1::2], strict=True):
        found[of] = found.get(of, 0) + n
    return found


_kept = lru_cache(KEPT)(_decoded)
