"""A process ends at each of the named points once, and nothing is lost or done twice for it."""

from collections.abc import Callable, Mapping
from types import MappingProxyType

from tests.system.faults import failpoints
from tests.system.faults.failpoints import WHEN
from tests.system.faults.laws.base import BACKGROUND, DRAMATIQ, ON_POSTGRESQL, Law, Stage, soon
from tests.system.faults.process import Process, wait_for
from tests.system.faults.site import Site

CANCEL = "mutation($id: ID!) { r: cancelJob(input: {id: $id}) { job { id } errors { code } } }"
RETRY = "mutation($id: ID!) { r: retryJob(input: {id: $id}) { job { id } errors { code } } }"
RUNNERS = "SELECT DISTINCT runner FROM jobs WHERE runner IS NOT NULL"
UNCONFIRMED = "SELECT id FROM jobs WHERE status = 'RUNNING' OR (status = 'QUEUED' AND delivered_to IS NULL)"
PATIENCE_S = 20.0
Drive = Callable[[Site], None]


def every_point_of_one_process_is_survived(stage: Stage) -> None:
    """Before each commit and after it, and around each effect and the answer."""
    site = stage.make(apis=1)
    site.deploy(concurrency=2)
    for point, drive in _points(IN_ONE_PROCESS):
        _visit(site, site.apis[0], point, drive)
    _whole_again(site, site.apis[0])


def every_point_of_a_neighbour_is_survived(stage: Stage) -> None:
    """Those at which a process takes over from another, or hands over to it."""
    site = stage.make(apis=2)
    site.start()
    for point, drive in _points({"bury": _bury, "hand back": _hand_back}):
        _visit(site, site.apis[0], point, drive)
        if not site.apis[1].alive:
            site.apis[1].start()
    _whole_again(site, site.apis[0])


def every_point_of_a_delivery_is_survived(stage: Stage) -> None:
    """Around what the API puts into Redis, and what it writes down of that."""
    site = stage.make(apis=1, workers=1)
    site.start()
    for point, drive in _points({"message": _few, "confirm": _few, "doubt": _forget}):
        _visit(site, site.apis[0], point, drive)
        if not site.workers[0].alive:
            site.workers[0].start()
    for point in (f"{when} of reroute" for when in WHEN):
        _reroute(site, point)
    _whole_again(site, site.apis[0])


def every_point_of_a_worker_is_survived(stage: Stage) -> None:
    """Likewise where workers run the jobs."""
    site = stage.make(apis=1, workers=1)
    site.start()
    on_postgresql = site.postgres is not None
    writes = {"settle": _few} if on_postgresql else {"claim": _few, "step done": _few, "settle": _few, "item": _few}
    for point, drive in _points(writes):
        _visit(site, site.workers[0], point, drive)
    _whole_again(site, site.workers[0])
    if on_postgresql:
        for point, drive in _points({"accept": _few}):
            _visit(site, site.apis[0], point, drive)
        _whole_again(site, site.apis[0])


def _points(drives: Mapping[str, Drive]) -> list[tuple[str, Drive]]:
    named = [
        (name, drive) for name in failpoints.names() for what, drive in drives.items() if name.endswith(f" {what}")
    ]
    return [(name, drive) for name, drive in named if ("commit" in name) == (_what(name) not in failpoints.AROUND)]


def _what(point: str) -> str:
    return point.partition(" of ")[2] or point.partition(" ")[2]


def _visit(site: Site, process: Process, point: str, drive: Drive) -> None:
    """The process has been started with the point armed, has reached it, and lies dead."""
    if process.alive:
        process.kill()
    sent = len(site.client.requests)
    # Its deaths are the harness's doing: after two of them a job would run in a child that knows of no point. Also
    # those of jobs that a neighbour has claimed meanwhile: it is killed next, and the third death is the job's end.
    site.ledger.execute("UPDATE jobs SET deaths = 0 WHERE status IN ('QUEUED', 'RUNNING')")
    process.faults = {failpoints.POINT: point, failpoints.VISITS: str(site.folder / "visits")}
    process.start(wait=False)
    wait_for(lambda: process.is_ready or not process.alive, PATIENCE_S, f"{process.name} is up")
    if process.alive:  # what the last one left behind may have led it there already
        site.client.patience_s = 0.0  # the answer may be what is lost
        drive(site)
        site.client.patience_s = 60.0
    wait_for(lambda: not process.alive, PATIENCE_S, f"{process.name} has reached {point}")
    site.ends.add(process.pid, "itself")
    assert (site.folder / "visits").read_text().splitlines()[-1] == point
    site.unanswered += [request for request in site.client.requests[sent:] if request.job is None]


