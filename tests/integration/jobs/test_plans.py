"""Plans of frequent statements. SQLite without statistics uses the wrong index, unless one is named.

PostgreSQL chooses by statistics, which are missing or old when a backlog has just come.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import replace
from typing import Any

import pytest
from psycopg.pq import ExecStatus

from onward.jobs import (
    admission,
    batch_children,
    batches,
    blocked,
    catch_up,
    change_feed,
    claims,
    commands,
    due,
    expiry,
    key_limits,
    ledger,
    pages,
    recording,
    recovery,
    schedule_rows,
    waits,
)
from onward.jobs.model import EVERYTHING, JobFilter, Visible
from onward.jobs.param_filter import param_filter
from onward.jobs.row import COLUMNS
from onward.jobs.states import RETRYABLE, TERMINAL, JobStatus
from onward.storage.sql import as_list
from onward.storage.transaction import Tx
from onward.storage.writer import Writer
from tests import ledgers

S = JobStatus


@pytest.fixture
def writer(sqlite_ledger: str) -> Iterator[Writer]:
    with ledgers.writing(sqlite_ledger) as writer:
        yield writer


def plan(writer: Writer, text: str, params: dict[str, Any]) -> list[str]:
    return [row[-1] for row in writer.database.connect().execute(f"EXPLAIN QUERY PLAN {text}", params).fetchall()]


@pytest.mark.parametrize(
    ("statement", "index"),
    [
        (due._due, "jobs_later"),
        (expiry._over, "jobs_expiring"),
        (expiry._next, "jobs_expiring"),
        (waits._due, "jobs_waiting"),
        (due._new_destinations, "jobs_changed"),
        (recording._front, "jobs_ready"),
        (blocked._next_handler, "jobs_blocked"),
        (admission._first_blocked, "jobs_blocked"),
        (key_limits._first, "jobs_by_key"),
        (key_limits._next_key, "jobs_by_key"),
        (key_limits._any_unplaced, "jobs_unplaced"),
        (key_limits._soonest, "key_limits_next"),
        (admission._count_reserved, "jobs_promised"),
        (due._undelivered, "jobs_ready"),
        (due._waiting, "jobs_ready"),
        (due._waiting_by_handler, "jobs_ready"),
        (due._backlog, "jobs_by_status"),
        (due._unsent, "jobs_unsent"),
        (claims._any_due, "jobs_ready"),
        (claims._next_isolated, "jobs_dangerous"),
        (claims._held_by, "jobs_held"),
        (recovery._any_assigned, "jobs_assigned"),
        (schedule_rows._due, "schedules_due"),
        (schedule_rows._next_stored, "schedules_due"),
        (batch_children._count, "jobs_in_batch"),
        (batches._to_retry, "jobs_in_batch"),
        (batches._followed, "batches_followed"),
        (commands._left_to_batches, "batches_followed"),
        (batches._to_attend, "batches_unfinished"),
        (batches._any_nested_open, "batches_nested"),
        (batches._ended, "jobs_changed"),
        (ledger._COUNTS["sqlite"], "(slot=? AND owner=?)"),
    ],
)
def test_queries_of_every_tick_and_mutation_use_an_index(writer: Writer, statement: Any, index: str) -> None:
    """None of the queries reads all waiting jobs, or the counters of all owners."""
    text, defaults = writer.database.driver.compiled(statement)
    first, *_ = found = plan(
        writer,
        text,
        {
            **defaults,
            "now": 1,
            "limit_": 1,
            "floor": 1,
            "backend_": "here",
            "priority_": 0,
            "owner": "ann",
            "after_": "",
            "handler_": "conformance.job",
            "before_": 1,
            "identity_": "",
            "runner_": "own",
            "exclude": "[]",
            "batch_": "batch_1",
            "status_": "FAILED",
            "retried_": 1,
            "job_": "job_1",
            "ids": "[]",
            "key_": "crm:ann",
            "first_": "crm:",
            "beyond_": "crm;",
        },
    )
    assert first.startswith("SEARCH"), found
    assert index in first, found
    assert not any("ORDER BY" in line for line in found)


def test_the_next_time_is_read_from_the_front_of_two_indexes(writer: Writer) -> None:
    """One is of delayed jobs and retries, the other of waits."""
    text, defaults = writer.database.driver.compiled(due._next)
    lines = plan(writer, text, defaults)
    found = [line for line in lines if line.startswith(("SEARCH", "SCAN")) and line != "SCAN CONSTANT ROW"]
    assert [index in line for index, line in zip(("jobs_later", "jobs_waiting"), found, strict=True)] == [True, True]
    assert not any("ORDER BY" in line for line in lines), lines


def test_the_jobs_that_were_accepted_for_a_runner_are_found_by_it(writer: Writer) -> None:
    """A process that stops does not read all that waits, while it holds the lock of SQLite's writers."""
    text, defaults = writer.database.driver.compiled(recovery._clear_affinity)
    found = plan(writer, text, {**defaults, "runner_": "own", "limit_": 1})
    assert any("jobs_assigned (delivered_to=?)" in line for line in found), found
    assert not any("SCAN onward_jobs" in line for line in found), found


