"""The final checks of a campaign: compare promises, ledger and effects, and report violations."""

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator

from onward.jobs.states import MOVES, JobStatus
from tests.system.faults import flow_checks
from tests.system.faults.client import Request
from tests.system.faults.ledger import CLAIMED, OVER, Row
from tests.system.faults.records import Records

UNASKED = ("leaf", "tick", "notified", "part", "total", "stopped")  # nobody sends jobs of these
SHOWN = 5  # of each kind of violation
COUNTED = {"SUCCEEDED": "succeeded", "FAILED": "failed", "CANCELLED": "cancelled", "RETRYING": "retried"}
LOST = ("LEASE_LOST", "POISON")  # error codes of claims of dead processes


def violations(records: Records) -> list[str]:
    """Describe the broken promises; empty if all were kept."""
    found = []
    for check in CHECKS:
        broken = list(check(records))
        found += [f"{check.__name__}: {words}" for words in broken[:SHOWN]]
        if len(broken) > SHOWN:
            found.append(f"{check.__name__}: and {len(broken) - SHOWN} more")
    return found


def every_promised_job_is_in_the_ledger(records: Records) -> Iterator[str]:
    """Check that every job id of an answer is in the ledger, and that the job is over."""
    for request in records.requests:
        if request.job is not None and request.job not in records.jobs:
            yield f"{request.job} was promised, and is not in the ledger"
    for row in records.jobs.values():
        if row.status not in OVER:
            yield f"{row.id} ({row.handler}) is {row.status}"


def each_request_has_one_job(records: Records) -> Iterator[str]:
    """Check that a request has one job, however often it was sent, and that no job lacks a request."""
    made: dict[str, list[str]] = defaultdict(list)
    children = {child for row in records.jobs.values() for child in (row.result or {}).get("children", ())}
    for row in records.jobs.values():
        if row.id not in children and row.handler.removeprefix("faults.") not in UNASKED:
            made[_name(row)].append(row.id)
    for request in records.requests:
        name = f"{request.kind.handler} {request.marker}"
        jobs = made.pop(name, [])
        if len(jobs) > 1:
            yield f"{name} has {len(jobs)} jobs"
        if request.job is not None and jobs != ([] if _is_anothers(request, records) else [request.job]):
            yield f"{name} was given {request.job}, and the ledger has {jobs}"
        if request.second not in (None, request.job):
            yield f"{name} was given {request.job} and {request.second}"
        if request.job is None and not request.unsure and jobs:
            yield f"{name} was refused {request.refused}, and the ledger has {jobs}"
        if request.job is None and request.key is not None:
            yield f"{name} was never answered: {request.refused[-3:]}, {request.unanswered} lost"
    yield from (f"nobody asked for {name}" for name in made)


def _is_anothers(request: Request, records: Records) -> bool:
    """True if a request for a unique job was given the job of another one; a check of its own looks at that."""
    row = records.jobs.get(request.job or "")
    return request.kind.shares and row is not None and row.params["marker"] != request.marker


def _name(row: Row) -> str:
    params = row.params
    marker = params.get("marker")
    if marker is None:
        text = params.get("item") or params.get("message") or params["username"].replace("user", "marker ")
        marker = text.split(" ")[1]
    return f"{row.handler} {marker}"


def every_job_has_ended_as_expected(records: Records) -> Iterator[str]:
    """Check that faults do not change a job's outcome."""
    for request in records.requests:
        row = records.jobs.get(request.job or "")
        expected = [(request.kind.status, request.kind.code), *[("CANCELLED", "EXPIRED")] * request.kind.expires]
        if row is not None and row.status in OVER and (row.status, row.code) not in expected:
            yield f"{row.id} ({row.handler}) is {row.status} {row.code}, not {request.kind.status} {request.kind.code}"


def each_run_has_one_end(records: Records) -> Iterator[str]:
    """Check that each run of a job has exactly one terminal change, as counted by the database."""
    ends = Counter(
        (change.job, change.run) for change in records.changes if change.new in OVER and change.old != change.new
    )
    for row in records.jobs.values():
        for run in range(1, row.run + 1):
            if ends[row.id, run] != 1 and row.status in OVER:
                yield f"run {run} of {row.id} ({row.handler}) ended {ends[row.id, run]} times"


