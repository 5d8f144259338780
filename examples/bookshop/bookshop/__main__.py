"""Create the tables, and books to begin with: `python -m bookshop`."""

import asyncio
from pathlib import Path

from sqlalchemy import func, select

from bookshop.database import Session, engine
from bookshop.models import Base, Book

BOOKS = [
    Book(title="Middlemarch", author="George Eliot", price_cents=1290, stock=12),
    Book(title="Moby-Dick", author="Herman Melville", price_cents=1150, stock=7),
    Book(title="The Sea Wolf", author="Jack London", price_cents=990, stock=1),
]


async def create() -> None:
    if engine.url.database and engine.dialect.name == "sqlite":
        Path(engine.url.database).parent.mkdir(parents=True, exist_ok=True)
    async with engine.begin() as connection:
        await connection.run_sync(Base.metadata.create_all)
    async with Session.begin() as db:
        if not await db.scalar(select(func.count()).select_from(Book)):
            db.add_all(BOOKS)
    await engine.dispose()


if __name__ == "__main__":
    asyncio.run(create())
