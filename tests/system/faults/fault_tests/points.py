"""A process ends at each failpoint once, and no job is lost or done twice."""

import time
from collections.abc import Callable, Mapping
from types import MappingProxyType

from onward.jobs import dispatched
from tests.system.faults import failpoints
from tests.system.faults.failpoints import WHEN
from tests.system.faults.fault_tests.base import BACKGROUND, BOTH_ENDS, DRAMATIQ, ON_POSTGRESQL, FaultTest, Stage, soon
from tests.system.faults.installation import Installation
from tests.system.faults.process import Process, wait_for

CANCEL = "mutation($id: ID!) { r: cancelJob(input: {id: $id}) { job { id } errors { code } } }"
RETRY = "mutation($id: ID!) { r: retryJob(input: {id: $id}) { job { id } errors { code } } }"
SIGNAL = (
    'mutation($id: ID!, $payload: JSON!) { r: signalJob(input: {id: $id, name: "decision", payload: $payload})'
    " { job { id } errors { code message } } }"
)
RUNNERS = "SELECT DISTINCT runner FROM _ledger.jobs WHERE runner IS NOT NULL"
UNCONFIRMED = "SELECT id FROM _ledger.jobs WHERE status = 'RUNNING' OR (status = 'QUEUED' AND delivered_to IS NULL)"
WAIT_TIMEOUT_S = 20.0
Drive = Callable[[Installation], None]


def every_point_of_one_process_is_survived(stage: Stage) -> None:
    """The points lie before and after each commit, and around each effect and the answer."""
    installation = stage.make(apis=1)
    installation.deploy(concurrency=2)
    for point, drive in _points(IN_ONE_PROCESS):
        _visit(installation, installation.apis[0], point, drive)
    _restore(installation, installation.apis[0])


def every_point_of_a_neighbour_is_survived(stage: Stage) -> None:
    """The points lie where a process takes work over from another, or hands work over to it."""
    installation = stage.make(apis=2)
    installation.start()
    for point, drive in _points({"reclaim": _reclaim, "hand back": _hand_back}):
        _visit(installation, installation.apis[0], point, drive)
        if not installation.apis[1].alive:
            installation.apis[1].start()
    _restore(installation, installation.apis[0])


def every_point_of_a_delivery_is_survived(stage: Stage) -> None:
    """The points lie around the API's messages to Redis, and its records of them."""
    installation = stage.make(apis=1, workers=1)
    installation.start()
    for point, drive in _points({"message": _few, "confirm": _few, "invalidate": _forget}):
        _visit(installation, installation.apis[0], point, drive)
        if not installation.workers[0].alive:
            installation.workers[0].start()
    for point in (f"{when} of reroute" for when in WHEN):
        _reroute(installation, point)
    _restore(installation, installation.apis[0])


def every_point_of_a_worker_is_survived(stage: Stage) -> None:
    """The same points, where workers run the jobs."""
    installation = stage.make(apis=1, workers=1)
    installation.start()
    on_postgresql = installation.postgres is not None
    writes = {"outcome": _few} if on_postgresql else {"claim": _few, "step done": _few, "outcome": _few, "item": _few}
    for point, drive in _points(writes):
        _visit(installation, installation.workers[0], point, drive)
    _restore(installation, installation.workers[0])
    if on_postgresql:
        for point, drive in _points({"accept": _few}):
            _visit(installation, installation.apis[0], point, drive)
        _restore(installation, installation.apis[0])


def every_point_of_a_wait_is_survived(stage: Stage) -> None:
    """The points lie around a wait's begin, its end by its time, and its signal, which is not lost."""
    workers = int(stage.installation.combination.backend == "dramatiq")
    installation = stage.make(apis=1, workers=workers)
    installation.start()
    api, runner = installation.apis[0], installation.runners[0]
    for point, drive in _points({"outcome": _wait} if workers else {"outcome": _wait, "end wait": _wait}):
        _visit(installation, runner, point, drive)
    if workers:
        runner.faults = {}
        runner.start()
    for point, drive in _points({"signal": _signal}):
        _visit(installation, api, point, drive)
    _restore(installation, api)


def a_kill_between_the_chunks_of_a_step_loses_none_of_its_jobs(stage: Stage) -> None:
    """Before a chunk of them is committed and after it; those that are left become jobs after the restart."""
    _survive(stage, {"expand": _many_children})


def a_kill_at_a_failure_brings_its_job_once(stage: Stage) -> None:
    """Before the commit of the failure and after it: the handler in `on_failure` hears of each once."""
    installation = _survive(stage, {"outcome": _refused})
    notice = installation.ledger.rows("SELECT count(*) FROM _ledger.jobs WHERE handler = 'faults.notified'")
    assert notice[0][0] >= len(WHEN), "too few jobs have failed"


