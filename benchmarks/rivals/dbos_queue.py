"""DBOS: workflows through a queue, which looks for them every BENCH_POLL_S seconds; enqueued by its client."""

import asyncio
import os
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager

import stamps
import tally
from dbos import DBOS, DBOSClient
from postgres_queue import Send
from work import process

URL, QUEUE = os.environ["BENCH_DATABASE"], "bench"
POOL = 20


@DBOS.workflow(name="nothing")
async def nothing(n: int) -> int:
    tally.tick()
    return n


@DBOS.workflow(name="stamp")
async def stamp(path: str) -> None:
    stamps.write(path)


@DBOS.workflow(name="item")
async def item(item: str) -> None:
    process(item)


def launch() -> None:
    DBOS(
        config={
            "name": "bench",
            "system_database_url": URL,
            "application_version": "1",
            "executor_id": f"worker-{os.getpid()}",
            "sys_db_pool_size": POOL,
            "log_level": "WARNING",
        }
    )
    DBOS.launch()


async def install() -> None:
    launch()
    await DBOS.register_queue_async(QUEUE, polling_interval_sec=float(os.environ["BENCH_POLL_S"]))
    DBOS.destroy()


@asynccontextmanager
async def opened() -> AsyncIterator[Send]:
    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(POOL))  # its client enqueues in threads
    client = DBOSClient(system_database_url=URL, system_database_pool_size=POOL)

    async def send(name: str, **params: object) -> str:
        handle = await client.enqueue_async({"queue_name": QUEUE, "workflow_name": name}, **params)
        return handle.workflow_id

    yield send
    client.destroy()


async def work() -> None:
    launch()
    await asyncio.Event().wait()
