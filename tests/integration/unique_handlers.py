"""Handlers whose jobs are unique, for the tests of callers."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

import sqlalchemy as sa

from onward import JobContext, Mutation, Retry, Tx, Unique, handler
from onward.storage.sql import insert_new

ONCE = Retry(max_attempts=1)
MINUTE = timedelta(minutes=1)


@handler("report.make", retry=ONCE, unique=Unique(by=("month",)), mutation=True)
async def make(job: JobContext, *, month: int, words: str = "") -> str:
    return words


@handler("report.fresh", retry=ONCE, unique=Unique(by=("month",), while_=("queued",)))
async def fresh(job: JobContext, *, month: int) -> None: ...


@handler("report.index", retry=ONCE, unique=Unique(by=("month",), replace=True, debounce=MINUTE), mutation=True)
async def index(job: JobContext, *, month: int, words: str = "") -> str:
    return words


@handler("report.all", retry=ONCE, unique=Unique(per_owner=False), mutation=True)
async def everything(job: JobContext, *, words: str = "") -> str:
    return words


@handler("report.send", retry=ONCE, unique=Unique(by=("pin",)), secret=frozenset({"pin"}))
async def send(job: JobContext, *, pin: str) -> None: ...


@handler("report.months", retry=ONCE)
async def months(job: JobContext, *, words: str) -> list[str]:
    """Dispatch two jobs of one month, and one of another."""
    return [job.dispatch(make.job(month=month, words=words)) for month in (1, 1, 2)]


@handler("report.mark", retry=ONCE, unique=Unique(by=("folder",)))
async def mark(job: JobContext, *, folder: str) -> None:
    """Wait for the file `go` in the folder."""
    from onward.testing.workload import gate, note

    note(job, folder, "ran")
    await gate(folder)


edits = sa.table("edits", sa.column("id"), sa.column("words"))
_insert = insert_new(edits)


@dataclass
class Edit:
    id: str
    words: str


def edited(tx: Tx, *, words: str) -> Edit:
    made = Edit(tx.new_id("edit"), words)
    tx.execute(_insert, id=made.id, words=words)
    return made


@handler("report.edit", retry=ONCE, unique=Unique(by=("month",)), mutation=Mutation(beside=edited))
async def edit(job: JobContext, *, month: int, words: str = "") -> str:
    return words
