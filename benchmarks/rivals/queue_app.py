"""A FastAPI endpoint that enqueues a job in PostgreSQL; BENCH_QUEUE names the queue's module."""

import importlib
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI, Request
from items import Accepted, Item

queue = importlib.import_module(os.environ["BENCH_QUEUE"])


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    async with queue.opened() as app.state.send:
        yield


app = FastAPI(lifespan=lifespan)


@app.post("/items")
async def process_item(given: Item, request: Request) -> Accepted:
    return Accepted(id=await request.app.state.send("item", item=given.item), status="QUEUED")
