"""SQLite's plans of frequent statements; without statistics it uses the wrong index, unless one is named."""

from __future__ import annotations

from typing import Any

import pytest

from onward.jobs import admission, blocked, claims, due, ledger, pages, recording
from onward.jobs.model import JobFilter, Visible
from onward.jobs.states import JobStatus
from onward.storage.transaction import Tx
from onward.storage.writer import Writer

S = JobStatus


@pytest.fixture(autouse=True)
def _on_sqlite(writer: Writer) -> None:
    if writer.database.dialect != "sqlite":
        pytest.skip("PostgreSQL keeps statistics")


def plan(writer: Writer, text: str, params: dict[str, Any]) -> list[str]:
    return [row[-1] for row in writer.database.connect().execute(f"EXPLAIN QUERY PLAN {text}", params).fetchall()]


@pytest.mark.parametrize(
    ("statement", "index"),
    [
        (due._due, "jobs_later"),
        (due._next, "jobs_later"),
        (due._new_destinations, "jobs_changed"),
        (recording._front, "jobs_ready"),
        (blocked._next_handler, "jobs_at_gate"),
        (admission._first_blocked, "jobs_at_gate"),
        (admission._count_reserved, "jobs_promised"),
        (due._undelivered, "jobs_ready"),
        (due._waiting, "jobs_ready"),
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
        },
    )
    assert first.startswith("SEARCH"), found
    assert index in first, found
    assert not any("ORDER BY" in line for line in found)


@pytest.mark.parametrize("statement", [claims._claim_due, claims._limited, blocked._unblock])
def test_a_page_of_a_queue_is_read_from_its_front(writer: Writer, statement: Any) -> None:
    """The page is read in the order of its index, however long the queue is."""
    text, defaults = writer.database.driver.compiled(statement)
    bound = ("backend_", "runner_", "worker_", "handler_", "change", "now", "before_", "after_")
    found = plan(writer, text, {**dict.fromkeys(bound, 1), **defaults, "limit_": 1, "exclude": "[]"})
    assert any("USING" in line and ("jobs_ready" in line or "jobs_at_gate" in line) for line in found), found
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

    writer.database.read_sync(read)
    assert sum("jobs_by_owner (owner=?)" in line for line in seen) == len(status), seen
    assert not any("jobs_by_status" in line for line in seen), seen
