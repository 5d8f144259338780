"""The final checks of flows, and their figures."""

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from tests.system.faults.flow_handlers import DEBOUNCE, IN_A_SECOND, NESTED, SLEPT, STREAMED
from tests.system.faults.journal import Line
from tests.system.faults.ledger import CLAIMED, OVER, Batch, Row
from tests.system.faults.records import HANDLERS, Records

COMMIT_S = 1.0  # from the write of a change until all others see it


def each_failure_brought_one_job(records: Records) -> Iterator[str]:
    """Check that each failure of a job whose handler has `on_failure` brought one job."""
    heard_of = {row.id for row in records.jobs.values() if row.handler in HANDLERS and HANDLERS[row.handler].on_failure}
    ends = (change for change in records.changes if change.new == "FAILED" != change.old)
    failed = Counter(change.job for change in ends if change.job in heard_of)
    notice = Counter(row.params["job_id"] for row in _of(records, "notified"))
    for job in failed | notice:
        if failed[job] != notice[job]:
            yield f"{job} failed {failed[job]} times, and brought {notice[job]} jobs"


def every_batch_is_followed_once(records: Records) -> Iterator[str]:
    """Check that each batch has all of its children once, and one job that follows them, as their ends want it."""
    followers: dict[int, Counter[str]] = defaultdict(Counter)
    for row in _of(records, "total", "stopped"):
        followers[row.params["marker"]][row.handler] += 1
    made: dict[str, list[Batch]] = defaultdict(list)
    for batch in records.batches:
        made[batch.job or ""].append(batch)
    jobs: dict[str, list[Row]] = defaultdict(list)
    for row in records.jobs.values():
        jobs[row.batch or ""].append(row)
    for row in _of(records, "batch"):
        if row.status != "SUCCEEDED":
            continue
        marker, batches = row.params["marker"], made[row.id]
        wanted = Counter[str]()
        for batch in batches:
            wanted[{"DONE": "faults.total", "STOPPED": "faults.stopped"}.get(batch.state, "")] += 1
        del wanted[""]
        there = followers[marker]
        if there != wanted or len(batches) != 1 + bool(row.params.get("nested")):
            said = f"{there['faults.total']} totals and {there['faults.stopped']} of a stop"
            yield f"the {len(batches)} batches of {marker} have {said}: {[batch.state for batch in batches]}"
        for batch in batches:
            nested = [one for one in batches if one.parent == batch.id]
            yield from _wrong(records, row, batch, jobs[batch.id], nested)


def _wrong(records: Records, root: Row, batch: Batch, jobs: list[Row], nested: list[Batch]) -> Iterator[str]:
    """Describe the mistakes of one batch."""
    children: dict[int, Any] = {}  # what the batch is told of each, by its place
    for one in nested:
        children[one.position or 0] = None  # unless a job has followed it, which is in its place then
    places = [row.position or 0 for row in jobs]
    children |= {row.position or 0: row.result for row in jobs}
    failed = sum(row.status == "FAILED" for row in jobs)
    failing, parts = root.params.get("failing", 0), root.params["parts"]
    if batch.parent is None:
        expected = parts + bool(root.params.get("nested"))
        stops = bool(root.params.get("stops")) and min(failing, parts) > 0
        if batch.state != ("STOPPED" if stops else "DONE") or (not stops and failed != min(failing, parts)):
            yield f"{batch.id} of {root.params} is {batch.state} with {failed} failures"
    else:
        expected = NESTED
    if not [*range(expected)] == [*range(batch.total)] == sorted(children) or len(set(places)) < len(places):
        yield f"{batch.id} of {root.params} has {batch.total} children, and jobs at {sorted(places)}"
    follower = records.jobs.get(batch.next_job or "")
    if follower is None:
        return
    if follower.status == "CANCELLED" and root.params.get("stops") and batch.parent is not None:
        pass  # it is a child of the batch around it, which a failure has stopped
    elif follower.status != "SUCCEEDED":
        yield f"{follower.id} has followed {batch.id}, and is {follower.status}"
    elif batch.state == "DONE" and follower.result != {"results": [children[n] for n in sorted(children)]}:
        yield f"the total of {batch.id} was given {follower.result}, and not {children}"
    if any(records.ended[row.id] > records.born[follower.id] for row in jobs):
        yield f"{follower.id} has followed {batch.id} before the end of its children"


def every_signal_was_heeded(records: Records) -> Iterator[str]:
    """Check that the first signal of each job was its decision, and that another one was refused."""
    first: dict[str, int] = {}
    for signal in records.signals:
        payload = first.setdefault(signal.job, signal.payload)
        if signal.codes != ([] if signal.payload == payload else ["CONFLICT"]):
            yield f"{signal.job} was told {signal.payload} after {payload}, and answered {signal.codes or 'as to one'}"
    for row in _of(records, "waits"):
        if row.id in first and row.result != {"decision": first[row.id]}:
            yield f"{row.id} was told {first[row.id]}, and has {row.result}"


