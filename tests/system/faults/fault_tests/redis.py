"""Redis away, frozen, empty, full or older, and a bad network before it."""

import time

from tests.system.faults import fault_injection, outages
from tests.system.faults.client import Request
from tests.system.faults.fault_tests.base import (
    DRAMATIQ,
    HELD_S,
    MORE_S,
    ON_REDIS,
    FaultTest,
    Stage,
    answered,
    load,
    took_s,
)
from tests.system.faults.outages import Lasting
from tests.system.faults.process import wait_for
from tests.system.faults.proxy import Mode

AWAY_S = 3.0
WAITS = "query($id: ID!) { job(id: $id) { status waitingFor } }"


def jobs_are_accepted_without_redis(stage: Stage) -> None:
    """Answers are as quick as ever; waiting jobs name the reason; all are delivered when Redis is back, empty."""
    sent = _through(stage, outages.broker_down)
    assert len([request for request in sent if request.job]) > 20


def jobs_are_accepted_while_redis_is_frozen(stage: Stage) -> None:
    """A Redis that accepts connections and answers nothing delays no answer."""
    _through(stage, outages.broker_frozen)


def jobs_are_accepted_while_redis_is_full(stage: Stage) -> None:
    """A Redis that refuses writes is no worse than none."""
    _through(stage, outages.broker_full, says_why=False)


def a_redis_that_only_accepts_connections_delays_nothing(stage: Stage) -> None:
    """Every wait for Redis has a timeout."""
    _through(stage, outages.between(Mode.ACCEPT_ONLY))


def a_lost_reply_causes_at_most_a_second_delivery(stage: Stage) -> None:
    """Messages arrive without a reply, or connections break at each reply."""
    for mode in (Mode.SWALLOW, Mode.CUT):
        _through(stage, outages.between(mode), away_s=AWAY_S / 2, says_why=False)


def slow_replies_delay_no_answer(stage: Stage) -> None:
    """Half a second each way is longer than a request waits for a delivery."""
    _through(stage, outages.between(Mode.DELAY), away_s=AWAY_S / 2, says_why=False)


def _through(stage: Stage, lasting: Lasting, *, away_s: float = AWAY_S, says_why: bool = True) -> list[Request]:
    """Keep up the load through the outage; no answer is slow, and all jobs are done within 15 s of its end."""
    installation = stage.installation
    with load(installation, 30) as before:
        first = len(installation.client.requests)
        wait_for(lambda: len(answered(installation.client.requests[first:])) >= 20, 30, "answers as they usually are")
        usual = answered(installation.client.requests[first:])
        started = len(installation.client.requests)
        with lasting(installation):
            time.sleep(away_s)
            during = installation.client.send("processItem", 20, lanes=1)
            if says_why:
                _name_the_reason(stage, during[-1].job)
            lives = [_live_s(stage) for _ in range(5)]
            sent = installation.client.requests[started:]
        back = time.monotonic()
    installation.wait_for_jobs(installation.rescue_s)
    assert time.monotonic() - back < installation.rescue_s
    for requests, share, more_s in ((during, 0.5, MORE_S), (sent, 0.9, HELD_S)):
        now_s, usual_s = took_s(requests, share), took_s(usual, share)
        assert now_s < usual_s + more_s, f"{share:.0%} of the answers take {now_s:.3f} s, usually {usual_s:.3f} s"
    assert sorted(lives)[2] < MORE_S, "the event loop was held up"
    return before + during


def _name_the_reason(stage: Stage, job: str | None) -> None:
    """Check that readiness and the job itself name the reason."""
    client = stage.installation.client
    wait_for(lambda: client.get("/health/ready")[0] == 503, 10, "/health/ready says that Redis is away")
    says_why = client.ask(WAITS, {"id": job})["job"]
    assert says_why == {"status": "QUEUED", "waitingFor": "the backend dramatiq to answer"}


def _live_s(stage: Stage) -> float:
    started = time.monotonic()
    assert stage.installation.client.get("/health/live")[0] == 200
    return time.monotonic() - started


def messages_that_redis_lost_are_delivered_again(stage: Stage) -> None:
    """Redis loses a backlog by FLUSHALL, and by a restart without its data."""
    installation = stage.installation
    for inject in (fault_injection.flush, fault_injection.restart_broker):
        _backlog(stage)
        waiting = installation.ledger.rows("SELECT count(*) FROM _ledger.jobs WHERE status = 'QUEUED'")[0][0]
        assert waiting > 10, "there was nothing to forget"
        inject(installation, stage.chance)
        installation.wait_for_jobs(installation.rescue_s + 10)


def an_old_snapshot_of_redis_loses_nothing(stage: Stage) -> None:
    """Redis restarts from a file that is older than the newest messages, with its sentinel unchanged."""
    installation = stage.installation
    assert installation.broker is not None
    for worker in installation.workers:
        worker.stop()
    installation.client.send("processItem", 10)
    installation.broker.save()
    installation.client.send("processItem", 30)
    stage.pause(0.5, 0.6)  # confirmed
    installation.broker.kill()
    installation.broker.start()
    for worker in installation.workers:
        worker.start()
    with installation.broker.client() as client:
        assert client.get(f"{installation.settings.namespace}:sentinel"), "the snapshot was not read"
    installation.broker.forget()
    installation.wait_for_jobs(installation.rescue_s)


def an_unreadable_message_affects_no_other(stage: Stage) -> None:
    """The other messages run and are charged nothing."""
    installation = stage.installation
    with load(installation, 40):
        for _ in range(5):
            stage.pause(0.1, 0.3)
            fault_injection.poison(installation, stage.chance)
    installation.wait_for_jobs(installation.rescue_s)
    assert any("cannot be read" in worker.output() for worker in installation.workers), "no worker has met it"


def _backlog(stage: Stage) -> None:
    stage.installation.client.send("steps", 60, params={"pause_s": 0.2}, lanes=30)


FAULT_TESTS = (
    FaultTest(jobs_are_accepted_without_redis, ON_REDIS, alone=True),
    FaultTest(jobs_are_accepted_while_redis_is_frozen, ON_REDIS, alone=True, slow=True),
    FaultTest(jobs_are_accepted_while_redis_is_full, (DRAMATIQ,), alone=True, slow=True),
    FaultTest(a_redis_that_only_accepts_connections_delays_nothing, (DRAMATIQ,), alone=True, slow=True),
    FaultTest(a_lost_reply_causes_at_most_a_second_delivery, ON_REDIS, alone=True, slow=True),
    FaultTest(slow_replies_delay_no_answer, (DRAMATIQ,), alone=True, slow=True),
    FaultTest(messages_that_redis_lost_are_delivered_again, ON_REDIS, slow=True),
    FaultTest(an_old_snapshot_of_redis_loses_nothing, (DRAMATIQ,)),
    FaultTest(an_unreadable_message_affects_no_other, ON_REDIS),
)
