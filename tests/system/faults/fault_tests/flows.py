"""All flows at once, as in a campaign; the final checks do the rest."""

from collections.abc import Iterator
from contextlib import contextmanager

from tests.system.faults import fault_injection, flows, outages
from tests.system.faults.fault_tests.base import BOTH_ENDS, ON_REDIS, FaultTest, Stage, load
from tests.system.faults.installation import Installation
from tests.system.faults.process import wait_for

MANY = 60  # parts of a batch, more than the workers have slots
AMID = (
    "SELECT count(*) FROM _ledger.batches WHERE finished_at IS NULL",
    "SELECT count(*) FROM _ledger.jobs WHERE handler = 'faults.waits' AND status = 'WAITING'",
    "SELECT count(*) FROM _ledger.jobs WHERE handler = 'faults.streams' AND status = 'RUNNING'",
)


def every_flow_goes_on_through_kills(stage: Stage) -> None:
    """Batches, waits, output, unique jobs, limits by key, jobs that expire, ticks: none lost, none done twice."""
    installation = stage.installation
    with flowing(installation, 25):
        for _ in range(2):
            stage.pause(0.6, 1.2)
            fault_injection.kill_worker(installation, stage.chance)
            stage.pause(0.6, 1.2)
            fault_injection.kill_api(installation, stage.chance)


def every_flow_goes_on_without_redis(stage: Stage) -> None:
    """Redis loses its data in the middle of a batch, a wait and a stream: none lost, none done twice."""
    installation = stage.installation
    with flowing(installation, 25):
        for _ in range(2):
            installation.client.send("batch", 2, params={"parts": MANY})
            wait_for(lambda: amid_flows(installation), 30, "a batch, a wait and a stream are in progress")
            with outages.broker_down(installation):
                stage.pause(1.5, 2.5)


@contextmanager
def flowing(installation: Installation, rate: float) -> Iterator[None]:
    """Send that many flows a second, signal their waits and change their schedules until the context ends."""
    signals, ticks = len(installation.flows.signals), len(installation.ledger.ticks())
    installation.flows.begin(seed=1)
    with load(installation, rate, flows.MIX):
        yield
    installation.flows.end()
    installation.wait_for_jobs()
    assert len(installation.flows.signals) > signals, "no job has waited"
    assert len(installation.ledger.ticks()) > ticks, "no schedule has ticked"


def amid_flows(installation: Installation) -> bool:
    """Return whether a batch, a wait and a stream are in progress."""
    return all(installation.ledger.rows(sql)[0][0] for sql in AMID)


FAULT_TESTS = (
    FaultTest(every_flow_goes_on_through_kills, BOTH_ENDS, slow=True),
    FaultTest(every_flow_goes_on_without_redis, ON_REDIS, slow=True),
)