def no_sleep_was_cut_short(records: Records) -> Iterator[str]:
    """Check that the step after a sleep began no sooner than it should."""
    moments: dict[tuple[str, int, str, str], float] = {}
    woken: dict[str, float] = {}
    for line in records.lines:
        moments[line.job, line.attempt, line.step, line.what] = line.at
        if (line.step, line.what) == ("second", "begin"):
            woken.setdefault(line.job, line.at)
    for row in _of(records, "waits"):
        attempts = (change.attempt for change in records.journeys[row.id] if change.finished == ("first",))
        slept_s = woken.get(row.id, math.inf) - moments.get((row.id, next(attempts, 0), "first", "end"), -math.inf)
        if slept_s < SLEPT.total_seconds():
            yield f"{row.id} slept for {slept_s:.3f} s"


def every_stream_is_whole(records: Records) -> Iterator[str]:
    """Check that output has no gap, that a step's last attempt is whole, and those before are its beginning."""
    offsets: dict[str, list[int]] = defaultdict(list)
    said: dict[tuple[str, str], dict[int, list[int]]] = defaultdict(lambda: defaultdict(list))
    for chunk in records.output:
        offsets[chunk.job].append(chunk.offset)
        said[chunk.job, chunk.data["step"]][chunk.attempt].append(chunk.data["n"])
        if chunk.step != chunk.data["step"]:
            yield f"{chunk.job} has emitted {chunk.data} in {chunk.step}"
    for row in _of(records, "streams"):
        if row.status != "SUCCEEDED":
            continue
        if offsets[row.id] != [*range(len(offsets[row.id]))]:
            yield f"{row.id} has its chunks at {offsets[row.id]}"
        for step in ("draft", "polish"):
            *cut, last = said[row.id, step].values() or [[]]
            if last != [*range(STREAMED)] or any(some != [*range(len(some))] for some in cut):
                yield f"{step} of {row.id} has emitted {[*cut, last]}"


def no_unique_job_had_a_second(records: Records) -> Iterator[str]:
    """Check that a name had one open job at a time, which was open to those who were given it."""
    holders: dict[str, set[str]] = defaultdict(set)
    for change in records.changes:
        row = records.jobs.get(change.job)
        if row is None or row.handler != "faults.sole":
            continue
        holding = holders[row.params["name"]]
        if change.new in OVER:
            holding.discard(change.job)
        else:
            holding.add(change.job)
        if len(holding) > 1:
            yield f"{row.params['name']} has {sorted(holding)} at once"
    for request in records.requests:
        row = records.jobs.get(request.job or "")
        if request.kind.shares and row is not None and row.params["marker"] != request.marker:
            over_at = max(change.at for change in records.journeys[row.id] if change.new in OVER)
            seen_at = over_at + COMMIT_S
            if any(end.how == "freeze" and over_at < end.at < seen_at for end in records.ends):
                continue  # perhaps between its write and its commit
            if row.params["name"] != request.params["name"] or seen_at < request.sent_at:
                yield f"{request.marker} was given {row.id}, which was over at {over_at:.3f}: {request}"


def no_debounced_job_came_too_soon(records: Records) -> Iterator[str]:
    """Check that one job of a name waits at a time, and each until nobody has asked for it, or its bound, is over."""
    waiting: dict[str, set[str]] = defaultdict(set)
    for change in records.changes:
        row = records.jobs.get(change.job)
        if row is None or row.handler != "faults.put_off":
            continue
        its = waiting[row.params["name"]]
        (its.add if change.new in ("SCHEDULED", "QUEUED") and not change.attempt else its.discard)(change.job)
        if len(its) > 1:
            yield f"{sorted(its)} of {row.params['name']} wait at once"
    for request in records.requests:
        row = records.jobs.get(request.job or "")
        if row is None or row.handler != "faults.put_off":
            continue
        born, *later = records.journeys[row.id]
        due_at = next((change.at for change in later if change.new == "QUEUED"), math.inf)
        earliest = min(request.sent_at + DEBOUNCE.total_seconds(), born.at + 10 * DEBOUNCE.total_seconds() - COMMIT_S)
        if request.answered_at < due_at < earliest:  # asked for while it was put off
            yield f"{row.id} was due at {due_at:.3f}, {earliest - due_at:.3f} s too soon for {request.marker}"


def no_key_began_more_often_than_its_rate(records: Records) -> Iterator[str]:
    """Check by the ledger's clock that no window of a second has more starts of a key than its rate."""
    starts: dict[str, list[int]] = defaultdict(list)
    for row in _of(records, "rated"):
        starts[row.params["customer"]] += [attempt[4] for attempt in row.attempts]
    for customer, found in starts.items():
        found.sort()
        for first_at, at in zip(found, found[IN_A_SECOND:], strict=False):
            if at - first_at < 1_000_000:
                yield f"{customer} has {IN_A_SECOND + 1} starts within {at - first_at} us, from {first_at} on"


