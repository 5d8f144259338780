"""PgQueuer on asyncpg; BENCH_BATCH is the number of jobs that a worker takes at once."""

import json
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg
import stamps
import tally
from pgqueuer import PgQueuer
from pgqueuer.adapters.drivers.asyncpg import AsyncpgDriver, AsyncpgPoolDriver
from pgqueuer.models import Job
from pgqueuer.queries import Queries
from postgres_queue import Send
from work import process

URL = os.environ["BENCH_DATABASE"]


async def install() -> None:
    connection = await asyncpg.connect(URL)
    await Queries(AsyncpgDriver(connection)).install()
    await connection.close()


@asynccontextmanager
async def opened() -> AsyncIterator[Send]:
    async with asyncpg.create_pool(URL, min_size=5, max_size=20) as pool:
        queries = Queries(AsyncpgPoolDriver(pool))

        async def send(name: str, **params: object) -> str:
            (job_id,) = await queries.enqueue(name, json.dumps(params).encode())
            return str(job_id)

        yield send


async def work() -> None:
    connection = await asyncpg.connect(URL)
    queuer = PgQueuer.from_asyncpg_connection(connection)

    @queuer.entrypoint("nothing")
    async def nothing(job: Job) -> None:
        json.loads(job.payload)
        tally.tick()

    @queuer.entrypoint("stamp")
    async def stamp(job: Job) -> None:
        stamps.write(json.loads(job.payload)["path"])

    @queuer.entrypoint("item")
    async def item(job: Job) -> None:
        process(json.loads(job.payload)["item"])

    await queuer.run(batch_size=int(os.environ["BENCH_BATCH"]))