def _survive(stage: Stage, drives: Mapping[str, Drive]) -> Installation:
    """Kill the process that runs jobs at each point."""
    workers = int(stage.installation.combination.backend == "dramatiq")
    installation = stage.make(apis=1, workers=workers)
    installation.start()
    victim = installation.workers[0] if workers else installation.apis[0]
    for point, drive in _points(drives):
        _visit(installation, victim, point, drive)
    _restore(installation, victim)
    return installation


def a_kill_before_the_answer_leaves_one_unique_job(stage: Stage) -> None:
    """Callers without an answer ask again, without an idempotency key, and get the job if it was committed."""
    workers = int(stage.installation.combination.backend == "dramatiq")
    installation = stage.make(apis=1, workers=workers)
    installation.start()
    for point, drive in _points({"accept": _only, "answer": _only}):
        _visit(installation, installation.apis[0], point, drive)
    installation.apis[0].faults = {}
    installation.apis[0].start()
    there = {row.params["marker"] for row in installation.ledger.jobs().values() if row.handler == "faults.only"}
    for request in installation.client.requests:
        asked = request.kind.query, request.kind.variables(request.marker, None, request.params)
        first, again = installation.client.ask(*asked)["r"], installation.client.ask(*asked)["r"]
        assert (first["replayed"], again["replayed"]) == (request.marker in there, True)
        assert first["job"] == again["job"]
    assert 0 < len(there) < len(installation.client.requests), "no job was committed, or each was"
    installation.wait_for_jobs()
    installation.check()


def _points(drives: Mapping[str, Drive]) -> list[tuple[str, Drive]]:
    named = [
        (name, drive) for name in failpoints.names() for what, drive in drives.items() if name.endswith(f" {what}")
    ]
    return [
        (name, drive) for name, drive in named if ("commit" in name) == (_what(name) not in failpoints.WRAPPED_CALLS)
    ]


def _what(point: str) -> str:
    return point.partition(" of ")[2] or point.partition(" ")[2]


def _visit(installation: Installation, process: Process, point: str, drive: Drive) -> None:
    """Start the process with the point armed, and wait until it has died there."""
    if process.alive:
        process.kill()
    sent = len(installation.client.requests)
    # Its deaths are the harness's doing: after two of them a job would run in a child that knows of no point. Also
    # those of jobs that a neighbour has claimed meanwhile: it is killed next, and the third death is the job's end.
    installation.ledger.execute("UPDATE _ledger.jobs SET deaths = 0 WHERE status IN ('QUEUED', 'RUNNING')")
    process.faults = {failpoints.POINT: point, failpoints.VISITS: str(installation.folder / "visits")}
    process.start(wait=False)
    wait_for(lambda: process.is_ready or not process.alive, WAIT_TIMEOUT_S, f"{process.name} is up")
    if process.alive:  # jobs of the last point may have led it there already
        installation.client.timeout_s = 0.0  # the answer may be what is lost
        drive(installation)
        if drive is _few:
            _drive_on(installation, process)
        installation.client.timeout_s = 60.0
    wait_for(lambda: not process.alive, WAIT_TIMEOUT_S, f"{process.name} has reached {point}")
    installation.ends.add(process.pid, "itself")
    assert (installation.folder / "visits").read_text().splitlines()[-1] == point
    installation.unanswered += [request for request in installation.client.requests[sent:] if request.job is None]


def _restore(installation: Installation, process: Process) -> None:
    process.faults = {}
    process.start()
    installation.client.again(installation.unanswered)
    for request in installation.client.requests:
        if request.kind.name == "cancelled":
            installation.client.post(CANCEL, {"id": request.job})
        if request.kind.name == "waits":  # a signal that has come already changes nothing
            installation.client.post(SIGNAL, {"id": request.job, "payload": request.marker})
    installation.wait_for_jobs()
    installation.check()


def _few(installation: Installation) -> None:
    installation.client.send("processItem", 1)
    installation.client.send("steps", 1, params={"pause_s": 0.0, "children": 1})
    installation.client.send("sendNotification", 1)


def _family(installation: Installation) -> None:
    installation.client.send("steps", 2, params={"pause_s": 0.0, "children": 1})


def _wait(installation: Installation) -> None:
    installation.client.send("waits", 1)


def _signal(installation: Installation) -> None:
    """Signal a job before its wait has begun, or after: whatever comes first."""
    installation.client.timeout_s = 10.0
    (request,) = installation.client.send("waits", 1)
    installation.client.timeout_s = 0.0
    installation.client.post(SIGNAL, {"id": request.job, "payload": request.marker})


def _many_children(installation: Installation) -> None:
    installation.client.send("steps", 1, params={"pause_s": 0.0, "children": 2 * dispatched.CHUNK + 10})


def _refused(installation: Installation) -> None:
    installation.client.send("refuses", 2)