def _whole_again(site: Site, process: Process) -> None:
    process.faults = {}
    process.start()
    site.client.again(site.unanswered)
    for request in site.client.requests:
        if request.kind.name == "cancelled":
            site.client.post(CANCEL, {"id": request.job})
    site.settle()
    site.check()


def _few(site: Site) -> None:
    site.client.send("processItem", 1)
    site.client.send("steps", 1, params={"pause_s": 0.0, "children": 1})
    site.client.send("sendNotification", 1)


def _when_idle(site: Site) -> None:
    """A slot is free: the request's own task claims the job, and not who looks for work."""
    process = site.apis[0]
    wait_for(lambda: site.ledger.open() == 0 or not process.alive, PATIENCE_S, "what was left behind is done")
    _few(site)


def _register(site: Site) -> None:
    site.client.send("registerUser", 1)


def _later(site: Site) -> None:
    site.client.send("processItem", 1, params={"runAt": soon(1.0)})


def _crowd(site: Site) -> None:
    site.client.send("steps", 8, params={"pause_s": 0.02}, lanes=8)


def _tell(site: Site) -> None:
    site.client.send("tells", 1)


def _cancel(site: Site) -> None:
    sent = site.client.send("cancelled", 1, params={"runAt": soon(3600)})
    site.client.post(CANCEL, {"id": sent[0].job})


def _retry(site: Site) -> None:
    sent = site.client.send("refuses", 1)
    wait_for(lambda: site.ledger.job(sent[0].job or "").status == "FAILED", PATIENCE_S, "it has failed")
    site.client.post(RETRY, {"id": sent[0].job})


def _bury(site: Site) -> None:
    site.client.send("steps", 12, params={"pause_s": 0.4})
    wait_for(lambda: len(site.ledger.rows(RUNNERS)) > 1, PATIENCE_S, "both run jobs")
    site.apis[1].kill()


def _hand_back(site: Site) -> None:
    site.client.send("stuck", 2, params={"pause_s": 60.0})
    site.apis[0].term()


def _forget(site: Site) -> None:
    """Redis has lost the messages and kept everything else."""
    assert site.broker is not None
    site.workers[0].kill()
    site.client.patience_s = 10.0
    site.client.send("processItem", 5)
    wait_for(lambda: not site.ledger.rows(UNCONFIRMED), PATIENCE_S, "every delivery is confirmed")
    with site.broker.client() as client:
        client.delete(f"{site.settings.namespace}:jobs", f"{site.settings.namespace}:jobs.msgs")


def _reroute(site: Site, point: str) -> None:
    """The backend of the settings has changed while a job waited; the process dies as it sees that."""
    process = site.apis[0]
    if not process.alive:
        process.faults = {}
        process.start()
    site.client.send("processItem", 2, params={"runAt": soon(4)})
    process.kill()
    site.settings.backend = "background" if site.settings.backend == "dramatiq" else "dramatiq"
    site.settings.write(site.folder)
    site.workers[0].stop()
    _visit(site, process, point, lambda _: None)
    if site.settings.backend == "dramatiq":
        site.workers[0].start()


IN_ONE_PROCESS: Mapping[str, Drive] = MappingProxyType(
    {
        "accept": _few,
        "register": _register,
        "remember": _few,
        "claim": _when_idle,
        "claim due": _crowd,
        "step done": _few,
        "report": _tell,
        "settle": _few,
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
LAWS = (
    Law(every_point_of_one_process_is_survived, (BACKGROUND,)),
    Law(every_point_of_a_neighbour_is_survived, (BACKGROUND,)),
    Law(every_point_of_a_delivery_is_survived, (DRAMATIQ,)),
    Law(every_point_of_a_worker_is_survived, (DRAMATIQ, ON_POSTGRESQL)),
)
