"""SIGTERM: a deploy costs no job an attempt."""

from tests.system.faults.fault_injection import deploy
from tests.system.faults.fault_tests.base import EVERYWHERE, ON_REDIS, FaultTest, Stage, is_lost, load
from tests.system.faults.installation import DEADLINE_S, Installation
from tests.system.faults.process import terminate, wait_for
from tests.system.faults.proxy import Mode

LEADER = "SELECT value FROM _ledger.meta WHERE name = 'sweep'"


def a_deploy_fails_no_job(stage: Stage) -> None:
    """Two versions follow one another under load: running jobs finish their step, or are handed back."""
    with load(stage.installation) as sent:
        for _ in range(2):
            stage.installation.client.send("steps", 10, params={"pause_s": 1.3, "children": 1}, lanes=10)
            for process in stage.installation.processes:
                deploy(process)
    stage.installation.wait_for_jobs()
    rows = [row for row in stage.installation.ledger.jobs().values() if row.id in {request.job for request in sent}]
    lost = [row.id for row in rows if any(map(is_lost, row.attempts))]
    assert not lost, f"a stop cost {lost[:5]} their claims"


def a_process_ends_in_time_without_redis(stage: Stage) -> None:
    """A process ends within the drain deadline and five seconds of SIGTERM, whatever does not answer."""
    installation = stage.installation
    assert installation.broker is not None
    assert installation.proxy is not None
    installation.client.send("steps", 10, params={"pause_s": 0.5}, lanes=10)
    installation.proxy.set(Mode.ACCEPT_ONLY)
    for process in installation.processes:
        process.term()
    took_s = [process.wait(DEADLINE_S + 10) for process in installation.processes]
    installation.proxy.set(Mode.PASS)
    for process in installation.processes:
        process.start()
    assert max(took_s) < DEADLINE_S


def hanging_threads_do_not_keep_a_process_alive(stage: Stage) -> None:
    """A plain function that ignores every stop is left behind at the deadline, and tried again elsewhere."""
    installation = stage.installation
    installation.client.send("stuck", 2, params={"pause_s": 60.0})
    stage.pause(0.3, 0.4)
    for process in installation.runners:
        deploy(process)


def one_of_several_processes_does_maintenance(stage: Stage) -> None:
    """Four processes share one port; when the leader is killed, another leads within 15 s."""
    installation = stage.make(apis=1)
    api = installation.apis[0] = installation.api("api1", installation.ports[0], "--workers", "4")
    installation.start()
    wait_for(lambda: len(installation.ledger.rows("SELECT id FROM _ledger.runners")) == 4, 30, "all four take part")
    leader = _leader(installation)
    # More than one has slots for, since a few connections may all have come to one: the others claim the rest.
    installation.client.send("steps", 3 * installation.settings.concurrency, params={"pause_s": 0.5}, lanes=48)
    with load(installation, 60):
        stage.pause(0.5, 0.7)
        pid = int(
            installation.ledger.rows(f"SELECT name FROM _ledger.runners WHERE id = '{leader}'")[0][0].rpartition(":")[2]
        )
        assert pid in api.children()
        installation.ends.add(pid, "kill")
        terminate(pid)
        wait_for(lambda: _leader(installation) != leader, 15, "another one sweeps")
        stage.pause(0.5, 0.7)
    installation.wait_for_jobs()
    installation.check()
    workers = {row.attempts[0][3] for row in installation.ledger.jobs().values() if row.attempts}
    assert len(workers) >= 2, f"only {workers} ran anything"


def _leader(installation: Installation) -> str:
    return str(installation.ledger.rows(LEADER)[0][0])


FAULT_TESTS = (
    FaultTest(a_deploy_fails_no_job, slow=True),
    FaultTest(a_process_ends_in_time_without_redis, ON_REDIS, slow=True),
    FaultTest(hanging_threads_do_not_keep_a_process_alive, EVERYWHERE, slow=True),
    FaultTest(one_of_several_processes_does_maintenance, ("background+sqlite",), slow=True),
)
