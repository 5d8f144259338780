"""Callers' transactions of random shape, with clients and servers killed: the jobs are those of the committed rows.

`python -m tests.system.fuzz.transactions [TRANSACTIONS [sqlite|postgresql]]` prints the numbers, and how long another
mutation took meanwhile.
"""

from __future__ import annotations

import asyncio
import random
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from statistics import quantiles

import httpx2
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine

from onward.application import Onward
from onward.storage.engine import Database
from tests.processes import environment, running, wait_until
from tests.servers import free_port, postgres_database, postgres_server

CLIENTS = 4
CLIENT_LIFE_S = (0.5, 6.0)  # until a client is killed
SERVER_LIFE_S = (4.0, 12.0)
HANDLER = '''"""Orders."""

from onward import JobContext, handler


@handler("orders.note", mutation=True)
async def note(job: JobContext, *, order: str) -> None:
    """Note an order."""
'''
DRIVERS = {"sqlite": "sqlite+aiosqlite", "postgresql": "postgresql+asyncpg"}
TABLE = "CREATE TABLE IF NOT EXISTS orders (id TEXT PRIMARY KEY, jobs INTEGER NOT NULL)"
MUTATION = {"query": 'mutation { ordersNote(input: {order: "other"}) { job { id } errors { code } } }'}


@dataclass
class Outcome:
    """Committed rows and their jobs, and the times of another mutation in seconds."""

    transactions: int = 0
    rows: int = 0
    jobs: int = 0
    clients_killed: int = 0
    servers_killed: int = 0
    waits_s: list[float] = field(default_factory=list)

    def __str__(self) -> str:
        high = quantiles(self.waits_s, n=20)[18] if len(self.waits_s) > 1 else 0.0
        return (
            f"{self.transactions} transactions, {self.rows} rows and {self.jobs} jobs committed; {self.clients_killed}"
            f" clients and {self.servers_killed} servers killed; another mutation: {len(self.waits_s)} sent,"
            f" 95 % within {high * 1000:.0f} ms, slowest {max(self.waits_s, default=0) * 1000:.0f} ms"
        )


async def transact(session: AsyncSession, onward: Onward, chance: random.Random) -> None:
    """Write rows, and for each as many jobs as it says; then commit, or roll back."""
    from orders import note  # type: ignore[import-not-found]

    async def order(jobs: int) -> None:
        name = uuid.uuid4().hex
        statement = sa.text("INSERT INTO orders VALUES (:id, :jobs)")
        if chance.random() < 0.5:
            await session.execute(statement, {"id": name, "jobs": jobs})
        requests = [note.job(order=name) for _ in range(jobs)]
        if jobs == 1:
            await onward.enqueue(requests[0], session=session, idempotency_key=name)
        else:
            await onward.enqueue_many(requests, session=session)
        # After the jobs, where it was not before them. The second one is refused by the key of the first.
        if await session.scalar(sa.text("SELECT 1 FROM orders WHERE id = :id"), {"id": name}) is None:
            await session.execute(statement, {"id": name, "jobs": jobs})

    await order(1)
    for _ in range(chance.randrange(3)):
        savepoint = await session.begin_nested()
        await order(chance.choice((1, 1, 3)))
        await (savepoint.rollback() if chance.random() < 0.5 else savepoint.commit())
    if chance.random() < 0.25:
        await session.rollback()
    else:
        await session.commit()


async def client(url: str, seed: int, transactions: int) -> None:
    """Run transactions one after another, and print a line for each that has ended."""
    chance = random.Random(seed)
    engine = create_async_engine(sa.make_url(url).set(drivername=DRIVERS[sa.make_url(url).get_backend_name()]))
    if engine.dialect.name == "sqlite":
        sa.event.listen(
            engine.sync_engine, "connect", lambda connection, _: connection.execute("PRAGMA busy_timeout=30000")
        )
        sa.event.listen(engine.sync_engine, "begin", lambda connection: connection.exec_driver_sql("BEGIN IMMEDIATE"))
    async with Onward.from_settings("settings.toml") as onward:
        for _ in range(transactions):
            async with AsyncSession(engine) as session:
                await transact(session, onward, chance)
            print(flush=True)  # noqa: T201 - its parent counts the lines
    await engine.dispose()


def run_clients(folder: Path, url: str, transactions: int, outcome: Outcome, chance: random.Random) -> None:
    """Keep clients at work, each until it is killed, until so many transactions have ended."""
    left, lock = [transactions], threading.Lock()

    def work(seeds: random.Random) -> None:
        while left[0] > 0:
            command = [
                sys.executable,
                "-P",
                "-m",
                "tests.system.fuzz.transactions",
                "client",
                url,
                str(seeds.random()),
                str(left[0]),
            ]
            variables = environment(PYTHONPATH=f"{Path.cwd()}:{folder}")
            with subprocess.Popen(command, cwd=folder, env=variables, stdout=subprocess.PIPE) as process:
                killer = threading.Timer(seeds.uniform(*CLIENT_LIFE_S), process.kill)
                assert process.stdout is not None
                for _ in process.stdout:
                    if killer.ident is None:  # its life begins with the first transaction
                        killer.start()
                    with lock:
                        left[0] -= 1
                    if left[0] <= 0:
                        process.kill()
                killer.cancel()
                outcome.clients_killed += process.wait() == -9
            assert process.returncode in (0, -9), process.returncode

    seeds = [random.Random(chance.random()) for _ in range(CLIENTS)]
    with ThreadPoolExecutor(CLIENTS) as pool:
        for _ in pool.map(work, seeds):
            pass  # an error of one is raised here
    outcome.transactions = transactions - left[0]