def every_move_is_legal(records: Records) -> Iterator[str]:
    """Check that each move is legal, that each visible one raises the version by one, and that none follows an end."""
    for change in records.changes:
        if change.old == change.new and change.old in OVER:
            yield f"{change.job} was changed after it was {change.old}"
        if change.old and change.old != change.new and JobStatus(change.new) not in MOVES[JobStatus(change.old)]:
            yield f"{change.job} went from {change.old} to {change.new}"
        if change.version != 1:
            yield f"{change.job} went {change.version} versions at once, from {change.old} to {change.new}"


def every_job_has_its_effect(records: Records) -> Iterator[str]:
    """Check that each job that succeeded has its effect."""
    written: dict[str, set[str]] = defaultdict(set)
    for line in records.lines:
        if line.what == "end":
            written[line.job].add(line.step)
    kinds = {request.job: request.kind for request in records.requests}
    for row in records.jobs.values():
        if row.status != "SUCCEEDED":
            continue
        there = True
        match row.handler:
            case "email.welcome":
                there = records.messages[row.id] >= 1
            case "logging.write":
                there = records.notifications[row.id] >= 1
            case "steps.process_item":
                there = row.id in records.items
            case _ if row.id in kinds:
                there = set(kinds[row.id].steps) <= written[row.id]
        if not there:
            yield f"{row.id} ({row.handler}) succeeded without its effect"


def no_effect_lacks_its_job(records: Records) -> Iterator[str]:
    """Check that each effect belongs to a job in the ledger."""
    done = {*records.messages, *records.notifications, *records.items, *(line.job for line in records.lines)}
    yield from (f"something was done for {job}, which is not in the ledger" for job in done - records.jobs.keys())


def each_attempt_has_one_runner(records: Records) -> Iterator[str]:
    """Check that an attempt runs in one process, and begins a step once."""
    seen: Counter[tuple[str, int, str]] = Counter()
    pids: dict[tuple[str, int], set[int]] = defaultdict(set)
    for line in records.begins:
        seen[line.job, line.attempt, line.step] += 1
        pids[line.job, line.attempt].add(line.pid)
    yield from (f"{step} of {job} began {n} times in attempt {a}" for (job, a, step), n in seen.items() if n > 1)
    yield from (f"attempt {a} of {job} ran in {sorted(found)}" for (job, a), found in pids.items() if len(found) > 1)


def no_finished_step_ran_again(records: Records) -> Iterator[str]:
    """Check that a step with a committed end does not begin in a later attempt of the same run."""
    for line in records.begins:
        for change in records.journeys[line.job]:
            if change.finished and line.step in change.finished and change.attempt < line.attempt:
                row = records.jobs.get(line.job)
                if row is None or row.run == 1:
                    yield f"{line.step} of {line.job} had finished in attempt {change.attempt}, began in {line.attempt}"
                break


def only_steps_in_progress_ran_twice(records: Records) -> Iterator[str]:
    """Check that a step begins again only after a crash, a hand-back or an error."""
    attempts: dict[tuple[str, str], list[int]] = defaultdict(list)
    for line in records.begins:
        attempts[line.job, line.step].append(line.attempt)
    for (job, step), numbers in attempts.items():
        row = records.jobs.get(job)
        if row is None or len(numbers) == 1:
            continue
        by_number = {attempt[0]: attempt for attempt in row.attempts}
        for number in sorted(numbers)[:-1]:
            attempt = by_number.get(number)
            if attempt is None or (attempt[1] and not attempt[6]):
                yield f"{step} of {job} began in attempts {numbers}, and {number} had not been cut off: {attempt}"
    for job, n in (records.notifications + Counter()).items():
        row = records.jobs.get(job)
        if row is not None and n > len(row.attempts):
            yield f"{job} has {n} lines after {len(row.attempts)} attempts"