def _when_idle(installation: Installation) -> None:
    """Wait for a free slot, so that the request's own task claims the job, and not the claimer."""
    process = installation.apis[0]
    wait_for(
        lambda: installation.ledger.open() == 0 or not process.alive, WAIT_TIMEOUT_S, "what was left behind is done"
    )
    _few(installation)


def _only(installation: Installation) -> None:
    installation.client.send("only", 1, keyed=False)


def _register(installation: Installation) -> None:
    installation.client.send("registerUser", 1)


def _later(installation: Installation) -> None:
    installation.client.send("processItem", 1, params={"runAt": soon(1.0)})


def _crowd(installation: Installation) -> None:
    installation.client.send("steps", 8, params={"pause_s": 0.02}, lanes=8)


def _report(installation: Installation) -> None:
    installation.client.send("tells", 1)


def _cancel(installation: Installation) -> None:
    sent = installation.client.send("cancelled", 1, params={"runAt": soon(3600)})
    installation.client.post(CANCEL, {"id": sent[0].job})


def _retry(installation: Installation) -> None:
    sent = installation.client.send("refuses", 1)
    wait_for(lambda: installation.ledger.job(sent[0].job or "").status == "FAILED", WAIT_TIMEOUT_S, "it has failed")
    installation.client.post(RETRY, {"id": sent[0].job})


def _reclaim(installation: Installation) -> None:
    installation.client.send("steps", 12, params={"pause_s": 0.4})
    wait_for(lambda: len(installation.ledger.rows(RUNNERS)) > 1, WAIT_TIMEOUT_S, "both run jobs")
    installation.apis[1].kill()


def _hand_back(installation: Installation) -> None:
    installation.client.send("stuck", 2, params={"pause_s": 60.0})
    installation.apis[0].term()


def _drive_on(installation: Installation, process: Process) -> None:
    """Send more, for Redis may not have answered a busy process in time: then that of maintenance has delivered."""
    for _ in range(8):
        time.sleep(1.0)
        if not process.alive:
            return
        _few(installation)


def _forget(installation: Installation) -> None:
    """Make Redis lose the messages and keep everything else."""
    assert installation.broker is not None
    installation.workers[0].kill()
    installation.client.timeout_s = 10.0
    installation.client.send("processItem", 5)
    wait_for(lambda: not installation.ledger.rows(UNCONFIRMED), WAIT_TIMEOUT_S, "every delivery is confirmed")
    queue, until = f"{installation.settings.namespace}:jobs", time.monotonic() + WAIT_TIMEOUT_S
    with installation.broker.client() as client:
        while installation.apis[0].alive and time.monotonic() < until:
            client.delete(queue, f"{queue}.msgs")  # again: one that comes later, as of a retry, would be held
            time.sleep(0.2)


def _reroute(installation: Installation, point: str) -> None:
    """Change the backend in the settings while a job waits; the process dies when it notices."""
    process = installation.apis[0]
    if not process.alive:
        process.faults = {}
        process.start()
    installation.client.send("processItem", 2, params={"runAt": soon(4)})
    process.kill()
    installation.settings.backend = "background" if installation.settings.backend == "dramatiq" else "dramatiq"
    installation.settings.write(installation.folder)
    installation.workers[0].stop()
    _visit(installation, process, point, lambda _: None)
    if installation.settings.backend == "dramatiq":
        installation.workers[0].start()


IN_ONE_PROCESS: Mapping[str, Drive] = MappingProxyType(
    {
        "accept": _few,
        "register": _register,
        "remember": _few,
        "claim": _when_idle,
        "claim due": _crowd,
        "step done": _few,
        "report": _report,
        "outcome": _family,
        "promote": _later,
        "cancel": _cancel,
        "retry": _retry,
        "item": _few,
        "beat": _few,
        "mail": _register,
        "line": _few,
        "answer": _few,
    }
)
FAULT_TESTS = (
    FaultTest(every_point_of_one_process_is_survived, (BACKGROUND,), slow=True),
    FaultTest(every_point_of_a_neighbour_is_survived, (BACKGROUND,), slow=True),
    FaultTest(every_point_of_a_delivery_is_survived, (DRAMATIQ,), slow=True),
    FaultTest(every_point_of_a_worker_is_survived, (DRAMATIQ, ON_POSTGRESQL), slow=True),
    FaultTest(a_kill_before_the_answer_leaves_one_unique_job, BOTH_ENDS, slow=True),
    FaultTest(every_point_of_a_wait_is_survived, BOTH_ENDS, slow=True),
    FaultTest(a_kill_between_the_chunks_of_a_step_loses_none_of_its_jobs, BOTH_ENDS, quick=0),
    FaultTest(a_kill_at_a_failure_brings_its_job_once, BOTH_ENDS, slow=True),
)
