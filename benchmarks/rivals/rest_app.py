"""A plain FastAPI endpoint with BackgroundTasks, which writes nothing down."""

import uuid

from fastapi import BackgroundTasks, FastAPI
from items import Accepted, Item
from work import process

app = FastAPI()


async def run(item: str) -> None:
    process(item)


@app.post("/items")
async def process_item(given: Item, later: BackgroundTasks) -> Accepted:
    later.add_task(run, given.item)
    return Accepted(id=uuid.uuid4().hex, status="QUEUED")