def no_live_process_was_declared_dead(records: Records) -> Iterator[str]:
    """Check that every lost claim belonged to a process that was dead or frozen by then."""
    ended: dict[int, float] = {}
    for end in records.ends:
        # When one ended by itself, the harness found out later.
        ended[end.pid] = min(ended.get(end.pid, math.inf), 0.0 if end.how == "itself" else end.at)
    killers = {line.pid for line in records.begins if line.step in ("dies", "eats")}
    for row in records.jobs.values():
        for attempt in row.attempts:
            lost = attempt[6] and attempt[6]["code"] in LOST
            pid = int(attempt[3].rpartition(":")[2])
            if lost and pid not in killers and not ended.get(pid, math.inf) <= _over_at(records, row, attempt[0]):
                yield f"{row.id} lost its claim in process {pid}, which was alive"


def _over_at(records: Records, row: Row, attempt: int) -> float:
    """Return the end of the attempt's claim, by the machine's clock."""
    for change in records.journeys[row.id]:
        if change.attempt == attempt and change.old in CLAIMED and change.new not in CLAIMED:
            return change.at
    return 0.0


def crashes_and_shutdowns_count_against_no_job(records: Records) -> Iterator[str]:
    """Check that lost and returned claims count as no attempts."""
    for row in records.jobs.values():
        for attempt in row.attempts[:-1]:
            if row.run == 1 and attempt[1] and not attempt[6]:  # neither an error nor the end: it was handed back
                yield f"{row.id} was charged for attempt {attempt[0]}, which was handed back"
        for attempt in row.attempts:
            if attempt[6] and attempt[6]["code"] in (*LOST, "HANDED_BACK") and attempt[1]:
                yield f"{row.id} was charged for attempt {attempt[0]}: {attempt[6]['code']}"


def children_came_with_their_parents(records: Records) -> Iterator[str]:
    """Check that the dispatched jobs of a job exist exactly if it succeeded, each once."""
    leaves = {row.id for row in records.jobs.values() if row.handler == "faults.leaf"}
    parents = [row for row in records.jobs.values() if row.handler == "faults.steps" and row.status == "SUCCEEDED"]
    children = [child for row in parents for child in row.result["children"]]
    yield from (f"{child} was dispatched, and is not in the ledger" for child in set(children) - leaves)
    yield from (f"{leaf} was dispatched by nobody who succeeded" for leaf in leaves - set(children))
    yield from (f"{child} was dispatched {n} times" for child, n in Counter(children).items() if n > 1)


def the_history_has_every_move(records: Records) -> Iterator[str]:
    """Check that the history agrees with the rows and their changes, to the job."""
    expected: Counter[tuple[str, str]] = Counter()
    for row in records.jobs.values():
        expected[row.handler, "started"] += row.attempt
    for change in records.changes:
        name = COUNTED.get(change.new) if change.old else "enqueued"
        if name is not None and change.old != change.new and change.job in records.jobs:
            expected[records.jobs[change.job].handler, name] += 1
    for handler, name in sorted(expected.keys() | records.history.keys()):
        found, rows = records.history[handler, name], expected[handler, name]
        if found != rows:
            yield f"{found} jobs of {handler} are counted as {name}, and the rows have {rows}"


def every_user_has_a_job(records: Records) -> Iterator[str]:
    """Check that each user has a job, and each such job a user."""
    jobs = {row.params["username"] for row in records.jobs.values() if row.handler == "email.welcome"}
    yield from (f"{name} registered, and has no job" for name in records.users - jobs)
    yield from (f"{name} has a job, and is no user" for name in jobs - records.users)


CHECKS: tuple[Callable[[Records], Iterator[str]], ...] = (
    every_promised_job_is_in_the_ledger,
    each_request_has_one_job,
    every_job_has_ended_as_expected,
    each_run_has_one_end,
    every_move_is_legal,
    every_job_has_its_effect,
    no_effect_lacks_its_job,
    each_attempt_has_one_runner,
    no_finished_step_ran_again,
    only_steps_in_progress_ran_twice,
    no_live_process_was_declared_dead,
    crashes_and_shutdowns_count_against_no_job,
    children_came_with_their_parents,
    the_history_has_every_move,
    every_user_has_a_job,
    *flow_checks.CHECKS,
)