def test_jobs_without_an_owner_are_counted_among_the_unfinished_ones(writer: Writer) -> None:
    """Their handler may have finished any number of jobs."""
    text, defaults = writer.database.driver.compiled(ledger._open_anonymous)
    found = plan(writer, text, {**defaults, "handler_": "conformance.job", "most_": 5})
    assert any("jobs_by_status (status=?" in line for line in found), found
    assert not any("SCAN onward_jobs" in line for line in found), found


@pytest.mark.parametrize("statement", [ledger._owners, ledger._have_jobs, ledger._forget_owners])
def test_the_counters_of_some_owners_are_found_by_their_key(writer: Writer, statement: Any) -> None:
    """The counters of all others are not read."""
    text, defaults = writer.database.driver.compiled(statement)
    found = plan(writer, text, {**defaults, "after_": "", "limit_": 5, "owners": '["ann"]'})
    assert any("(slot=? AND owner" in line for line in found), found
    assert not any("SCAN onward_counts" in line for line in found), found


def test_the_standing_of_a_batch_is_read_from_indexes(writer: Writer) -> None:
    text, defaults = writer.database.driver.compiled(batches._standing)
    found = plan(writer, text, {**defaults, "batch_": "batch_1"})
    assert sum("jobs_in_batch (batch=? AND status=?" in line for line in found) == len(S) - len(TERMINAL) + len(
        RETRYABLE
    ), found
    assert not any("ORDER BY" in line for line in found), found
    assert sum("batches_nested (parent=?" in line for line in found) == 2, found
    assert not any("SCAN onward_" in line for line in found), found


def test_the_standing_of_a_large_batch_reads_few_rows_on_postgresql(postgres_ledger: str) -> None:
    """By the statistics every fourth row is a failed child of it, and none is."""
    with ledgers.writing(postgres_ledger) as writer, _connected(writer) as execute:
        template = writer.run_sync(ledgers.accept).id
        for state in BATCHES:
            _fill(execute, template, state)
        execute("ANALYZE _ledger.jobs")
        text, defaults = writer.database.driver.compiled(batches._standing)
        for kind in PLANS:
            with _explained(writer, kind) as explain:
                assert _rows_read(explain(text, {**defaults, "batch_": "batch_1"})) < ROWS_OF_A_TAKE


def test_the_state_of_keys_is_one_look_at_an_index_for_each(writer: Writer) -> None:
    """Neither other keys nor the jobs of a key are read."""
    text, _ = writer.database.driver.compiled(key_limits.STATE["sqlite"])
    found = plan(writer, text, {"keys": '["crm:ann", "crm:ben"]', "most": 5})
    assert sum("jobs_placed (limit_key=?" in line for line in found) == 2, found
    assert sum("jobs_by_key (limit_key=?)" in line for line in found) == 2, found
    assert not any("SCAN onward_jobs" in line for line in found), found
    assert not any("ORDER BY" in line for line in found), found


@pytest.mark.parametrize("statement", [claims._claim_due, claims._limited, blocked._unblock])
def test_a_page_of_a_queue_is_read_from_its_front(writer: Writer, statement: Any) -> None:
    """The page is read in the order of its index, however long the queue is."""
    text, defaults = writer.database.driver.compiled(statement)
    bound = ("backend_", "runner_", "worker_", "handler_", "change", "now", "before_", "after_")
    found = plan(writer, text, {**dict.fromkeys(bound, 1), **defaults, "limit_": 1, "exclude": "[]"})
    assert any("USING" in line and ("jobs_ready" in line or "jobs_blocked" in line) for line in found), found
    assert not any("ORDER BY" in line or "SCAN jobs" in line for line in found), found


