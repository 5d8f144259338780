"""SIGKILL, and a runner that is declared dead and wakes up."""

import time
from collections import Counter

from tests.system.faults import fault_injection, records
from tests.system.faults.fault_tests.base import (
    BACKGROUND,
    BOTH_ENDS,
    EVERYWHERE,
    ON_REDIS,
    FaultTest,
    Stage,
    is_lost,
    load,
    upon_an_answer,
)
from tests.system.faults.figures import rescues
from tests.system.faults.flows import change_schedule
from tests.system.faults.installation import Installation
from tests.system.faults.ledger import CLAIMED
from tests.system.faults.outages import frozen_between_writes
from tests.system.faults.process import wait_for

FROZEN_S = 9.0  # longer than a lease
QUEUES = "ONWARD_WORKER__QUEUES"
QUEUED = "handler = 'faults.steps'"
OPEN = "status NOT IN ('SUCCEEDED', 'FAILED', 'CANCELLED')"


def accepted_jobs_outlive_the_api(stage: Stage) -> None:
    """The API may be killed any number of times under load; a repeated request with its key gets one job."""
    with load(stage.installation, 60) as sent:
        stage.pause(0.4, 0.9)
        fault_injection.kill_api(stage.installation, stage.chance)
        stage.pause(0.4, 0.9)
        upon_an_answer(stage.installation)
        for process in stage.installation.apis:  # all at once, so that one of them is about to commit
            process.kill()
        for process in stage.installation.apis:
            process.start(wait=False)
        for process in stage.installation.apis:
            process.wait_ready()
        stage.pause(0.2, 0.4)
    assert any(request.unanswered for request in sent), "no answer was ever lost"


def jobs_of_killed_workers_go_on_within_15_s(stage: Stage) -> None:
    """Running jobs are claimed again, and resume at the interrupted step."""
    installation = stage.installation
    crashes = len(installation.ends.all)
    for _ in range(2):
        installation.client.send("steps", 12, params={"pause_s": 0.5, "children": 1})
        stage.pause(0.2, 0.6)
        fault_injection.kill_busy_worker(installation, stage.chance, "faults.steps")
    installation.wait_for_jobs()
    found = records.read(
        installation.folder, installation.ledger, installation.client.requests, installation.ends.all[crashes:]
    )
    rescued = list(rescues(found, ()))
    assert rescued, "nothing was in progress when it was killed"
    assert max(rescued).took_s < installation.rescue_s


def many_jobs_of_two_crashes_go_on_within_15_s(stage: Stage) -> None:
    """Each runs in a process with no other job then, without a wait for as many starts."""
    installation = stage.installation
    victim, *others = installation.runners
    for process in others:
        process.stop()
    installation.client.send("steps", 40, params={"pause_s": 0.7}, lanes=40)
    for crashes in range(2):
        wait_for(lambda least=crashes: _running(installation, least) >= 4, 20, "jobs are in progress")  # type: ignore[misc]
        victim.kill()
        if not crashes:
            victim.start()
    died = time.time()
    for process in (victim, *others):
        process.start()
    installation.wait_for_jobs()
    twice = {
        id_ for id_, row in installation.ledger.jobs().items() if sum(is_lost(attempt) for attempt in row.attempts) == 2
    }
    claims = {change.job: change.at for change in installation.ledger.changes() if change.new == "RUNNING"}
    assert len(twice) >= 4, "too few died twice"
    assert max(claims[job] for job in twice) - died < installation.rescue_s


def _running(installation: Installation, crashes: int) -> int:
    return _count(installation, f"status = 'RUNNING' AND deaths >= {crashes}")


def _count(installation: Installation, where: str) -> int:
    return int(installation.ledger.rows(f"SELECT count(*) FROM _ledger.jobs WHERE {where}")[0][0])


def each_batch_is_followed_once_through_kills(stage: Stage) -> None:
    """Of some hundred jobs in batches none is lost, and what follows runs once, with all results."""
    installation = stage.installation
    sent = installation.client.send("batch", 3, params={"parts": 120})
    for _ in range(2):
        stage.pause(0.4, 0.8)
        fault_injection.kill_worker(installation, stage.chance)
    ids = {request.job for request in sent}
    assert ids & {id_ for id_, row in installation.ledger.jobs().items() if row.status == "SUCCEEDED"}
    wait_for(lambda: _totals(installation) >= len(sent), 60, "every batch is followed")