def no_key_ran_more_than_its_limit(records: Records) -> Iterator[str]:
    """Check by the begins and the ends of its jobs that no key had more of them at once than its limit allows."""
    for name, handler in HANDLERS.items():
        if handler.limit is None or handler.limit.concurrency is None:
            continue
        moments: dict[tuple[Any, ...], list[tuple[float, int, str]]] = defaultdict(list)
        for line, until in _spans(records, name):
            key = tuple(records.jobs[line.job].params[one] for one in handler.limit.parameters)
            moments[key] += [(line.at, 1, line.job), (until, -1, line.job)]
        for key, found in moments.items():
            running = 0
            for at, step, job in sorted(found):
                running += step
                if running > handler.limit.concurrency:
                    yield f"{running} of {name} {key} ran at {at:.3f}, {job} the last of them"


def _spans(records: Records, handler: str) -> Iterator[tuple[Line, float]]:
    """Return the begin of each attempt of a handler's jobs, and the moment at which it ended or its process did."""
    jobs = {row.id for row in records.jobs.values() if row.handler == handler}
    lines = [line for line in records.lines if line.job in jobs]
    ended = {(line.job, line.attempt, line.pid): line.at for line in lines if line.what == "end"}
    died: dict[int, list[float]] = defaultdict(list)
    for end in records.ends:
        if end.how in ("kill", "freeze"):  # a frozen process may write its end much later, and has lost its claim then
            died[end.pid].append(end.at)
    for line in lines:
        if line.what == "begin":
            released_at = _released_at(records, line)
            until = min(
                ended.get((line.job, line.attempt, line.pid), math.inf),
                *(at for at in (*died[line.pid], math.inf) if at >= line.at),
            )
            if line.at <= released_at:  # or it was frozen between its claim and its begin
                yield line, until if until < math.inf else released_at


def _released_at(records: Records, line: Line) -> float:
    """Return the end of the claim of an attempt."""
    for change in records.journeys[line.job]:
        if change.attempt == line.attempt and change.old in CLAIMED and change.new not in CLAIMED:
            return change.at
    return math.inf


def no_expired_job_had_begun(records: Records) -> Iterator[str]:
    """Check that a job has either begun by its time, or is cancelled after it, without a trace."""
    began = {line.job for line in records.begins}
    for row in _of(records, "fleeting"):
        if row.expires_at is None or row.status not in OVER:
            yield f"{row.id} is {row.status}, and expires at {row.expires_at}"
        elif row.code == "EXPIRED":
            if row.id in began or row.attempts or (row.finished_at or 0) < row.expires_at:
                yield f"{row.id} has expired after {row.attempts}, at {row.finished_at} by {row.expires_at}"
        elif row.attempts[0][4] > row.expires_at:
            yield f"{row.id} began at {row.attempts[0][4]}, and had expired at {row.expires_at}"


def each_tick_is_one_job(records: Records) -> Iterator[str]:
    """Check that each tick of a schedule has one job, and each job its tick."""
    rows = [*_of(records, "tick")]
    for (name, at), n in Counter((row.params["schedule"], row.run_at) for row in rows).items():
        if n > 1:
            yield f"the tick of {name} at {at} has {n} jobs"
    made, recorded = {row.id for row in rows}, Counter(records.ticks)
    yield from (f"{job} is recorded for a tick, and is not in the ledger" for job in recorded.keys() - made)
    yield from (f"{job} belongs to no tick" for job in made - recorded.keys())
    yield from (f"{job} is recorded for {n} ticks" for job, n in recorded.items() if n > 1)


def counted(records: Records) -> dict[str, int]:
    """Return how much of each flow the records hold, for the table."""
    first = {signal.job: signal for signal in reversed(records.signals)}
    asked = [request for request in records.requests if request.kind.shares and request.job]
    return {
        "batches": len(records.batches),
        "of them in batches": sum(batch.parent is not None for batch in records.batches),
        "of them stopped": sum(batch.state == "STOPPED" for batch in records.batches),
        "children": sum(row.batch is not None for row in records.jobs.values()),
        "waits": len(first),
        "signalled early": sum(signal.early for signal in first.values()),
        "signalled twice": len(records.signals) - len(first),
        "chunks": len(records.output),
        "unique jobs": _count(records, "sole"),
        "asked for them": len(asked),
        "debounced": _count(records, "put_off"),
        "limited by key": _count(records, "keyed", "paired"),
        "limited by their rate": _count(records, "rated"),
        "may expire": _count(records, "fleeting"),
        "expired": sum(row.code == "EXPIRED" for row in records.jobs.values()),
        "failures told": _count(records, "notified"),
        "ticks": len(records.ticks),
    }


def _of(records: Records, *names: str) -> Iterable[Row]:
    """Return the jobs of these handlers."""
    return (row for row in records.jobs.values() if row.handler.removeprefix("faults.") in names)


def _count(records: Records, *names: str) -> int:
    return sum(1 for _ in _of(records, *names))


CHECKS: tuple[Callable[[Records], Iterator[str]], ...] = (
    each_failure_brought_one_job,
    every_batch_is_followed_once,
    every_signal_was_heeded,
    no_sleep_was_cut_short,
    every_stream_is_whole,
    no_unique_job_had_a_second,
    no_debounced_job_came_too_soon,
    no_key_ran_more_than_its_limit,
    no_key_began_more_often_than_its_rate,
    no_expired_job_had_begun,
    each_tick_is_one_job,
)