@pytest.mark.parametrize("status", [(S.SUCCEEDED,), (S.SUCCEEDED, S.FAILED)])
def test_an_owner_s_page_reads_no_jobs_of_others(writer: Writer, status: tuple[JobStatus, ...]) -> None:
    """The filter makes no difference."""
    seen: list[str] = []

    def read(tx: Tx) -> None:
        built = tx.execute_once

        def explained(statement: Any) -> list[Any]:
            seen.extend(plan(writer, *writer.database.driver.rendered(statement)))
            return built(statement)

        tx.execute_once = explained  # type: ignore[method-assign]
        pages.page(tx, visible=Visible("ann"), filter=JobFilter(status), first=50)
        pages.page(tx, visible=EVERYTHING, filter=JobFilter(status, owner="ann"), first=50)

    writer.database.read_sync(read)
    assert sum("jobs_by_owner (owner=?)" in line for line in seen) == 2 * len(status), seen
    assert not any("jobs_by_status" in line for line in seen), seen


def read_pages(
    writer: Writer, filter: JobFilter, explained: Callable[[str, dict[str, Any]], None], *, most: int = 10_000
) -> None:
    """Read a page, the oldest ids and the count, `most` at most, of a filter; `explained` gets their statements."""

    def read(tx: Tx) -> None:
        execute = tx.execute_once

        def spied(statement: Any) -> list[Any]:
            explained(*writer.database.driver.rendered(statement))
            return execute(statement)

        tx.execute_once = spied  # type: ignore[method-assign]
        pages.page(tx, visible=EVERYTHING, filter=filter, first=50)
        pages.ids(tx, visible=EVERYTHING, filter=filter, limit=200)
        pages.count(tx, visible=EVERYTHING, filter=filter, limit=most)

    writer.database.read_sync(read)


FILTERS = {  # with the index that finds their jobs
    "jobs_finished": JobFilter((S.FAILED, S.CANCELLED), finished_after=2**50),
    "jobs_later": JobFilter(run_after=2**51, run_before=2**51 + 3),
    "jobs_in_batch": JobFilter((S.FAILED,), batch="batch_1"),
    "jobs_by_error": JobFilter(error_code=("NO_SUCH_ORDER",)),
}


FREQUENT_CODE = JobFilter(error_code=("503",))


@pytest.mark.parametrize("index", FILTERS)
def test_a_filter_by_time_batch_or_code_reads_the_jobs_of_its_index(writer: Writer, index: str) -> None:
    seen: list[str] = []
    read_pages(writer, FILTERS[index], lambda *given: seen.extend(plan(writer, *given)))
    assert (
        sum(
            f"USING INDEX {index} (" in line or f"USING COVERING INDEX {index} (" in line
            for line in (line.replace("onward_", "") for line in seen)
        )
        >= 3
    ), seen
    assert not any("jobs_by_status" in line or "SCAN jobs" in line for line in seen), seen


@pytest.mark.parametrize("index", FILTERS)
def test_a_filter_by_time_batch_or_code_reads_few_rows_on_postgresql(postgres_ledger: str, index: str) -> None:
    """Nothing has counted the rows of the table yet, most of which are other jobs of the same states."""
    assert max(_rows_of_pages(postgres_ledger, FILTERS[index])) < 200


def test_a_filter_by_a_frequent_code_reads_jobs_with_it_alone_on_postgresql(postgres_ledger: str) -> None:
    """Once its rows are counted, PostgreSQL reads few more than a page has."""
    assert max(_rows_of_pages(postgres_ledger, FREQUENT_CODE)) < 2 * BACKLOG  # from the index, and from the table
    assert max(_rows_of_pages(postgres_ledger, FREQUENT_CODE, analysed=True)) < 1_000


def _rows_of_pages(url: str, filter: JobFilter, *, analysed: bool = False) -> list[int]:
    """Return the number of rows that each statement of `read_pages` reads beside a backlog."""
    with ledgers.writing(url) as writer, _connected(writer) as execute:
        if not analysed:
            execute("ALTER TABLE _ledger.jobs SET (autovacuum_enabled = false)")
            template = writer.run_sync(ledgers.accept).id
            for state in OTHERS:
                _fill(execute, template, state)
        else:
            execute("ANALYZE _ledger.jobs")
        read = []

        def explained(text: str, params: dict[str, Any]) -> None:
            ((found,),) = execute(f"EXPLAIN (ANALYZE, FORMAT JSON) {text}", params)
            read.append(_rows_read(found[0]["Plan"]))

        read_pages(writer, filter, explained, most=50 if filter is FREQUENT_CODE else 10_000)
    return read