def _totals(installation: Installation) -> int:
    sql = "SELECT count(*) FROM _ledger.jobs WHERE handler = 'faults.total' AND status = 'SUCCEEDED'"
    return int(installation.ledger.rows(sql)[0][0])


def messages_of_killed_workers_are_delivered_within_15_s(stage: Stage) -> None:
    """Among them are messages that the worker had fetched and not claimed."""
    installation = stage.installation
    sent = installation.client.send("steps", 40, params={"pause_s": 0.5}, lanes=40)
    stage.pause(0.3, 0.5)
    victim = installation.workers[0]
    waiting = installation.ledger.open()
    died = time.time()
    victim.kill()
    assert waiting > 20, "nothing was waiting in the worker"
    wait_for(
        lambda: _all_claimed(stage, {request.job for request in sent}),
        installation.rescue_s + 10,
        "every job is claimed",
    )
    claims = [change.at for change in installation.ledger.changes() if change.new == "RUNNING"]
    victim.start()
    assert max(claims) - died < installation.rescue_s


def _all_claimed(stage: Stage, jobs: set[str | None]) -> bool:
    return not any(row.started_at is None for id_, row in stage.installation.ledger.jobs().items() if id_ in jobs)


def each_tick_of_killed_schedulers_is_one_job(stage: Stage) -> None:
    """Whichever process leads is killed, while schedules are paused, resumed, deleted and made again."""
    installation = stage.installation
    names = [f"every-second-{n}" for n in range(12)]
    for name in names:
        change_schedule(installation.client, "createSchedule", name)
    for process in (*installation.processes, *installation.apis):
        before = len(_ticks(installation))
        wait_for(lambda least=before + 12: len(_ticks(installation)) > least, 30, "ticks go on")  # type: ignore[misc]
        process.kill()
        process.start()
        name = stage.chance.choice(names)
        change_schedule(installation.client, "pauseSchedule", name)
        change_schedule(installation.client, "resumeSchedule", name)
        change_schedule(installation.client, "deleteSchedule", name)
        change_schedule(installation.client, "createSchedule", name)
    newest = {name: _newest(installation, name) for name in names}
    for name in names:
        change_schedule(installation.client, "pauseSchedule", name)
    ticks = _ticks(installation)
    twice = {tick for tick, n in Counter(ticks).items() if n > 1}
    assert not twice, f"ticks with two jobs: {sorted(twice)[:5]}"
    jobs = installation.ledger.jobs()
    assert all(job is None or job in jobs for job in newest.values()), "a tick is recorded without its job"


def _ticks(installation: Installation) -> list[tuple[str, int]]:
    sql = "SELECT params, run_at FROM _ledger.jobs WHERE handler = 'faults.tick'"
    return [(str(params), int(at)) for params, at in installation.ledger.rows(sql)]


def _newest(installation: Installation, name: str) -> str | None:
    sql = f"SELECT last_job FROM _ledger.schedules WHERE name = '{name}'"
    return installation.ledger.rows(sql)[0][0]  # type: ignore[no-any-return]


