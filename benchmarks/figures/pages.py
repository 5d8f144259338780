"""R: the console's pages on a ledger of a month of use: what each asks for at its first view, and at further ones."""

from __future__ import annotations

import statistics
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing
from datetime import UTC, datetime
from functools import cache, partial
from typing import Any

import sqlalchemy as sa
from graphql import OperationDefinitionNode, parse

from benchmarks import month
from benchmarks.base import Measured, Row, Scope, emptied
from benchmarks.figures.accept import api
from benchmarks.figures.size import FRESH_S, LARGE, LARGE_QUICK
from benchmarks.graphql import Caller, body
from benchmarks.postgres import servers
from benchmarks.processes import Program
from onward.graphql.ids import cursor
from onward.storage.tables import batches, jobs
from onward.storage.transaction import Tx
from onward.web.documents import documents

FIRST_MS, FURTHER_MS, VIEWS = 300, 150, 20
SIZE, PARTS, BATCHES = 25, 12, 21  # as the pages ask for
SETTLED_S = 5.0  # until the waiting jobs are delivered
MINUTE_S, HOUR_S, DAY_S = 60, 3_600, 86_400
RANGES = {"hour": (HOUR_S, MINUTE_S), "day": (DAY_S, HOUR_S), "week": (7 * DAY_S, HOUR_S)}
Page = dict[str, dict[str, Any]]
"""The operations of a page, with their variables."""
Serve = Callable[[], AbstractContextManager[tuple[Program, int]]]


def take(scope: Scope) -> Iterator[Row]:
    size = LARGE_QUICK if scope.quick else LARGE
    with servers(scope) as on, on.onward("dramatiq") as run:
        folder = emptied(scope.folder / "pages")
        for name, address in (("SQLite", f"sqlite:///{folder / 'ledger.db'}"), ("PostgreSQL", run.url)):
            sys.stderr.write(f"onward:   {name}, {size:,} jobs\n")
            with closing(month.filled(address, size)) as database:
                pages = database.read_sync(partial(_pages, size=size))
            serve = partial(api, folder, backend="dramatiq", redis_url=on.redis_url, database_url=address)
            yield from _measured(scope, name, pages, serve)


def _measured(scope: Scope, name: str, pages: dict[str, Page], serve: Serve) -> Iterator[Row]:
    with serve():
        time.sleep(SETTLED_S)
    first, further = ({what: _Views(page) for what, page in pages.items()} for _ in range(2))
    for _ in range(scope.rounds):
        for one in first.values():
            with serve() as (_, port):  # one that has answered nothing yet
                one.view(Caller(port))
    with serve() as (_, port):
        caller = Caller(port)
        for _ in range(VIEWS + 1):
            for one in further.values():
                if one.is_cached:
                    time.sleep(FRESH_S)
                one.view(caller)
    for what in pages:
        taken = Measured("first view", first[what].took)
        yield first[what].row(f"{what}, {name}, first view", taken, FIRST_MS)
        rest = further[what].took[1:]
        taken = Measured("further views")
        taken.add(statistics.quantiles(rest, n=20, method="inclusive")[-1], p50_ms=statistics.median(rest))
        yield further[what].row(f"{what}, {name}, further views, p95", taken, FURTHER_MS)


class _Views:
    """Views of a page: their milliseconds, and those of each of its operations."""

    def __init__(self, page: Page) -> None:
        self._asked = {name: body(_documents()[name], **variables) for name, variables in page.items()}
        self._spent: Counter[str] = Counter()
        self.is_cached = any("system {" in _documents()[name] for name in page)  # for half a second
        self.took: list[float] = []

    def view(self, caller: Caller) -> None:
        """Ask for all that the page shows, one after another."""
        asked_at = time.perf_counter()
        for name, asked in self._asked.items():
            started = time.perf_counter()
            caller.post(asked)
            self._spent[name] += round((time.perf_counter() - started) * 1_000_000)
        self.took.append((time.perf_counter() - asked_at) * 1000)

    def row(self, what: str, taken: Measured, reach: float) -> Row:
        """Return the row, which names the operation that took most of the time."""
        ((slowest, _),) = self._spent.most_common(1)
        return Row("R", f"{what} ({slowest})", "ms", taken, reach=reach, at_least=False)


@cache
def _documents() -> dict[str, str]:
    """Return the documents by the names of their operations."""
    found = {}
    for text in documents():
        operation = parse(text).definitions[0]
        assert isinstance(operation, OperationDefinitionNode) and operation.name  # noqa: S101, PT018 - it comes first
        found[operation.name.value] = text
    return found


