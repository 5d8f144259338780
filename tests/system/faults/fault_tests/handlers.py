"""Handlers that misbehave or are missing."""

from dataclasses import replace

from tests.system.faults.client import Request
from tests.system.faults.fault_tests.base import EVERYWHERE, ON_SQLITE, FaultTest, Stage, is_lost, soon
from tests.system.faults.fault_tests.deploys import LEADER
from tests.system.faults.installation import HANDLERS
from tests.system.faults.mutation_kinds import KINDS
from tests.system.faults.process import wait_for

MAX_CRASHES = 4  # the third is the job's own, unless its watcher is killed at the same moment
RETRY = "mutation($id: ID!) { r: retryJob(input: {id: $id}) { job { id } errors { code } } }"


def bad_handlers_fail_with_a_reason(stage: Stage) -> None:
    """Handlers raise, hang, ignore stops, return no JSON or call sys.exit; other jobs are not affected."""
    client = stage.installation.client
    for name in ("raises", "refuses", "hangs", "unjson", "leaves"):
        client.send(name, 2)
    client.send("stuck", 1, params={"pause_s": 8.0})
    neighbours = client.send("steps", 10, params={"pause_s": 0.1})
    stage.installation.wait_for_jobs()
    rows = stage.installation.ledger.jobs()
    assert all(len(rows[request.job or ""].attempts) == 1 for request in neighbours), "a neighbour was disturbed"


def a_blocked_event_loop_keeps_its_lease(stage: Stage) -> None:
    """The loop is blocked for eight seconds, longer than a lease, and no process declares this one dead."""
    ledger = stage.installation.ledger
    (sent,) = stage.installation.client.send("blocks", 1, params={"pause_s": 8.0})
    wait_for(lambda: not ledger.open() or ledger.job(sent.job or "").attempt > 1, 30, "the job is over")
    assert ledger.job(sent.job or "").attempt == 1


def a_leader_with_a_blocked_event_loop_resigns(stage: Stage) -> None:
    """The loop of the leading process is blocked for 20 seconds; another process leads, and runs a delayed job."""
    installation = stage.make(apis=2)
    ledger = installation.ledger
    for api in installation.apis:
        api.start()  # the first one leads, and gets the first request
    (blocking,) = installation.client.send("blocks", 1, params={"pause_s": 20.0})
    wait_for(lambda: ledger.job(blocking.job or "").status == "RUNNING", 15, "the loop is blocked")
    holder = f"SELECT runner FROM _ledger.jobs WHERE id = '{blocking.job}'"
    assert ledger.rows(holder) == ledger.rows(LEADER)
    (delayed,) = installation.client.send("steps", 1, params={"pause_s": 0.1, "runAt": soon(1.0)})
    wait_for(lambda: ledger.job(delayed.job or "").attempt == 1, 15, "the delayed job begins")
    assert ledger.job(blocking.job or "").status == "RUNNING"
    installation.wait_for_jobs()
    installation.check()


def a_held_interpreter_lock_costs_no_second_run(stage: Stage) -> None:
    """No thread of the process runs for ten seconds, longer than a lease; the job's first outcome counts."""
    ledger = stage.installation.ledger
    (sent,) = stage.installation.client.send("holds", 1, params={"pause_s": 10.0})
    wait_for(lambda: not ledger.open() or ledger.job(sent.job or "").attempt > 1, 30, "the job is over")
    row = ledger.job(sent.job or "")
    assert (row.attempt, row.status) == (1, "SUCCEEDED")


def a_job_that_kills_its_process_is_poison(stage: Stage) -> None:
    """The job is FAILED after the third crash, and can be retried after a fix. Other jobs are charged no crash."""
    installation = stage.installation
    installation.broken.touch()
    with installation.tended():
        installation.client.send("steps", 6, params={"pause_s": 0.3})
        killers = [*installation.client.send("dies", 1), *installation.client.send("eats", 1)]
        installation.wait_for_jobs()
    rows = installation.ledger.jobs()
    assert [rows[killer.job or ""].code for killer in killers] == ["POISON", "POISON"]
    for killer in killers:
        died = sum(is_lost(attempt) for attempt in rows[killer.job or ""].attempts)
        assert died <= MAX_CRASHES, f"{killer.kind.name} died {died} times"
    installation.broken.unlink()
    _run_after_fix(stage, killers)


def _run_after_fix(stage: Stage, requests: list[Request]) -> None:
    """Retry the jobs after the fix, and wait for their success."""
    for request in requests:
        request.kind = replace(request.kind, status="SUCCEEDED", code=None)
        assert stage.installation.client.ask(RETRY, {"id": request.job})["r"]["errors"] == []
    wait_for(lambda: stage.installation.ledger.open() == 0, 30, "they have run again")


def jobs_unknown_to_a_release_fail_with_a_reason(stage: Stage) -> None:
    """A missing handler and changed parameters give FAILED with the fix, and the job can be retried after it."""
    installation = stage.installation
    at = soon(4.0)
    gone = installation.client.send("refuses", 2, params={"runAt": at})
    changed = installation.client.send("flaky", 2, params={"times": 0, "runAt": at})
    installation.deploy(handlers=("tests.system.faults.next_release",))
    installation.wait_for_jobs()
    rows = installation.ledger.jobs()
    found = {rows[request.job or ""].code for request in gone}, {rows[request.job or ""].code for request in changed}
    assert found == ({"HANDLER_MISSING"}, {"INVALID_PARAMETERS"})
    installation.deploy(handlers=HANDLERS)
    _run_after_fix(stage, changed)
    for request in gone:
        request.kind = KINDS["refuses"]
        assert installation.client.ask(RETRY, {"id": request.job})["r"]["errors"] == []


FAULT_TESTS = (
    FaultTest(bad_handlers_fail_with_a_reason, EVERYWHERE, slow=True),
    FaultTest(a_blocked_event_loop_keeps_its_lease, ON_SQLITE, slow=True),
    FaultTest(a_leader_with_a_blocked_event_loop_resigns, ("background+sqlite",), slow=True),
    FaultTest(a_held_interpreter_lock_costs_no_second_run, ON_SQLITE, slow=True),
    FaultTest(a_job_that_kills_its_process_is_poison, ON_SQLITE, slow=True),
    FaultTest(jobs_unknown_to_a_release_fail_with_a_reason, ON_SQLITE, slow=True),
)
