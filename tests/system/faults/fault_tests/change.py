"""The backend is changed in settings.toml while work is pending."""

from tests.system.faults.fault_tests.base import ON_REDIS, FaultTest, Stage, soon
from tests.system.faults.fault_tests.flows import amid_flows, flowing
from tests.system.faults.installation import Installation
from tests.system.faults.process import wait_for

FLOWS = 15  # a second


def the_backend_may_change_with_jobs_pending(stage: Stage, n: int = 400) -> None:
    """In both directions pending, running, retrying and scheduled jobs finish, and nothing finished runs twice.

    So do batches, waits, output and the other flows that are in progress then.
    """
    installation = stage.installation
    earlier = installation.ledger.jobs().keys()
    with flowing(installation, FLOWS):
        for backend in ("background", "dramatiq"):
            _work(installation, n // 2)
            wait_for(lambda: amid_flows(installation), 30, "a batch, a wait and a stream are in progress")
            installation.deploy(backend=backend)
    found = installation.ledger.jobs()
    backends = {attempt[2] for job_id in found.keys() - earlier for attempt in found[job_id].attempts}
    assert backends == {"background", "dramatiq"}, f"only {backends} ran anything"


def _work(installation: Installation, n: int) -> None:
    installation.client.send("processItem", n // 4, params={"runAt": soon(3)}, lanes=20)
    installation.client.send("flaky", n // 20, params={"times": 2})
    installation.client.send("processItem", n // 2, lanes=20)
    installation.client.send("steps", n // 5, params={"pause_s": 0.1, "children": 1}, lanes=20)


FAULT_TESTS = (FaultTest(the_backend_may_change_with_jobs_pending, ON_REDIS),)