def jobs_of_a_queue_go_on_only_where_it_is_taken(stage: Stage) -> None:
    """The only process that takes it is killed in the middle: its jobs wait for another one, and hold up no others."""
    installation = stage.installation
    taking, other = installation.runners
    taking.environment[QUEUES], other.environment[QUEUES] = "gpu", "default"
    installation.deploy(queues={"faults.steps": "gpu"})
    pids = {taking.pid}
    sent = installation.client.send("steps", 12, params={"pause_s": 0.4})
    wait_for(lambda: bool(_count(installation, f"{QUEUED} AND status = 'RUNNING'")), 10, "a job of the queue runs")
    stage.pause(0.2, 0.4)
    taking.kill()
    with load(installation, 40, {"processItem": 4.0, "flaky": 1.0}):
        wait_for(
            lambda: not _count(installation, f"{QUEUED} AND status = 'RUNNING'"), installation.rescue_s, "a rescue"
        )
        stage.pause(0.5, 1.0)
    wait_for(lambda: not _count(installation, f"NOT {QUEUED} AND {OPEN}"), 60, "every other job is over")
    assert _count(installation, f"{QUEUED} AND {OPEN}"), "no job of the queue was left"
    taking.start()
    pids.add(taking.pid)
    installation.wait_for_jobs()
    rows = installation.ledger.jobs()
    ran = {int(attempt[3].rpartition(":")[2]) for request in sent for attempt in rows[str(request.job)].attempts}
    assert ran == pids, "another process ran a job of the queue"
    for process in (taking, other):
        del process.environment[QUEUES]
    installation.deploy(queues={})


def the_late_result_of_a_frozen_runner_is_refused(stage: Stage) -> None:
    """The runner is frozen for longer than its lease, and finds its job done by another when it wakes."""
    installation = stage.installation
    victim, others = installation.runners[0], installation.runners[1:]
    crashes = len(installation.ends.all)
    installation.client.send("steps", 24, params={"pause_s": 0.4})
    stage.pause(0.3, 0.5)
    with frozen_between_writes(installation, victim):
        wait_for(lambda: installation.ledger.open() == 0, FROZEN_S + 12, "others have done its jobs")
    wait_for(lambda: "claim lost" in victim.output(), 10, "the frozen process hears of it")
    assert all(process.alive for process in (victim, *others))
    found = records.read(
        installation.folder, installation.ledger, installation.client.requests, installation.ends.all[crashes:]
    )
    assert max(rescues(found, ())).took_s < installation.rescue_s
    assert all("claim lost" not in process.output() for process in others)


def no_key_has_more_claims_than_its_limit_when_workers_are_killed(stage: Stage) -> None:
    """The place of a killed worker's job goes on with it: one job of each customer has a claim, and all run."""
    installation = stage.installation
    customers: dict[str | None, str] = {}
    for _ in range(2):
        for customer in ("ann", "ben", "eve"):
            sent = installation.client.send("keyed", 4, params={"customer": customer, "pause_s": 0.3})
            customers |= {request.job: customer for request in sent}
        stage.pause(0.2, 0.5)
        fault_injection.kill_busy_worker(installation, stage.chance, "faults.keyed")
    installation.wait_for_jobs()
    claims: Counter[str] = Counter()
    most: Counter[str] = Counter()
    for change in installation.ledger.changes():
        if change.job not in customers:
            continue  # the kill took its answer along
        customer = customers[change.job]
        claims[customer] += (change.new in CLAIMED) - (change.old in CLAIMED)
        most[customer] = max(most[customer], claims[customer])
    assert set(most.values()) == {1}, f"so many jobs of a customer had claims at once: {dict(most)}"
    rows = installation.ledger.jobs().values()
    assert any(is_lost(attempt) for row in rows for attempt in row.attempts), (
        "nothing was in progress when it was killed"
    )


FAULT_TESTS = (
    FaultTest(accepted_jobs_outlive_the_api, BOTH_ENDS),
    FaultTest(jobs_of_killed_workers_go_on_within_15_s, BOTH_ENDS, quick=2, slow=True),
    FaultTest(many_jobs_of_two_crashes_go_on_within_15_s, (BACKGROUND,), slow=True),
    FaultTest(each_batch_is_followed_once_through_kills, BOTH_ENDS, slow=True),
    FaultTest(messages_of_killed_workers_are_delivered_within_15_s, ON_REDIS, slow=True),
    FaultTest(each_tick_of_killed_schedulers_is_one_job, BOTH_ENDS, quick=2, slow=True),
    FaultTest(jobs_of_a_queue_go_on_only_where_it_is_taken, BOTH_ENDS, slow=True),
    FaultTest(no_key_has_more_claims_than_its_limit_when_workers_are_killed, BOTH_ENDS, slow=True),
    FaultTest(the_late_result_of_a_frozen_runner_is_refused, EVERYWHERE, slow=True),
)