BY_PARAM = JobFilter(handler=("conformance.job",), params=(param_filter("order", ["A-17"]),))


def test_a_filter_by_a_parameter_reads_the_jobs_of_its_handler_in_their_order(writer: Writer) -> None:
    seen: list[str] = []
    read_pages(writer, BY_PARAM, lambda *given: seen.extend(plan(writer, *given)))
    assert sum("jobs_by_handler (handler=?" in line for line in seen) == 3, seen
    assert not any("SCAN onward_jobs" in line or "ORDER BY" in line for line in seen), seen


def test_a_filter_by_a_parameter_reads_a_bounded_number_of_rows_on_postgresql(
    postgres_ledger: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No index has the parameters; the ledger has many more jobs."""
    monkeypatch.setattr(pages, "SLICE", 100)
    monkeypatch.setattr(pages, "EXAMINED", 300)
    monkeypatch.setattr(pages, "EXAMINED_IN_COMMIT", 300)
    monkeypatch.setattr(pages, "EXAMINE_S", 60.0)
    with ledgers.writing(postgres_ledger) as writer, _connected(writer) as execute:
        execute("ALTER TABLE _ledger.jobs SET (autovacuum_enabled = false)")
        _fill(execute, writer.run_sync(ledgers.accept).id, "over")
        execute("ANALYZE _ledger.jobs")
        read = []

        def explained(text: str, params: dict[str, Any]) -> None:
            ((found,),) = execute(f"EXPLAIN (ANALYZE, FORMAT JSON) {text}", params)
            read.append(_rows_read(found[0]["Plan"]))

        for wanted in (BY_PARAM, replace(BY_PARAM, handler=())):
            read_pages(writer, wanted, explained)
    assert len(read) == 2 * (3 + 1 + 3 + 3), "slices of the page, the page, the oldest ids, the count"
    assert max(read) <= 100, read


BACKLOG = 2_000  # jobs in each state
STATES = {
    "ready": {"status": "'QUEUED'"},
    "of another queue": {"status": "'QUEUED'", "backend": "'here:gpu'", "priority": "-1"},
    "blocked": {"status": "'QUEUED'", "parked": "'PAUSED'"},
    "blocked by its key": {"status": "'QUEUED'", "parked": "'KEY'", "limit_key": "'crm:' || (n % 50)"},
    "placed": {"status": "'QUEUED'", "placed": "token", "limit_key": "'crm:' || n"},
    "held": {"status": "'RUNNING'", "runner": "'another'"},
    "later": {"status": "'SCHEDULED'", "due_at": "2000000000000000 + n"},
    "waiting": {"status": "'WAITING'", "due_at": "2000000000000000 + n"},
    "over": {"status": "'SUCCEEDED'", "finished_at": "n"},
}
OTHERS = {
    "failed": {"status": "'FAILED'", "finished_at": f"CASE n WHEN {BACKLOG} THEN {2**50 + 1} ELSE n END"},
    "far": {"status": "'SCHEDULED'", "due_at": f"{2**51 - 1_000} + n"},
    "child": {"status": "'FAILED'", "finished_at": "n", "batch": "'batch_' || n / 10"},
    "with an error": {
        "status": "'FAILED'",
        "error": f"""'{{"code":"' || CASE n WHEN {BACKLOG} THEN 'NO_SUCH_ORDER' ELSE '503' END
            || '","message":"","retryable":false,"step":null,"occurred_at":0}}'""",
    },
}
BATCHES = {
    "of a batch": {"status": "'SUCCEEDED'", "finished_at": "n", "batch": "'batch_1'", "position": "n"},
    "of a batch that has failed": {"status": "'FAILED'", "finished_at": "n", "batch": "'batch_2'", "position": "n"},
}
FREQUENT = {
    "claim": claims._claim,
    "claim several": claims._claim_due,
    "look for one to claim": claims._any_due,
    "look for any to claim or to run alone": claims._any_work,
    "claim those with limits": claims._limited_free,
    "look for one to run alone": claims._next_isolated,
    "look at the own claims": claims._held_by,
    "look for jobs accepted for a runner": recovery._any_assigned,
    "let others claim them": recovery._clear_affinity,
    "confirm deliveries": due._confirm,
    "look for callers' jobs": due._unsent,
    "look for undelivered ones": due._undelivered,
    "look for those that are due": due._due,
    "look for the next time": due._next,
    "look for waits that are over": waits._due,
    "look for new destinations": due._new_destinations,
    "look for destinations of a transaction": due._destinations_of_open,
    "look at the front of the line": recording._front,
    "finish a step": recording._finish_step,
    "claim several by id": claims._claim_each,
    "record the outcome": recording._record,
    "look at the limits": admission._candidate,
    "count reservations": admission._count_reserved,
    "find the first that is blocked": admission._first_blocked,
    "find a handler with blocked jobs": blocked._next_handler,
    "unblock": blocked._unblock,
    "look at keys": key_limits.STATE["postgresql"],
    "find the first jobs of a key": key_limits._first,
    "let jobs of keys start": key_limits._let_start,
    "find the next key with blocked jobs": key_limits._next_key,
    "look for jobs to place": key_limits._any_unplaced,
    "block those without a place": key_limits._block_unplaced,
    "look for keys that are due": key_limits._due,
    "count what a subscriber has missed": catch_up._count,
    "read what a subscriber has missed": catch_up._since,
    "look for changes": change_feed._changed,
    "look for changes of a transaction": change_feed._changed_by,
}


PLANS = ("custom", "generic")  # by the given values; for any, as a prepared statement has it after some runs
ROWS_OF_A_TAKE = claims.CANDIDATES * 2 + 100
PAGES_OF_A_LOOK = 60
PAGES_OF_A_CHANGE = 20  # the row's own page, that of its new version, and those of the table's indexes


@pytest.mark.parametrize("statistics", ["none", "of jobs that are over"])
def test_no_frequent_statement_reads_the_backlog_on_postgresql(postgres_ledger: str, statistics: str) -> None:
    """The statistics are those of before the backlog came. Rows are counted, and the pages of tables and indexes."""
    with ledgers.writing(postgres_ledger) as writer, _connected(writer) as execute:
        execute("ALTER TABLE _ledger.jobs SET (autovacuum_enabled = false)")
        template = writer.run_sync(ledgers.accept).id
        if statistics != "none":
            _fill(execute, template, "over")
            execute("ANALYZE _ledger.jobs")
        texts = _frequent(writer, _fill_all(execute, template))
        too_many: dict[tuple[str, str], tuple[int, int, int]] = {}
        for kind in PLANS:
            with _explained(writer, kind) as explain:
                too_many |= {(kind, name): found for name, found in _with_too_many_rows(explain, texts).items()}
    assert too_many == {}


def test_no_plan_of_an_empty_ledger_reads_the_backlog_later_on_postgresql(postgres_ledger: str) -> None:
    """A session keeps the plan that it made before the backlog came, for as long as nothing analyses the table."""
    with ledgers.writing(postgres_ledger) as writer, _connected(writer) as execute:
        execute("ALTER TABLE _ledger.jobs SET (autovacuum_enabled = false)")
        template = writer.run_sync(ledgers.accept).id
        with _explained(writer, "generic") as explain:
            for text, given in _frequent(writer, [template]).values():
                explain(text, given)
            texts = _frequent(writer, _fill_all(execute, template))
            before, _ = explain.prepared()
            assert _with_too_many_rows(explain, texts) == {}
            after, _ = explain.prepared()
            assert after == before, "a statement was planned again"


def _fill_all(execute: Callable[..., list[Any]], template: str) -> list[str]:
    """Insert a backlog of each state, and return every hundredth id."""
    return [job_id for state in STATES for job_id in _fill(execute, template, state)[::100]]


def _frequent(writer: Writer, ids: list[str]) -> dict[str, tuple[str, dict[str, Any]]]:
    """Return the texts of the frequent statements by name, with values; those with `rows` change the given jobs."""
    bound = {
        **dict.fromkeys(("attempts_", "steps_", "progress_", "result_", "error_"), "[]"),
        **dict.fromkeys(("backend_", "reason_", "worker_"), "here"),
        **dict.fromkeys(("counted_", "due_", "finished_", "next_token", "token_", "priority_"), 0),
        "id_": ids[0],
        "ids": as_list(ids),
        "exclude": "[]",
        "limit_": 10,
        "runner_": "own",
        "from_": "RUNNING",
        "to_": "SUCCEEDED",
        "handler_": "conformance.job",
        "identity_": "broker",
        "before_": 2**60,
        "now": 2**50,
        "change": 1,
        "crashes_": 1,
        "floor": 2**60,
        "end": 2**60,
        "open": "{7}",
        "keys": as_list(["crm:1", "crm:2"]),
        "most": 5,
        "key_": "crm:1",
        "first_": "crm:1",
        "beyond_": "crm;",
        "beyond": 2**60,
        "blocked_": None,
    }
    driver = writer.database.driver
    texts = {}
    for name, statement in FREQUENT.items():
        text, defaults = driver.compiled(statement)
        after = "" if statement is blocked._next_handler else 2**60
        texts[name] = text, {**defaults, **bound, "after_": after}
    for name, statement in (("steps", recording._finish_step), ("outcomes", recording._record)):
        text, _, defaults = driver._for_rows(statement)  # type: ignore[attr-defined]
        texts[name] = text, {"rows": json.dumps([{**defaults, **bound, "id_": job_id} for job_id in ids])}
    return texts


def _with_too_many_rows(
    explain: _Explainer, texts: Mapping[str, tuple[str, dict[str, Any]]]
) -> dict[str, tuple[int, int, int]]:
    """Return the rows read, the rows changed and the pages of the statements that read too much, by name."""
    too_many = {}
    for name, (text, given) in texts.items():
        found = explain(text, given)
        rows, changed, pages = _rows_read(found), _rows_changed(found), _pages(found)
        most = 6 * len(json.loads(given["rows"])) if "rows" in given else ROWS_OF_A_TAKE
        if rows > most or pages > PAGES_OF_A_LOOK + 3 * rows + PAGES_OF_A_CHANGE * changed:
            too_many[name] = rows, changed, pages
        if "rows" in given:
            assert _outermost(found)["CTE Name"] == "each", "jobs are not locked in the order of the rows"
    return too_many


@pytest.mark.slow
def test_many_waiting_jobs_of_another_queue_do_not_slow_a_claim(writer: Writer) -> None:
    """Counted in SQLite's own instructions: those of one claim, and of one that finds nothing."""
    template = writer.run_sync(ledgers.accept).id
    writer.run_sync(lambda tx: claims.claim_due(tx, runner="own", worker="w", backend="here", limit=9))
    idle, busy = _steps(writer, 0), _steps(writer, 5)
    own = {"id": "'job_other_' || n", "status": "'QUEUED'", "backend": "'here:gpu'", "due_at": "n", "priority": "-1"}
    values = ", ".join(own.get(name, name) for name in COLUMNS)
    numbers = "WITH RECURSIVE numbers(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < 100000)"
    filled = f"INSERT INTO _ledger.jobs ({', '.join(COLUMNS)}) {numbers} SELECT {values} FROM numbers, _ledger.jobs"
    with closing(writer.database.connect()) as connection:
        connection.execute(writer.database.named(f"{filled} WHERE id = '{template}'"))
        connection.commit()
    assert _steps(writer, 0) <= idle * 1.2
    assert _steps(writer, 5) <= busy * 1.2


def _steps(writer: Writer, waiting: int) -> int:
    """Count the instructions of a claim of as many jobs as wait; they wait no more afterwards."""
    writer.run_sync(lambda tx: [ledgers.accept(tx) for _ in range(waiting)])
    steps = 0

    def count() -> int:
        nonlocal steps
        steps += 1
        return 0

    def claim(tx: Tx) -> int:
        connection = tx._cursor.connection
        connection.set_progress_handler(count, 1)
        try:
            return len(claims.claim_due(tx, runner="own", worker="w", backend="here", limit=9))
        finally:
            connection.set_progress_handler(None, 0)

    assert writer.run_sync(claim) == waiting
    return steps


@contextmanager
def _connected(writer: Writer) -> Iterator[Callable[..., list[Any]]]:
    """A connection, by a function that executes a statement and returns its rows; nothing is kept of an EXPLAIN."""
    connection = writer.database.connect()

    def execute(text: str, given: Mapping[str, Any] | None = None) -> list[Any]:
        connection.execute("BEGIN")
        cursor = connection.execute(writer.database.named(text), given)
        rows = cursor.fetchall() if cursor.description else []
        connection.execute("ROLLBACK" if text.startswith("EXPLAIN") else "COMMIT")
        return rows

    with closing(connection):
        yield execute


class _Explainer:
    """A connection that runs prepared statements, takes back what they did, and tells the plans as they were run.

    The plan is told by PostgreSQL's own module, since EXPLAIN itself shows no generic plan of a statement that it runs.
    """

    def __init__(self, connection: Any, kind: str) -> None:
        self._connection = connection
        self._kind = kind
        self._notices: list[str] = []
        connection.add_notice_handler(lambda notice: self._notices.append(notice.message_primary))
        for line in (
            "LOAD 'auto_explain'",
            f"SET plan_cache_mode = force_{kind}_plan",
            "SET client_min_messages = log",
        ):
            connection.execute(line)
        for setting in ("log_min_duration = 0", "log_analyze = on", "log_buffers = on", "log_format = json"):
            connection.execute(f"SET auto_explain.{setting}")

    def __call__(self, text: str, given: Mapping[str, Any]) -> dict[str, Any]:
        _, before = self.prepared()
        self._by_wire(b"BEGIN")
        self._notices.clear()
        self._connection.execute(text, given, prepare=True)
        _, after = self.prepared()
        self._by_wire(b"ROLLBACK")
        assert after == before + 1, "the plan was of the other kind"
        found = next(message for message in self._notices if "plan:" in message and "_prepared_" not in message)
        return dict(json.loads(found.split("plan:", 1)[1])["Plan"])

    def prepared(self) -> tuple[int, int]:
        """Return the number of prepared statements, and how often plans of the kind were used."""
        sql = f"SELECT count(*), coalesce(sum({self._kind}_plans), 0) FROM pg_prepared_statements"
        count, used = self._connection.execute(sql, prepare=False).fetchone()
        return int(count), int(used)

    def _by_wire(self, sql: bytes) -> None:
        """Run a statement behind psycopg's back, which forgets its prepared statements after a rollback of its own."""
        assert self._connection.pgconn.exec_(sql).status == ExecStatus.COMMAND_OK


@contextmanager
def _explained(writer: Writer, kind: str) -> Iterator[_Explainer]:
    with closing(writer.database.connect()) as connection:
        yield _Explainer(connection, kind)


def _fill(execute: Callable[..., list[Any]], template: str, state: str) -> list[str]:
    """Insert jobs in that state, and return their ids."""
    ids = f"'job_{state.replace(' ', '_')}_' || lpad(n::text, 8, '0') || '_' || (SELECT count(*) FROM _ledger.jobs)"
    own = {"id": ids, "changed": "n", "due_at": "n", **{**STATES, **OTHERS, **BATCHES}[state]}
    values = ", ".join(own.get(name, name) for name in COLUMNS)
    selected = f"SELECT {values} FROM generate_series(1, {BACKLOG}) AS numbers(n), _ledger.jobs WHERE id = '{template}'"
    rows = execute(f"INSERT INTO _ledger.jobs ({', '.join(COLUMNS)}) {selected} RETURNING id")
    return [job_id for (job_id,) in rows]


def _rows_read(plan: Mapping[str, Any]) -> int:
    """Count the rows that a plan's scans have found, also those that a filter has removed then."""
    below: int = sum(map(_rows_read, plan.get("Plans", ())))
    if not plan["Node Type"].endswith("Scan"):
        return below
    found: int = (plan["Actual Rows"] + plan.get("Rows Removed by Filter", 0)) * plan["Actual Loops"]
    return below + found


def _rows_changed(plan: Mapping[str, Any]) -> int:
    """Count the rows that a plan has inserted, updated or locked."""
    below: int = sum(map(_rows_changed, plan.get("Plans", ())))
    if plan["Node Type"] not in ("ModifyTable", "LockRows"):
        return below
    (source,) = [part for part in plan["Plans"] if part["Parent Relationship"] == "Outer"]  # besides those of WITH
    found: int = source["Actual Rows"] * source["Actual Loops"]
    return below + found


def _pages(plan: Mapping[str, Any]) -> int:
    """Count the pages of tables and indexes that a plan has looked at, in memory or on the disk."""
    found: int = plan["Shared Hit Blocks"] + plan["Shared Read Blocks"]
    return found


def _outermost(plan: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the scan whose rows drive a plan's joins, in their order."""
    outer = [below for below in plan.get("Plans", ()) if below["Parent Relationship"] == "Outer"]
    return _outermost(outer[0]) if outer else plan
