"""The judge of `python -m tests.system.soak`, and a short run of it."""

import os
import random
from collections import Counter

import pytest

from tests.servers import Missing
from tests.system.soak.__main__ import table
from tests.system.soak.audit import scraped
from tests.system.soak.judge import Bound, Verdict, judge
from tests.system.soak.soak import BOUNDS, COMBINATIONS, Report, run

MINUTES, SETTLE_S, RATE = 3.0, 75.0, 40.0
SHORT = {  # a process that has just begun to work still fills its caches; an object a job is above 100,000 an hour
    "resident, MB": Bound(400.0),
    "threads": Bound(200.0, certain=True),  # a pool starts a thread when it needs one more: they have ten in all
    "descriptors": Bound(400.0, certain=True),  # a reader opens three when it is first needed; a leak by job: 100,000
    "live objects of jobs": Bound(20_000.0, certain=True),
    "live objects": Bound(200_000.0, certain=True),
    "rows": Bound(20_000.0, certain=True),
    "size, MB": Bound(
        500.0, certain=True
    ),  # PostgreSQL uses the space of pruned rows again after its first autovacuums
}


def samples(
    per_hour: float, *, swing: float, at_first: float = 100.0, until_s: int = 1800
) -> list[tuple[float, float]]:
    """Return a sample each five seconds, of a quantity that begins to grow at once and swings at random."""
    chance = random.Random(7)
    return [
        (at, at_first + per_hour * at / 3600 + chance.uniform(-swing, swing)) for at in map(float, range(0, until_s, 5))
    ]


def verdict(name: str, values: list[tuple[float, float]], bounds: dict[str, Bound] = BOUNDS) -> Verdict:
    return judge(name, values, bounds[name], since_s=len(values) * 5 / 3)


@pytest.mark.parametrize(
    ("name", "per_hour", "swing"),
    [
        ("resident, MB", 6.0, 2.0),
        ("descriptors", 60.0, 15.0),
        ("threads", 12.0, 3.0),
        ("live objects of jobs", 3_000.0, 300.0),
        ("keys", 60.0, 5.0),
        ("rows", 20_000.0, 500.0),
    ],
)
def test_a_leak_is_found_under_swings_that_alone_are_allowed(name: str, per_hour: float, swing: float) -> None:
    leak = verdict(name, samples(per_hour, swing=swing))
    assert not leak.passed
    assert abs(leak.per_hour - per_hour) < 3 * leak.uncertainty + per_hour / 4
    assert verdict(name, samples(0, swing=swing)).passed


def test_a_growth_that_ends_before_the_tenth_minute_is_no_leak() -> None:
    warming = [(at, min(at, 600.0)) for at in map(float, range(0, 1800, 5))]
    assert judge("resident, MB", warming, BOUNDS["resident, MB"], since_s=600).passed
    assert not judge("resident, MB", warming, BOUNDS["resident, MB"], since_s=0).passed


def test_too_few_samples_prove_nothing() -> None:
    assert not judge("keys", [(float(at), 1.0) for at in range(11)], BOUNDS["keys"], since_s=0).passed


def test_the_short_run_finds_a_leak_of_one_object_a_job() -> None:
    jobs_each_hour = RATE * 3600 * 0.5  # fewer than there are
    short = [
        sample for sample in samples(jobs_each_hour, swing=500, until_s=int(MINUTES * 60)) if sample[0] >= SETTLE_S
    ]
    assert not judge("live objects of jobs", short, SHORT["live objects of jobs"], since_s=SETTLE_S).passed


def test_a_leak_or_a_wrong_count_fails_the_soak_and_stands_in_the_table() -> None:
    leak = verdict("keys", samples(60, swing=5))
    grown, miscounted = Report("background+sqlite", 30, [leak]), Report("background+sqlite", 30, wrong=["3 and 4"])
    assert not grown.passed
    assert "| keys |" in table(grown)
    assert "GROWS" in table(grown)
    assert not miscounted.passed
    assert "WRONG: 3 and 4" in table(miscounted)
    assert Report("background+sqlite", 30, [verdict("keys", samples(0, swing=5))]).passed


def test_metrics_of_all_processes_are_summed() -> None:
    api = 'onward_jobs_accepted_total{handler="soak.quick"} 3.0\nonward_jobs_accepted_total{handler="soak.leaf"} 0.0\n'
    worker = 'onward_jobs_finished_total{handler="soak.quick",status="SUCCEEDED"} 1.2e+06\n'
    counted = scraped([api, worker, worker])
    assert counted == Counter({("soak.quick", "accepted"): 3, ("soak.quick", "SUCCEEDED"): 2_400_000})


@pytest.mark.alone
@pytest.mark.long
@pytest.mark.timeout(600)
@pytest.mark.parametrize("combination", COMBINATIONS)
def test_three_minutes_of_mixed_load_leave_nothing_behind(combination: str) -> None:
    try:
        report = run(combination, minutes=MINUTES, settle_s=SETTLE_S, rate=RATE, bounds=SHORT)
    except Missing as missing:
        if os.environ.get("CI") == "true":
            raise
        pytest.skip(str(missing))
    assert report.passed, table(report)
    assert report.counts["pruned"] > 0
