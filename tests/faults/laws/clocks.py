"""A process whose clock is wrong by an hour."""

from tests.faults.launcher import CLOCK_S
from tests.faults.laws.base import EVERYWHERE, Law, Stage, load

HOUR_S = 3600
NO_RETRIES = {"processItem": 4.0, "sendNotification": 3.0, "registerUser": 2.0, "steps": 3.0}


def a_wrong_clock_loses_nothing_and_claims_nothing_twice(stage: Stage) -> None:
    """One process an hour ahead, then an hour behind, while another one is killed."""
    site = stage.site
    wrong, right = site.runners[:2]
    for ahead_s in (HOUR_S, -HOUR_S):
        wrong.stop()
        wrong.faults = {CLOCK_S: str(ahead_s)}
        wrong.start()
        with load(site, 40, NO_RETRIES):
            site.client.send("steps", 12, params={"pause_s": 0.3})
            right.kill()
            right.start()
            stage.pause(0.5, 0.8)
        site.settle(30)
    wrong.stop()
    wrong.faults = {}
    wrong.start()


LAWS = (Law(a_wrong_clock_loses_nothing_and_claims_nothing_twice, EVERYWHERE),)
