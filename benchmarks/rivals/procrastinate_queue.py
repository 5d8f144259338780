"""Procrastinate on psycopg's pool, woken by LISTEN."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import stamps
import tally
from postgres_queue import Send
from procrastinate import App, PsycopgConnector
from work import process

CONCURRENCY = 20
app = App(connector=PsycopgConnector(conninfo=os.environ["BENCH_DATABASE"], min_size=5, max_size=CONCURRENCY))


@app.task(name="nothing")
async def nothing(n: int) -> int:
    tally.tick()
    return n


@app.task(name="stamp")
async def stamp(path: str) -> None:
    stamps.write(path)


@app.task(name="item")
async def item(item: str) -> None:
    process(item)


async def install() -> None:
    async with app.open_async():
        await app.schema_manager.apply_schema_async()


@asynccontextmanager
async def opened() -> AsyncIterator[Send]:
    async def send(name: str, **params: object) -> str:
        return str(await app.tasks[name].defer_async(**params))

    async with app.open_async():
        yield send


async def work() -> None:
    async with app.open_async():
        await app.run_worker_async(concurrency=CONCURRENCY)
