"""A FastAPI endpoint that commits a row for each request, by asynchronous SQLAlchemy, and runs nothing."""

import os
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import sqlalchemy as sa
from fastapi import FastAPI
from items import Accepted, Item
from sqlalchemy.ext.asyncio import async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

URL = os.environ["BENCH_DATABASE"]
SQLITE = URL.startswith("sqlite")


class Base(DeclarativeBase):
    pass


class Row(Base):
    __tablename__ = "items"

    id: Mapped[str] = mapped_column(primary_key=True)
    status: Mapped[str]
    item: Mapped[str]
    created_at: Mapped[Any] = mapped_column(sa.DateTime(timezone=True), server_default=sa.func.now())


# One connection writes SQLite's file: several would only wait for its lock, and retry.
engine = create_async_engine(URL, pool_size=1 if SQLITE else 20, max_overflow=0)
sessions = async_sessionmaker(engine, expire_on_commit=False)


if SQLITE:

    @sa.event.listens_for(engine.sync_engine, "connect")
    def connected(connection: Any, _record: Any) -> None:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")


@asynccontextmanager
async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
    async with engine.begin() as connection:
        await connection.run_sync(Base.metadata.create_all)
    yield
    await engine.dispose()


app = FastAPI(lifespan=lifespan)


@app.post("/items")
async def process_item(given: Item) -> Accepted:
    row = Row(id=uuid.uuid4().hex, status="QUEUED", item=given.item)
    async with sessions() as session, session.begin():
        session.add(row)
    return Accepted(id=row.id, status=row.status)
