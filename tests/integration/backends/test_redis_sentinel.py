"""A Redis whose master is named by sentinels and changes while jobs are accepted and run."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import redis

from onward.api.rates import Rates
from onward.backends.base import Role
from onward.backends.redis_queues import client
from onward.cli import check
from onward.config.settings import load
from onward.findings import State
from onward.jobs import ledger
from onward.runtime import wiring
from onward.testing.waiting import until
from onward.testing.workload import notes
from tests import application
from tests.integration.backends.test_redis_guarded import worker
from tests.processes import wait_until
from tests.servers import Server, free_port, redis_server

pytestmark = pytest.mark.slow
JOBS = 40


@contextmanager
def sentinel(master: Server, folder: Path) -> Iterator[str]:
    """Start a sentinel for this master under the name Orders, and return its address."""
    port, (host, master_port) = free_port(), master.url.removeprefix("redis://").removesuffix("/0").split(":")
    file = folder / "sentinel.conf"
    file.write_text(
        f"port {port}\nbind 127.0.0.1\ndir {folder}\nsentinel monitor Orders {host} {master_port} 1\n"
        "sentinel down-after-milliseconds Orders 500\nsentinel failover-timeout Orders 3000\n"
    )
    process = subprocess.Popen(["redis-server", str(file), "--sentinel"], stdout=subprocess.DEVNULL)
    try:
        with redis.Redis(port=port) as asked:

            def knows_a_replica() -> bool:
                try:
                    (state,) = [asked.execute_command("SENTINEL", "REPLICAS", "Orders")]
                    return len(state) > 0
                except redis.RedisError:
                    return False

            wait_until(knows_a_replica)
        yield f"127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait()


async def test_jobs_survive_a_failover(tmp_path: Path) -> None:
    """No job is lost or runs twice; the worker goes on with the new master."""
    with redis_server() as master:
        host, port = master.url.removeprefix("redis://").removesuffix("/0").split(":")
        with redis_server("--replicaof", host, port) as replica, sentinel(master, tmp_path) as address:
            url = f"redis://Orders/0?sentinels=127.0.0.1:{free_port()},{address}"  # the first of them is away
            application.write(
                tmp_path,
                f'backend = "dramatiq"\n[backends.dramatiq]\nurl = "{url}"\n'
                '[handlers]\nmodules = ["onward.testing.workload"]\n',
            )
            settings = load(tmp_path)
            async with wiring.run_process(settings, Role.ACCEPT) as onward, worker(tmp_path):
                ids = []
                for number in range(JOBS):
                    if number == JOBS // 2:
                        await until(lambda: len(notes(tmp_path)) > 0, 60)
                        master.process.kill()
                    new = onward.dispatcher.prepare(
                        "conformance.note", {"folder": str(tmp_path), "text": f"{number}"}, owner=None
                    )
                    job = await onward.writer.run(lambda tx, new=new: onward.dispatcher.accept(tx, new))  # type: ignore[misc]
                    await onward.dispatcher.deliver([job], after_response=onward.dispatcher.defer)
                    ids.append(job.id)

                async def over() -> bool:
                    found = await onward.database.read(lambda tx: ledger.get_many(tx, ids))
                    return all(job.done for job in found.values())

                await until(over, 90)
            ran = [note.job for note in notes(tmp_path)]
            assert sorted(ran) == sorted(ids)
            with redis.Redis.from_url(replica.url) as new_master:
                assert new_master.info("replication")["role"] == "master"
            with client(url, 2.0) as found:
                assert found.info("server")["tcp_port"] == int(replica.url.split(":")[2].split("/")[0])


def test_check_says_that_no_sentinel_answers_and_hides_the_password(tmp_path: Path) -> None:
    url = f"redis://Orders/0?sentinels=127.0.0.1:{free_port()}&sentinel_password=s3cret"
    application.write(tmp_path, f'backend = "dramatiq"\n[backends.dramatiq]\nurl = "{url}"\n')
    wrong = [finding for finding in check.findings(load(tmp_path)) if finding.state is State.WRONG]
    assert any("No master found for 'Orders'" in finding.message for finding in wrong), wrong
    assert "s3cret" not in str(wrong)


async def test_requests_are_counted_over_the_master_that_sentinels_name(tmp_path: Path) -> None:
    with redis_server() as master:
        host, port = master.url.removeprefix("redis://").removesuffix("/0").split(":")
        with redis_server("--replicaof", host, port), sentinel(master, tmp_path) as address:
            rates = Rates(100, redis_url=f"redis://Orders/0?sentinels={address}", namespace="orders")
            rates.start()
            rates.count("192.0.2.1", "ada")
            with redis.Redis.from_url(master.url) as asked:
                await until(lambda: asked.keys("orders:rates:*") != [])
            await rates.close()
