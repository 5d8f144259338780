"""The database: a SQLite file on a laptop, PostgreSQL in production."""

import os

from sqlalchemy.ext.asyncio import async_sessionmaker, create_async_engine

engine = create_async_engine(os.environ.get("DATABASE_URL", "sqlite+aiosqlite:///var/bookshop.db"))
Session = async_sessionmaker(engine, expire_on_commit=False)
