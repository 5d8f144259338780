"""Pages of jobs equal those of a naive model: a list, filtered, newest first, cut."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

import pytest
import sqlalchemy as sa

from onward.jobs import ledger, pages, row
from onward.jobs.error_text import one_line
from onward.jobs.model import Job, JobError, JobFilter, Visible
from onward.jobs.param_filter import ENCRYPTED, param_filter
from onward.jobs.states import TERMINAL, JobStatus
from onward.storage.engine import Database
from onward.storage.tables import jobs
from onward.storage.transaction import Tx
from onward.storage.writer import Writer
from tests.ledgers import accept

S = JobStatus
ALL = Visible(everything=True)
_delete = sa.delete(jobs).where(jobs.c.id == sa.bindparam("id_"))
MESSAGES = ("no", "no answer", "no\n answer")
CODES = ("BUSY", "503", "%", 'a"b', 'a",b', "ü")
HANDLERS = ("email.welcome", "email.bill", "steps.item", "e_ail.odd", "email%.odd")
PARAMS: tuple[dict[str, Any], ...] = (
    *({"order": text} for text in ("A-17", "a-17", "A-1", "", 'A"17\x00%_/\\é', "1", "true", '"', "\u2028")),
    *({"n": n, "to": "A-17"} for n in (1, 1.0, 12, True, False, None, 0, -0.0, 0.1, -1, 1e300, 10**16, 1e16)),
    *({"n": n} for n in (2**53, 2**53 + 1, float(2**53), 2**63 - 1, 2**64 - 1, -(2**63))),
    {"order": {ENCRYPTED: "token"}},
    {"order": ["A-17"]},
    {"order": {"order": "A-17", "n": 1, "": {"é": None}}},
    {"note": '"order":"A-17","n":1,'},
    {},
)
NAMES = ("order", "n", "order.order", "order.n", "note", "order." + ENCRYPTED, "to", "Order", "é")
VALUES = (
    *("A-17", "a-17", "A-1", "", 'A"17\x00%_/\\é', "1", "true", '"', "token", "\u2028", '"order":"A-17","n":1,'),
    *(1, 1.0, 12, True, False, None, 0, 0.0, -0.0, 0.1, -1, 1e300, 10**16, 1e16, 2**53, 2**53 + 1, float(2**53)),
    *(2**63 - 1, 2**64 - 1, -(2**63), float(2**63)),
)
_place = (
    sa.update(jobs)
    .where(jobs.c.id == sa.bindparam("id_"))
    .values(
        {name: sa.bindparam(f"{name}_") for name in ("status", "created_at", "finished_at", "error", "batch", "params")}
    )
)


@pytest.fixture
def filled(writer: Writer) -> list[Job]:
    """A ledger with sixty jobs of all states, handlers and owners, and the naive model of it, newest first."""
    chance = random.Random(7)

    def fill(tx: Tx) -> list[Job]:
        found = []
        for n in range(60):
            job = accept(tx, chance.choice(HANDLERS), owner=chance.choice([None, "ann", "bob"]))
            status = chance.choice(list(JobStatus))
            error = JobError(chance.choice(CODES), chance.choice(MESSAGES), True, None, tx.now)
            tx.execute(
                _place,
                id_=job.id,
                status_=status.value,
                created_at_=tx.now + n // 3,
                finished_at_=tx.now + n if status in TERMINAL else None,
                error_=row.encode_error(chance.choice([None, error]) if status is not S.SUCCEEDED else None),
                batch_=chance.choice([None, "batch_1", "batch_2"]),
                params_=row.encode(PARAMS[n % len(PARAMS)]),
            )
            found.append(job.id)
        by_id = ledger.get_many(tx, found)
        return [by_id[job_id] for job_id in reversed(found)]

    return writer.run_sync(fill)


def filters(filled: list[Job], chance: random.Random) -> JobFilter:
    times = [job.created_at for job in filled]
    ends = [job.finished_at for job in filled if job.finished_at is not None]
    return JobFilter(
        status=tuple(chance.sample(list(JobStatus), chance.choice([0, 0, 1, 2, 5]))),
        handler=tuple(
            chance.sample(
                ["email.*", "*", "*.odd", "email.bill", "steps.item", "e_ail.*", "email%*", "nothing", "*i*", "E*"], k
            )
            if (k := chance.choice([0, 0, 1, 2]))
            else ()
        ),
        created_after=chance.choice([None, None, *times]),
        created_before=chance.choice([None, None, *times]),
        owner=chance.choice([None, None, "ann", "nobody"]),
        error_code=tuple(chance.sample([*CODES, "b", "*", "busy"], chance.choice([0, 0, 0, 1, 3]))),
        error_message=chance.choice([None, None, None, *map(one_line, MESSAGES)]),
        finished_after=chance.choice([None, None, None, *ends]),
        finished_before=chance.choice([None, None, None, *ends]),
        run_after=chance.choice([None] * 50 + [job.due_at for job in filled]),
        run_before=chance.choice([None] * 50 + [job.due_at for job in filled]),
        batch=chance.choice([None, None, "batch_1", "batch_3"]),
        params=tuple(
            param_filter(
                chance.choice(NAMES),
                chance.sample(VALUES, chance.choice([1, 3, 12])),
                frozenset(chance.sample(HANDLERS, chance.choice([0, 0, 1]))),
            )
            for _ in range(chance.choice([0, 0, 0, 1, 2]))
        ),
    )


def model(filled: list[Job], visible: Visible, wanted: JobFilter, **place: Any) -> list[Job]:
    found = [job for job in filled if visible.sees(job) and wanted.matches(job)]
    if place.get("after") is not None:
        found = [job for job in found if job.id < place["after"]]
    if place.get("before") is not None:
        found = [job for job in found if job.id > place["before"]]
    return found


@pytest.mark.parametrize("seed", range(8))
def test_a_page_equals_that_of_the_model(
    writer: Writer, filled: list[Job], monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    """The comparison covers both directions, any cursor, any filter and any viewer, and jobs found by either index."""
    monkeypatch.setattr(pages, "NARROW", (20, pages.NARROW)[seed % 2])
    chance = random.Random(seed)
    for _ in range(40):
        visible = chance.choice([ALL, Visible("ann"), Visible("bob"), Visible("nobody"), Visible()])
        wanted = filters(filled, chance)
        place: dict[str, Any] = {
            "after": chance.choice([None, chance.choice(filled).id]),
            "before": chance.choice([None, None, chance.choice(filled).id]),
        }
        size = chance.choice([1, 2, 5, 50])
        backwards = chance.random() < 0.5
        cut: dict[str, Any] = {"last": size} if backwards else {"first": size}
        page = writer.database.read_sync(lambda tx: pages.page(tx, visible=visible, filter=wanted, **place, **cut))  # noqa: B023
        expected = model(filled, visible, wanted, **place)
        assert list(page.jobs) == (expected[-size:] if backwards else expected[:size]), (wanted, place, cut)
        more = page.has_previous if backwards else page.has_next
        assert more == (len(expected) > size)
        counted = writer.database.read_sync(lambda tx: pages.count(tx, visible=visible, filter=wanted, limit=size))  # noqa: B023
        assert counted.n == min(size, len(model(filled, visible, wanted)))


@pytest.mark.parametrize("name", NAMES)
def test_a_parameters_value_selects_the_jobs_that_have_it(writer: Writer, filled: list[Job], name: str) -> None:
    """Every value alone, as Python compares it and as the databases find it: whole, exact, and of its own kind."""

    def read(tx: Tx) -> None:
        for value in VALUES:
            wanted = JobFilter(params=(param_filter(name, [value]),))
            page = pages.page(tx, visible=ALL, filter=wanted, first=60)
            assert [job.id for job in page.jobs] == [job.id for job in model(filled, ALL, wanted)], (name, value)
            assert not page.has_next

    writer.database.read_sync(read)


def test_kinds_of_values_are_told_apart(writer: Writer, filled: list[Job]) -> None:
    def found(value: Any) -> list[str]:
        wanted = JobFilter(params=(param_filter("n", [value]),))
        page = writer.database.read_sync(lambda tx: pages.page(tx, visible=ALL, filter=wanted, first=60))
        by_id = {job.id: repr(job.params["n"]) for job in filled if "n" in job.params}
        return sorted({by_id[job.id] for job in page.jobs})

    assert found(1) == found(1.0) == ["1", "1.0"]
    assert found(True) == ["True"]
    assert found("1") == []
    assert found(0) == found(-0.0) == ["-0.0", "0"]
    assert found(None) == ["None"]
    assert found(2**53 + 1) == [str(2**53 + 1)]
    assert found(2**53) == ["9007199254740992", "9007199254740992.0"]


@pytest.mark.parametrize("size", [1, 3, 60])
@pytest.mark.parametrize("backwards", [False, True])
def test_a_search_that_stops_early_says_where_to_go_on(
    writer: Writer, filled: list[Job], monkeypatch: pytest.MonkeyPatch, size: int, *, backwards: bool
) -> None:
    """A page looks at a bounded number of jobs, and may be empty before the last one; together they are the list."""
    monkeypatch.setattr(pages, "SLICE", 4)
    monkeypatch.setattr(pages, "EXAMINED", 8)
    monkeypatch.setattr(pages, "EXAMINED_IN_COMMIT", 8)
    wanted = JobFilter(params=(param_filter("order", ["A-17"]),))
    expected = [job.id for job in model(filled, ALL, wanted)]
    seen: list[str] = []
    lengths = []
    place: str | None = None
    while True:
        cut: dict[str, Any] = {"last": size, "before": place} if backwards else {"first": size, "after": place}
        page = writer.database.read_sync(lambda tx, cut=cut: pages.page(tx, visible=ALL, filter=wanted, **cut))  # type: ignore[misc]
        ids = [job.id for job in page.jobs]
        seen = [*ids, *seen] if backwards else [*seen, *ids]
        lengths.append(len(ids))
        place = page.start if backwards else page.end
        if not (page.has_previous if backwards else page.has_next):
            break
    assert seen == expected
    assert 0 in lengths
    oldest: list[str] = []
    place, n = "", 0
    while place is not None:
        found = writer.database.read_sync(
            lambda tx, place=place: pages.ids(tx, visible=ALL, filter=wanted, limit=size, beyond=place)  # type: ignore[misc]
        )
        oldest, place = [*oldest, *found.ids], found.beyond
    assert oldest == expected[::-1]
    place = ""
    while place is not None:
        counted = writer.database.read_sync(
            lambda tx, place=place: pages.count(tx, visible=ALL, filter=wanted, limit=60, beyond=place)  # type: ignore[misc]
        )
        n, place = n + counted.n, counted.beyond
    assert n == len(expected)


def test_long_parameters_are_compared_a_few_at_once(
    writer: Writer, filled: list[Job], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pages, "EXACT_BYTES", 1)
    wanted = JobFilter(params=(param_filter("order", ["A-17"]),))
    page = writer.database.read_sync(lambda tx: pages.page(tx, visible=ALL, filter=wanted, first=60))
    assert list(page.jobs) == model(filled, ALL, wanted)


def test_no_further_jobs_are_looked_at_after_a_time(
    writer: Writer, filled: list[Job], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pages, "SLICE", 4)
    monkeypatch.setattr(pages, "EXAMINE_S", -1.0)
    wanted = JobFilter(params=(param_filter("order", ["nothing"]),))
    page = writer.database.read_sync(lambda tx: pages.page(tx, visible=ALL, filter=wanted, first=60))
    assert (page.jobs, page.has_next, page.end) == ((), True, filled[3].id)


@pytest.mark.parametrize("size", [1, 7, 60, 61])
def test_pages_one_after_another_are_the_whole_list(writer: Writer, filled: list[Job], size: int) -> None:
    """Each job is listed once, forwards and backwards, while new ones come in at the top."""

    def read(**cut: Any) -> pages.Page:
        return writer.database.read_sync(lambda tx: pages.page(tx, visible=ALL, filter=JobFilter(), **cut))

    found: list[Job] = []
    page = read(first=size)
    while True:
        found += page.jobs
        writer.run_sync(accept)
        if not page.has_next:
            break
        page = read(first=size, after=found[-1].id)
    assert found == filled
    backwards = list(page.jobs)
    while len(backwards) < len(filled):
        backwards = [*read(last=size, before=backwards[0].id).jobs, *backwards]
    assert backwards[-len(filled) :] == filled


def test_a_page_leaves_out_a_job_that_is_pruned_between_its_two_reads(
    writer: Writer, filled: list[Job], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A long page is weighed before it is read."""
    rows = ledger.rows

    def pruned_first(tx: Tx, ids: Sequence[str], without: frozenset[str]) -> list[Any]:
        writer.run_sync(lambda other: other.execute(_delete, id_=ids[3]))
        return rows(tx, ids, without)

    monkeypatch.setattr(ledger, "rows", pruned_first)
    most = pages.Allowance(1_000_000, 1_000_000)
    page = writer.database.read_sync(
        lambda tx: pages.page(tx, visible=ALL, filter=JobFilter(), first=20, most=most, without=frozenset({"params"}))
    )
    assert [job.id for job in page.jobs] == [job.id for job in (*filled[:3], *filled[4:20])]
    assert page.has_next


