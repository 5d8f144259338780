"""A Redis with a password, a restricted user or TLS, and messages of other programs in it."""

import asyncio
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import pytest
import redis
import trustme

from onward.api.rates import Rates
from onward.backends.base import Health, Role
from onward.backends.redis_broker import Broker
from onward.backends.redis_queues import QUEUE
from onward.cli import check
from onward.config.settings import Settings, load
from onward.findings import State
from onward.jobs import ledger
from onward.jobs.states import JobStatus
from onward.jobs.timings import Timings
from onward.runtime import wiring
from tests import application
from tests.processes import ROOT, environment
from tests.servers import free_port, redis_server

PASSWORD = "p@ss/w0rd%"
QUOTED = "p%40ss%2Fw0rd%25"
RULES = next(
    line.removeprefix("user onward on >PASSWORD ").replace("onward", "guarded")
    for line in (ROOT / "docs" / "deploying.md").read_text("utf-8").splitlines()
    if line.startswith("user onward on >PASSWORD ")
)


@contextmanager
def guarded(kind: str, folder: Path) -> Iterator[str]:
    """Start such a Redis and return its URL."""
    if kind == "password":
        with redis_server("--requirepass", PASSWORD) as server:
            yield server.url.replace("redis://", f"redis://:{QUOTED}@")
    elif kind == "user":
        (folder / "users.acl").write_text(f"user default off\nuser onward on >{PASSWORD} {RULES}\n")
        with redis_server("--aclfile", str(folder / "users.acl")) as server:
            yield server.url.replace("redis://", f"redis://onward:{QUOTED}@")
    else:
        authority, port = trustme.CA(), free_port()
        own = authority.issue_cert("localhost", "127.0.0.1")
        authority.cert_pem.write_to_path(str(folder / "ca.pem"))
        own.private_key_pem.write_to_path(str(folder / "key.pem"))
        own.cert_chain_pems[0].write_to_path(str(folder / "cert.pem"))
        files = {"ca-cert": "ca.pem", "key": "key.pem", "cert": "cert.pem"}
        options = [part for name, file in files.items() for part in (f"--tls-{name}-file", str(folder / file))]
        with redis_server("--tls-port", str(port), "--tls-auth-clients", "no", "--requirepass", PASSWORD, *options):
            yield f"rediss://:{QUOTED}@127.0.0.1:{port}/0?ssl_ca_certs={folder / 'ca.pem'}"


def settings_for(folder: Path, url: str) -> Settings:
    application.write(folder, f'backend = "dramatiq"\n[backends.dramatiq]\nurl = "{url}"\nnamespace = "guarded"\n')
    return load(folder)


@asynccontextmanager
async def worker(folder: Path) -> AsyncIterator[Path]:
    """A worker process, and the file of its output."""
    log = folder / "worker.log"
    with log.open("wb") as output:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "onward.worker", "serve", "2",
            env=environment(ONWARD_PROJECT=str(folder)), stdout=output, stderr=output,
        )  # fmt: skip
    try:
        yield log
    finally:
        process.terminate()
        await process.wait()


async def accept(onward: wiring.Runtime, item: str) -> str:
    new = onward.dispatcher.prepare("steps.process_item", {"item": item}, owner=None)
    job = await onward.writer.run(lambda tx: onward.dispatcher.accept(tx, new))
    await onward.dispatcher.deliver([job], after_response=onward.dispatcher.defer)
    return job.id


async def succeeds(onward: wiring.Runtime, job_id: str) -> None:
    async with asyncio.timeout(40):
        while True:
            job = await onward.database.read(lambda tx: ledger.get(tx, job_id))
            if job is not None and job.done:
                assert job.status is JobStatus.SUCCEEDED
                return
            await asyncio.sleep(0.05)


@pytest.mark.parametrize(
    "kind", ["user", *(pytest.param(kind, marks=pytest.mark.slow) for kind in ("password", "tls"))]
)
async def test_jobs_run_over_a_protected_redis_and_its_password_is_never_shown(
    kind: str, tmp_path: Path, redis_url: str, capfd: pytest.CaptureFixture[str]
) -> None:
    with guarded(kind, tmp_path) as url:
        settings = settings_for(tmp_path, url)
        async with wiring.run_process(settings, Role.ACCEPT) as onward, worker(tmp_path) as log:
            await succeeds(onward, await accept(onward, "x"))
            assert (await onward.dispatcher.health())["dramatiq"].reachable
        found = await asyncio.to_thread(lambda: list(check.findings(settings)))
        findings = {finding.message: finding.state for finding in found if finding.part == "redis"}
        assert State.WRONG not in findings.values(), findings
        rates = Rates(2, redis_url=url, namespace="guarded")
        rates.start()
        rates.count("192.0.2.1", None)
        await asyncio.sleep(1)
        assert rates._window.everywhere, "the counts were not exchanged"
        await rates.close()
    output = capfd.readouterr()
    for secret in (PASSWORD, QUOTED):
        assert secret not in output.out + output.err + log.read_text("utf-8") + repr(settings) + "".join(findings)


