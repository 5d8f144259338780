"""A process ends at each of the named points once, and nothing is lost or done twice for it."""

from collections.abc import Callable, Mapping
from types import MappingProxyType

from tests.faults import failpoints
from tests.faults.laws.base import BACKGROUND, ON_REDIS, Law, Stage, soon
from tests.faults.process import Process, wait_for
from tests.faults.site import Site

CANCEL = "mutation($id: ID!) { r: cancelJob(input: {id: $id}) { job { id } errors { code } } }"
RETRY = "mutation($id: ID!) { r: retryJob(input: {id: $id}) { job { id } errors { code } } }"
IN_THE_API = ("accept", "register", "remember", "claim", "step done", "settle", "promote", "item", "beat", "claim due")


def _accept(site: Site) -> None:
    site.client.send("registerUser", 1, lanes=1)
    site.client.send("steps", 1, params={"pause_s": 0.0, "children": 1})
    site.client.send("processItem", 2)
    site.client.send("sendNotification", 1)


def _later(site: Site) -> None:
    site.client.send("flaky", 1, params={"times": 1})
    site.client.send("processItem", 2, params={"runAt": soon(0.2)})


def _crowd(site: Site) -> None:
    site.client.send("steps", 40, params={"pause_s": 0.05}, lanes=20)


VISITS: Mapping[str, Callable[[Site], None]] = MappingProxyType({"promote": _later, "claim due": _crowd})


def _visited(site: Site, process: Process, point: str) -> None:
    """The process was started with the point armed, has reached it and died there; it is started again without."""
    process.stop()
    process.faults = {failpoints.POINT: point, failpoints.VISITS: str(site.folder / "visits")}
    process.start()
    process.faults = {}
    site.client.patience_s = 0.0  # the answer may be what is lost
    what = point.rpartition(" of ")[2]
    sent = len(site.client.requests)
    VISITS.get(what, _accept)(site)
    wait_for(lambda: not process.alive, 15, f"{process.name} has reached {point}")
    process.tend()
    site.client.patience_s = 60.0
    site.client.again([request for request in site.client.requests[sent:] if request.job is None])
    assert (site.folder / "visits").read_text().splitlines()[-1] == point


def every_point_of_the_api_is_survived(stage: Stage) -> None:
    """Before each commit, after it, and around the answer."""
    site = stage.make(apis=1)
    site.start()
    for point in (*_commits(IN_THE_API), "before answer", "after answer", "after mail", "before line", "after line"):
        _visited(site, site.apis[0], point)
    site.settle()
    site.check()


def every_point_of_a_worker_is_survived(stage: Stage) -> None:
    """Likewise where workers run the jobs."""
    site = stage.site
    site.workers[1].stop()  # or it would do what is to be done
    for point in (*_commits(("claim", "step done", "settle", "item")), "after line"):
        _visited(site, site.workers[0], point)
    site.workers[1].start()


def _commits(writes: tuple[str, ...]) -> list[str]:
    return [f"{when} of {write}" for write in writes for when in failpoints.WHEN]


LAWS = (Law(every_point_of_the_api_is_survived, (BACKGROUND,)), Law(every_point_of_a_worker_is_survived, ON_REDIS))
