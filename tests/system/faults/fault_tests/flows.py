"""All flows at once, as in a campaign; the final checks do the rest."""

from tests.system.faults import fault_injection, flows
from tests.system.faults.fault_tests.base import BOTH_ENDS, FaultTest, Stage, load


def every_flow_goes_on_through_kills(stage: Stage) -> None:
    """Batches, waits, output, unique jobs, limits by key, jobs that expire, ticks: none lost, none done twice."""
    installation = stage.installation
    installation.flows.begin(seed=1)
    with load(installation, 25, flows.MIX):
        for _ in range(2):
            stage.pause(0.6, 1.2)
            fault_injection.kill_worker(installation, stage.chance)
            stage.pause(0.6, 1.2)
            fault_injection.kill_api(installation, stage.chance)
    installation.flows.end()
    waited = {signal.job for signal in installation.flows.signals}
    assert waited, "no job has waited"
    assert installation.ledger.ticks(), "no schedule has ticked"


FAULT_TESTS = (FaultTest(every_flow_goes_on_through_kills, BOTH_ENDS, slow=True),)