def _pages(tx: Tx, size: int) -> dict[str, Page]:
    """Return the operations that each page sends, on the busiest choices that it offers."""
    failed = tx.scalar(sa.select(sa.func.max(jobs.c.id)).where(jobs.c.status == "FAILED"))
    batch = tx.scalar(sa.select(sa.func.max(batches.c.id)))
    common, rare = month.HANDLERS[0], month.HANDLERS[-1]
    now = tx.now / 1_000_000
    day = {"createdAfter": _at(now - 3 * DAY_S), "createdBefore": _at(now - 2 * DAY_S)}
    filters: dict[str, Page] = {
        "no filter": _jobs(),
        "next page": _jobs(after=_behind(tx, SIZE)),
        "deep page": _jobs(after=_behind(tx, size // 2)),
        "failed": _jobs(status=["FAILED"]),
        "failed, deep page": _jobs(after=_behind(tx, size // 100, jobs.c.status == "FAILED"), status=["FAILED"]),
        "succeeded or failed": _jobs(status=["SUCCEEDED", "FAILED"]),
        "a handler": _jobs(handler=[common]),
        "a rare handler, failed": _jobs(handler=[rare], status=["FAILED"]),
        "handlers by pattern": _jobs(handler=["j.*"]),
        "an owner": _jobs(owner="user_7"),
        "an owner, failed": _jobs(owner="user_7", status=["FAILED"]),
        "an error code": _jobs(errorCode=["503"]),
        "a rare error code of a handler": _jobs(errorCode=["NO_SUCH_ORDER"], handler=[rare]),
        "an unknown error code": _jobs(errorCode=["NONE"]),
        "made on a day": _jobs(**day),
        "failed on a day": _jobs(status=["FAILED"], **day),
        "finished in an hour": _jobs(finishedAfter=_at(now - DAY_S), finishedBefore=_at(now - DAY_S + HOUR_S)),
        "a parameter's value": _jobs(params=[{"name": "order", "values": ["A-17"]}]),
        "the children of a batch": _jobs(batch=batch),
        "the count of the failed": {"countJobs": {"filter": {"status": ["FAILED"]}, "limit": 10_000}},
    }
    return {
        "frame": {"shell": {}},
        **{f"overview, {of}": _overview(*RANGES[of]) for of in RANGES},
        **{f"jobs, {what}": page for what, page in filters.items()},
        "a job": {"job": {"id": failed}, "children": {"id": failed}},
        **{f"failures, {of}": _failures(*RANGES[of]) for of in RANGES},
        **{f"handlers, {of}": _handlers(*RANGES[of]) for of in RANGES},
        "schedules": {"schedules": {"after": ""}},
        "workers": {"workers": {}},
        "batches": {"batches": {"first": BATCHES}},
        "a batch": {"oneBatch": {"id": batch}, "batchChildren": {"batch": batch, "first": BATCHES}},
    }


def _behind(tx: Tx, n: int, *conditions: sa.ColumnElement[bool]) -> str:
    """Return the cursor of the nth of the newest jobs that meet the conditions."""
    nth = sa.select(jobs.c.id).where(*conditions).order_by(jobs.c.id.desc()).limit(1).offset(n - 1)
    return cursor(str(tx.scalar(nth)))


def _jobs(after: str | None = None, **filter: Any) -> Page:
    return {"jobs": {"first": SIZE, "after": after, "filter": filter or None}}


def _overview(length: int, step: int) -> Page:
    begin, end, before = _range(length, step)
    figures = {"from": begin, "to": end, "handler": []}
    return {
        "overview": figures,
        "errors": figures,
        "earlier": {"from": before, "to": begin, "handler": []},
        "course": figures | {"step": "MINUTE" if step == MINUTE_S else "HOUR"},
        "waiting": {},
    }


def _failures(length: int, step: int) -> Page:
    begin, end, _ = _range(length, step, HOUR_S)
    return {"failures": {"from": begin, "to": end, "handler": None, "parts": PARTS}}


def _handlers(length: int, step: int) -> Page:
    begin, end, before = _range(length, step)
    return {"handlers": {"from": begin, "to": end, "before": before}}


def _range(length: int, step: int, floor: int = 1) -> tuple[str, str, str]:
    """Return the begin, the end, and the begin of the time before, as `range.ts` has them."""
    end = (int(time.time()) // step + 1) * step
    begin = (end - length) // floor * floor
    return _at(begin), _at(end), _at(begin - length)


def _at(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat()