def test_a_bulk_retry_takes_the_oldest_matching_jobs(writer: Writer, filled: list[Job]) -> None:
    wanted = JobFilter(status=(S.FAILED, S.CANCELLED), handler=("e*",))
    expected = [job.id for job in reversed(model(filled, ALL, wanted))][:5]
    assert expected
    found = writer.database.read_sync(lambda tx: pages.ids(tx, visible=ALL, filter=wanted, limit=5))
    assert found == pages.Found(expected, expected[-1])


def test_a_page_reads_no_more_than_it_shows(sqlite_ledger: str) -> None:
    """The plan for the first page reads an index in order, without a sort or a scan of the whole table.

    SQLite's plans are the same for a small table; PostgreSQL's say nothing of a large one.
    """
    seen: list[str] = []

    def plans(tx: Tx) -> None:
        built = tx.execute_once

        def explained(statement: Any) -> list[Any]:
            text, params = database.driver.rendered(statement)
            seen.extend(row[-1] for row in tx._cursor.execute(f"EXPLAIN QUERY PLAN {text}", params).fetchall())
            return built(statement)

        tx.execute_once = explained  # type: ignore[method-assign]
        for wanted in (JobFilter(), JobFilter(status=(S.FAILED,)), JobFilter(handler=("email.welcome",))):
            pages.page(tx, visible=ALL, filter=wanted, first=50)
        pages.page(tx, visible=Visible("ann"), filter=JobFilter(), first=50)
        pages.page(tx, visible=Visible("ann"), filter=JobFilter(status=(S.FAILED,)), first=50, parent="job_1")

    database = Database(sqlite_ledger)
    database.read_sync(plans)
    database.close()
    assert seen
    assert not [line for line in seen if "TEMP B-TREE" in line]


def test_a_page_of_children_equals_the_naive_one(writer: Writer, filled: list[Job]) -> None:
    """By the parent's index, newest first, of each status and of all of them."""
    parent, other = filled[0].id, filled[1].id
    family = sa.update(jobs).where(jobs.c.id == sa.bindparam("id_")).values(parent=sa.bindparam("parent_"))

    def adopt(tx: Tx) -> None:
        for n, job in enumerate(filled[2:]):
            tx.execute(family, id_=job.id, parent_=parent if n % 2 else other)

    writer.run_sync(adopt)
    hers = [job for n, job in enumerate(filled[2:]) if n % 2]
    for status in ((), (S.FAILED,), (S.QUEUED, S.SUCCEEDED)):
        expected = [job.id for job in hers if not status or job.status in status]
        seen: list[str] = []
        while True:
            after = seen[-1] if seen else None
            page = writer.database.read_sync(
                lambda tx, after=after, status=status: pages.page(  # type: ignore[misc]
                    tx, visible=ALL, filter=JobFilter(status), first=4, after=after, parent=parent
                )
            )
            seen += [job.id for job in page.jobs]
            if not page.has_next:
                break
        assert seen == expected
