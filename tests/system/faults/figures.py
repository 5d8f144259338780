"""The figures of a campaign."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from tests.system.faults import flow_checks
from tests.system.faults.final_checks import SHOWN
from tests.system.faults.installation import Outage
from tests.system.faults.process import RESCUE_S
from tests.system.faults.records import Records

ABOUT_REDIS = "redis", "replies"
INTERRUPTED = ("first", "second", "third", "leaf", "draft", "polish", "part", "total", "sole", "keyed", "paired")


@dataclass(slots=True)
class Figures:
    """One line of the table, and more detail in JSON."""

    combination: str
    seed: int
    minutes: float
    rate: float
    jobs: int = 0
    answers: int = 0
    unanswered: int = 0  # tries whose answer was lost
    unavailable: int = 0
    faults: dict[str, int] = field(default_factory=dict)
    lost: int = 0
    steps_run_twice: int = 0  # in progress at a crash, or handed back
    effects_twice: int = 0
    finished_run_again: int = 0
    claims_lost: int = 0
    rescue_max_s: float = 0.0
    rescue_p95_s: float = 0.0
    delivery_after_outage_max_s: float = 0.0
    answer_p50_ms: float = 0.0
    answer_p99_ms: float = 0.0
    answer_p99_ms_without_redis: float = 0.0
    flows: dict[str, int] = field(default_factory=dict)
    breaches: list[str] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def count(figures: Figures, records: Records, outages: Sequence[Outage], violations: Sequence[str]) -> None:
    """Add the figures of the records and the broken promises."""
    requests = records.requests
    figures.jobs = len(records.jobs)
    figures.answers = sum(request.job is not None for request in requests)
    figures.unanswered = sum(request.unanswered for request in requests)
    figures.unavailable = sum(request.refused.count("UNAVAILABLE") for request in requests)
    figures.breaches = list(violations)
    figures.lost = sum(words.startswith("every_promised_job") for words in violations)
    figures.finished_run_again = sum(words.startswith("no_finished_step") for words in violations)
    figures.flows = flow_checks.counted(records)
    started = Counter((line.job, line.step) for line in records.begins if line.step in INTERRUPTED)
    figures.steps_run_twice = sum(n - 1 for n in started.values())
    figures.effects_twice = sum(n - 1 for n in records.notifications.values())
    found = sorted(rescues(records, outages))
    figures.breaches += nobody_waits_long_for_a_rescue(found[-SHOWN:])
    took = [one.took_s for one in found]
    figures.claims_lost = len(found)
    figures.rescue_max_s, figures.rescue_p95_s = at(took, 1.0), at(took, 0.95)
    figures.delivery_after_outage_max_s = max(deliveries_after(records, outages), default=0.0)
    usual = [request.took_s * 1000 for request in requests if request.job and not _during(request.answered_at, outages)]
    without = [
        request.took_s * 1000
        for request in requests
        if request.job and _during(request.answered_at, [one for one in outages if one.what.startswith(ABOUT_REDIS)])
    ]
    figures.answer_p50_ms, figures.answer_p99_ms = at(sorted(usual), 0.5), at(sorted(usual), 0.99)
    figures.answer_p99_ms_without_redis = at(sorted(without), 0.99)


@dataclass(frozen=True, slots=True, order=True)
class Rescue:
    """A span from the death of a process to the next claim of a job that it ran."""

    took_s: float
    job: str
    attempt: int  # the one that was cut off
    died: float


def rescues(records: Records, outages: Sequence[Outage]) -> Iterable[Rescue]:
    """Return one rescue for each lost claim, without time in which broker or ledger was away."""
    crashes: dict[int, list[float]] = defaultdict(list)
    for end in records.ends:
        crashes[end.pid].append(end.at)
    for row in records.jobs.values():
        claims = {c.attempt: c.at for c in records.journeys[row.id] if (c.old, c.new) == ("QUEUED", "RUNNING")}
        for number, _, _, worker, _, finished, error in row.attempts:
            if not error or error["code"] != "LEASE_LOST" or number + 1 not in claims:
                continue
            died = [at for at in crashes[int(worker.rpartition(":")[2])] if at <= finished / 1e6 + 0.1]
            if died:
                since, until = max(died), claims[number + 1]
                later = max([since, *(o.ended for o in outages if o.started < until and o.ended > since)])
                yield Rescue(max(until - later, 0.0), row.id, number, since)


def nobody_waits_long_for_a_rescue(found: Iterable[Rescue]) -> Iterable[str]:
    """Check that jobs of dead processes go on elsewhere within the promised time."""
    for one in found:
        if one.took_s > RESCUE_S:
            when = f"the process of its attempt {one.attempt} died at {one.died:.1f}"
            yield f"nobody_waits_long_for_a_rescue: {one.job} was claimed again after {one.took_s:.1f} s; {when}"


def deliveries_after(records: Records, outages: Sequence[Outage]) -> Iterable[float]:
    """Return, for each job accepted in an outage of Redis, the seconds from its end to the first claim."""
    births = {c.job: c.at for c in records.changes if not c.old and c.new == "QUEUED"}
    claims: dict[str, float] = {}
    for change in records.changes:
        if change.new == "RUNNING":
            claims.setdefault(change.job, change.at)
    for outage in outages:
        if outage.what.startswith(ABOUT_REDIS):
            for job, at_ in births.items():
                if outage.started < at_ < outage.ended and job in claims:
                    later = [o for o in outages if outage.ended < o.ended and o.started < claims[job]]
                    yield max(claims[job] - max(o.ended for o in (outage, *later)), 0.0)


def at(ordered: Sequence[float], share: float) -> float:
    """Return the quantile at that share."""
    return ordered[min(int(len(ordered) * share), len(ordered) - 1)] if ordered else 0.0


def _during(moment: float, outages: Sequence[Outage]) -> bool:
    return any(outage.started <= moment <= outage.ended for outage in outages)
