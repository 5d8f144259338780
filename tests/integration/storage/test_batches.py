"""Changes of many rows take commits of a bounded time, whatever one row costs on a machine."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import SimpleNamespace

import pytest
import sqlalchemy as sa

from onward.jobs.bulk import BulkRetry
from onward.jobs.model import JobFilter, Visible
from onward.storage import batches
from onward.storage.base import Unavailable
from onward.storage.batches import FIRST_ROWS, STATEMENTS_S, ShortCommits, in_batches, in_slices
from onward.storage.tables import jobs
from onward.storage.transaction import Tx
from onward.storage.writer import Writer
from tests.ledgers import accept


class Clock:
    """A clock that moves by what is done, and not by itself."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now_s = 0.0
        monkeypatch.setattr(batches, "time", SimpleNamespace(monotonic=lambda: self.now_s))

    def change(self, seconds_a_row: Callable[[], float], sizes: list[int], rows: int) -> Callable[[Tx, int], int]:
        """Return a change of so many rows that notes the sizes of its commits."""

        def change(_tx: Tx, limit: int) -> int:
            size = min(limit, rows - sum(sizes))
            self.now_s += size * seconds_a_row()
            if size:
                sizes.append(size)
            return size

        return change


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


@pytest.mark.slow
async def test_a_commit_holds_the_writer_for_about_as_long_whatever_a_row_costs(writer: Writer, clock: Clock) -> None:
    """The first commit is a guess, those after it fit."""
    for seconds in (0.0001, 0.001, 0.01):
        sizes: list[int] = []
        assert await in_batches(writer, clock.change(lambda its=seconds: its, sizes, 400), most=10_000) == 400  # type: ignore[misc]
        assert sizes[0] == FIRST_ROWS
        assert max(sizes[1:]) * seconds <= STATEMENTS_S * 1.001
        assert max(sizes[1:]) * seconds >= STATEMENTS_S / 2 or sizes[1:] == [100, 200, 50]


async def test_a_machine_that_becomes_slow_gets_smaller_commits_at_once(writer: Writer, clock: Clock) -> None:
    sizes: list[int] = []
    await in_batches(writer, clock.change(lambda: 0.0001 if len(sizes) < 3 else 0.005, sizes, 600), most=200)
    assert sizes[:4] == [50, 100, 200, 200]
    assert sizes[4] <= 10


@pytest.mark.slow
async def test_a_row_that_takes_longer_than_a_commit_may_still_ends(writer: Writer, clock: Clock) -> None:
    sizes: list[int] = []
    assert await in_batches(writer, clock.change(lambda: 0.06, sizes, 53), most=200) == 53
    assert sizes == [50, 1, 1, 1]


async def test_the_slices_of_a_list_are_all_of_it_in_order(writer: Writer, clock: Clock) -> None:
    def change(_tx: Tx, items: Sequence[int]) -> list[int]:
        clock.now_s += len(items) * 0.0019
        return list(items)

    found = [some async for some in in_slices(writer, range(120), change, most=200)]
    assert [item for some in found for item in some] == list(range(120))
    assert [len(some) for some in found] == [50, 26, 26, 18]


async def test_an_error_is_that_of_the_change_and_its_time_is_not_taken_for_that_of_rows(
    writer: Writer, clock: Clock
) -> None:
    def refused(_tx: Tx, _limit: int) -> int:
        clock.now_s += 60
        raise Unavailable("no")

    commits = ShortCommits(writer, most=200)
    with pytest.raises(Unavailable, match="no"):
        await commits.run(refused)
    assert commits.limit == FIRST_ROWS


def finished(writer: Writer, count: int) -> None:
    def write(tx: Tx) -> None:
        ids = [accept(tx).id for _ in range(count)]
        tx.flush()
        tx.execute(sa.update(jobs).where(jobs.c.id.in_(ids)).values(status="FAILED", finished_at=tx.now))

    writer.run_sync(write)


async def test_each_long_change_is_bounded_by_its_time(writer: Writer, monkeypatch: pytest.MonkeyPatch) -> None:
    """A row that takes longer than a commit may has a commit of its own."""
    monkeypatch.setattr(batches, "STATEMENTS_S", 0.0)
    finished(writer, FIRST_ROWS + 2)
    sizes = []
    everything = Visible(everything=True)
    retries = BulkRetry(writer=writer, wanted=JobFilter(), visible=everything, route=lambda *_: "here", left=1_000)
    while retries.left > 0:
        sizes.append(len(await retries.next()))
    assert sizes == [FIRST_ROWS, 1, 1, 0]
    changes = sa.select(sa.func.count()).select_from(jobs).group_by(jobs.c.changed)
    assert sorted(writer.run_sync(lambda tx: tx.scalars(changes))) == [1, 1, FIRST_ROWS]