async def test_with_the_rules_of_the_docs_the_messages_of_a_dead_worker_are_given_back(
    tmp_path: Path, redis_url: str
) -> None:
    """The docs' rules need no further command, and KEYS is not among them."""
    with guarded("user", tmp_path) as url:
        settings = settings_for(tmp_path, url)
        timings = Timings(redis_heartbeat_timeout_s=0.5)
        dead, alive = (Broker(url, "guarded", timings) for _ in range(2))
        async with wiring.run_process(settings, Role.ACCEPT) as onward:
            await accept(onward, "x")
            async with asyncio.timeout(40):
                while not (fetched := dead.call_many([("fetch", QUEUE, 10)])[0]):
                    await asyncio.sleep(0.02)
                while not (found := alive.call_many([("fetch", QUEUE, 10)])[0]):
                    await asyncio.sleep(0.05)
        assert found == fetched


async def test_a_command_that_the_user_lacks_is_named_before_a_worker_dies(tmp_path: Path, redis_url: str) -> None:
    """`check`, the job's `waitingFor` and the health endpoint say that Redis refuses a command."""
    lacking = RULES.replace("+smembers ", "").replace("+zrangebyscore ", "")
    (tmp_path / "users.acl").write_text(f"user default off\nuser onward on >{PASSWORD} {lacking}\n")
    with redis_server("--aclfile", str(tmp_path / "users.acl")) as server:
        settings = settings_for(tmp_path, server.url.replace("redis://", f"redis://onward:{QUOTED}@"))
        found = await asyncio.to_thread(lambda: list(check.findings(settings)))
        (wrong,) = [finding for finding in found if finding.part == "redis" and finding.state is State.WRONG]
        assert "SMEMBERS, ZRANGEBYSCORE" in wrong.message
        assert "docs/deploying.md" in wrong.fix
        async with wiring.run_process(settings, Role.ACCEPT) as onward:
            job_id = await accept(onward, "x")
            health: dict[str, Health] = {}
            async with asyncio.timeout(40):
                while not health or not health["dramatiq"].reason:
                    await asyncio.sleep(0.05)
                    health = await onward.dispatcher.health()
            job = await onward.database.read(lambda tx: ledger.get(tx, job_id))
            assert job is not None
            waiting = onward.dispatcher.waiting_for(job, health)
            assert waiting == f"the backend dramatiq to answer: {health['dramatiq'].reason}"
            assert "refuses a command" in waiting


@pytest.mark.parametrize(("kind", "words"), [("password", "refuses us"), ("tls", "does not answer")])
def test_a_wrong_password_or_certificate_authority_is_reported_without_the_password(
    kind: str, words: str, tmp_path: Path, redis_url: str
) -> None:
    with guarded(kind, tmp_path) as url:
        wrong = url.replace(QUOTED, "hunter2") if kind == "password" else url.partition("?")[0]
        settings = settings_for(tmp_path, wrong)
        (finding,) = [finding for finding in check.findings(settings) if finding.part == "redis"]
    assert (finding.state, words in finding.message) == (State.WRONG, True), finding
    assert not any(secret in repr(finding) for secret in ("hunter2", PASSWORD, QUOTED))


@pytest.mark.slow
async def test_foreign_messages_in_the_queue_are_dropped_and_never_run(tmp_path: Path, redis_url: str) -> None:
    with redis_server() as server:
        settings = settings_for(tmp_path, server.url)
        async with wiring.run_process(settings, Role.ACCEPT) as onward:
            before = [await accept(onward, "before") for _ in range(3)]
            _intrude(server.url)
            after = [await accept(onward, "after") for _ in range(3)]
            async with worker(tmp_path) as log:
                for job_id in (*before, *after):
                    await succeeds(onward, job_id)
                await asyncio.sleep(1)
                await succeeds(onward, await accept(onward, "last"))
        assert not (tmp_path / "pwned").exists()
        assert "Traceback" not in log.read_text("utf-8")


def _intrude(url: str) -> None:
    """Put messages among ours that are unreadable or another program's."""
    import dramatiq

    def message(actor: str, *arguments: Any, **options: Any) -> bytes:
        made: dramatiq.Message[Any] = dramatiq.Message("jobs", actor, arguments, {}, options)
        return made.encode()

    with redis.Redis.from_url(url) as client:
        alien = [
            b"", b"\xff\xfe", b"{}", b"[]", b"null", b"cos\nsystem\n(S'touch pwned'\ntR.", b"{" * 100_000,
            message("os.system", "touch pwned"), message("run"), message("run", 5), message("run", None),
            message("run", {"id": "x"}), message("run", "job_nobody"), message("run", "x" * 100_000),
            message("run", "'; DROP TABLE jobs; --"), message("run", "job_x", "more"),
            message("run", "job_\x00"), message("run", "../../etc/passwd"),
        ]  # fmt: skip
        for number, text in enumerate(alien):
            client.hset("guarded:jobs.msgs", f"alien-{number}", text)
            client.rpush("guarded:jobs", f"alien-{number}")
        client.rpush("guarded:jobs", "named-and-not-there")
