"""A process whose clock is wrong by an hour."""

from tests.system.faults.fault_tests.base import EVERYWHERE, FaultTest, Stage, load
from tests.system.faults.launcher import CLOCK_S

HOUR_S = 3600
NO_RETRIES = {"processItem": 4.0, "sendNotification": 3.0, "registerUser": 2.0, "steps": 3.0}


def a_wrong_clock_loses_nothing_and_claims_nothing_twice(stage: Stage) -> None:
    """One process is an hour ahead, one an hour behind, and one of them is killed."""
    installation = stage.installation
    wrong = installation.runners[:2]
    for process, ahead_s in zip(wrong, (HOUR_S, -HOUR_S), strict=True):
        process.stop()
        process.faults = {CLOCK_S: str(ahead_s)}
        process.start()
    with load(installation, 40, NO_RETRIES):
        installation.client.send("steps", 12, params={"pause_s": 0.3})
        wrong[stage.chance.randrange(2)].kill()
        stage.pause(0.5, 0.8)
    for process in wrong:
        process.faults = {}
        if not process.alive:
            process.start()
    installation.wait_for_jobs(30)
    for process in wrong:
        process.stop()
        process.start()


FAULT_TESTS = (FaultTest(a_wrong_clock_loses_nothing_and_claims_nothing_twice, EVERYWHERE, slow=True),)