def serve_and_kill(folder: Path, port: int, over: threading.Event, outcome: Outcome, chance: random.Random) -> None:
    """Have a server that is killed and started again, until it is over."""
    while not over.is_set():
        with running("serve", "--port", str(port), project=folder) as server:
            server.serving()
            if not over.wait(chance.uniform(*SERVER_LIFE_S)):
                server.process.kill()
                outcome.servers_killed += 1


def send(port: int, over: threading.Event, outcome: Outcome) -> None:
    """Send another mutation now and then. Those that come while no server is up do not count."""
    with httpx2.Client(timeout=30) as http:
        while not over.wait(0.05):
            started = time.monotonic()
            with suppress(httpx2.TransportError):  # no server is up
                answer = http.post(f"http://127.0.0.1:{port}/graphql", json=MUTATION).json()
                assert answer["data"]["ordersNote"]["errors"] == [], answer
                outcome.waits_s.append(time.monotonic() - started)


def check(url: str, outcome: Outcome) -> None:
    """Compare the committed rows with the jobs in the ledger, and wait until all of those have run."""
    database = Database(url)
    try:
        rows = dict(database.read_sync(lambda tx: tx.all(sa.text("SELECT id, jobs FROM orders"))))
        texts = database.read_sync(lambda tx: tx.scalars(sa.text("SELECT params FROM _ledger.jobs")))
        found = Counter(text.split('"')[3] for text in texts)
        del found["other"]
        assert found == Counter(rows), "jobs differ from the rows"
        outcome.rows, outcome.jobs = len(rows), sum(rows.values())
        unfinished = sa.text("SELECT count(*) FROM _ledger.jobs WHERE status <> 'SUCCEEDED'")
        wait_until(lambda: database.read_sync(lambda tx: tx.scalar(unfinished)) == 0, 120)
        counters = sa.text("SELECT sum(n) FROM _ledger.counts WHERE owner = '' AND status = 'SUCCEEDED'")
        assert int(database.read_sync(lambda tx: tx.scalar(counters)) or 0) == len(texts)
    finally:
        database.close()


def campaign(folder: Path, url: str, transactions: int, seed: int) -> Outcome:
    """Run it all in a folder, on the database of that URL. Raises AssertionError for a job too many or too few."""
    (folder / "orders.py").write_text(HANDLER, "utf-8")
    (folder / "settings.toml").write_text(f'[handlers]\nmodules = ["orders"]\n[database]\nurl = "{url}"\n', "utf-8")
    outcome, chance, over, port = Outcome(), random.Random(seed), threading.Event(), free_port()
    with running("migrate", project=folder) as migrate:
        assert migrate.process.wait(60) == 0, migrate.output()
    plain = {"sqlite": "sqlite", "postgresql": "postgresql+psycopg"}[sa.make_url(url).get_backend_name()]
    engine = sa.create_engine(sa.make_url(url).set(drivername=plain))
    with engine.begin() as connection:
        connection.execute(sa.text(TABLE))
    engine.dispose()
    with ThreadPoolExecutor(2) as pool:
        others = [
            pool.submit(serve_and_kill, folder, port, over, outcome, chance),
            pool.submit(send, port, over, outcome),
        ]
        try:
            run_clients(folder, url, transactions, outcome, chance)
        finally:
            over.set()
        for other in others:
            other.result()
    with running("serve", "--port", str(port), project=folder) as server:
        server.serving()
        check(url, outcome)
    return outcome


@contextmanager
def database(dialect: str, folder: Path) -> Iterator[str]:
    """The URL of an empty database."""
    if dialect == "sqlite":
        yield f"sqlite:///{folder}/shared.db"
    else:
        with postgres_server() as server, postgres_database(server.url) as url:
            yield url


def main(transactions: int, dialects: list[str], say: Callable[[str], object] = print) -> None:
    """Run a campaign on each database."""
    for dialect in dialects:
        with tempfile.TemporaryDirectory(prefix="onward-transactions-") as name, database(dialect, Path(name)) as url:
            say(f"{dialect}: {campaign(Path(name), url, transactions, seed=transactions)}")


if __name__ == "__main__":
    if sys.argv[1:2] == ["client"]:
        asyncio.run(client(sys.argv[2], int(float(sys.argv[3]) * 1e9), int(sys.argv[4])))
    else:
        main(int(sys.argv[1]) if sys.argv[1:] else 20_000, sys.argv[2:] or [*DRIVERS])
