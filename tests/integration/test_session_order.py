"""Two transactions of callers that enqueue the same, one call after another and in opposite orders."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import psycopg
import pytest
from cryptography.fernet import Fernet

from onward import Deadlock, Onward, batch
from onward.testing import workload
from tests.integration.test_enqueue import write_settings
from tests.integration.test_sessions import KINDS, Caller, calling
from tests.integration.unique_handlers import fresh, index, make, months

pytestmark = pytest.mark.anyio
ALONE = threading.Barrier(1)
Take = Callable[[Onward, int, object], Awaitable[str]]


async def unique(onward: Onward, n: int, session: object) -> str:
    return await onward.enqueue(make.job(month=n), session=session)


async def debounced(onward: Onward, n: int, session: object) -> str:
    return await onward.enqueue(index.job(month=n), session=session)


async def until_it_begins(onward: Onward, n: int, session: object) -> str:
    return await onward.enqueue(fresh.job(month=n), session=session)


async def keyed(onward: Onward, n: int, session: object) -> str:
    return await onward.enqueue(months.job(words="a"), session=session, idempotency_key=f"key-{n}")


async def keyed_batch(onward: Onward, n: int, session: object) -> str:
    return await onward.enqueue(batch([months.job(words="a")]), session=session, idempotency_key=f"key-{n}")


async def limited(onward: Onward, n: int, session: object) -> str:
    return await onward.enqueue(workload.keyed.job(folder="x", key=f"key-{n}"), owner="ada", session=session)


@pytest.fixture
async def onward(tmp_path: Path, postgres_ledger: str) -> AsyncIterator[Onward]:
    with psycopg.connect(postgres_ledger, autocommit=True) as connection:  # the next connections have it
        name = connection.info.dbname
        connection.execute(f'ALTER DATABASE "{name}" SET deadlock_timeout = 20')
    file = write_settings(tmp_path, postgres_ledger)
    modules = {"modules": ["tests.integration.unique_handlers", "onward.testing.workload"]}
    secrets = {"keys": [Fernet.generate_key().decode()]}
    async with Onward.from_settings(file, overrides={"handlers": modules, "secrets": secrets}) as opened:
        yield opened


async def both(
    onward: Onward, url: str, take: Take, kind: str = "psycopg"
) -> list[tuple[list[int], list[str] | BaseException]]:
    """Take 1 and 2 in both orders, each transaction holding its first before it asks for its second."""
    orders, met = ([1, 2], [2, 1]), threading.Barrier(2)
    calls = [
        asyncio.to_thread(asyncio.run, transaction(onward, calling(kind, url), take, order, met)) for order in orders
    ]
    return list(zip(orders, await asyncio.gather(*calls, return_exceptions=True), strict=True))


async def transaction(
    onward: Onward, caller: AbstractAsyncContextManager[Caller], take: Take, order: list[int], met: threading.Barrier
) -> list[str]:
    """Enqueue in that order, commit, and return the ids of 1 and 2; roll back after an error."""
    first, second = order
    async with caller as opened:
        taken = {first: await take(onward, first, opened.session)}
        met.wait(60)
        try:
            taken[second] = await take(onward, second, opened.session)
        except BaseException:
            await opened.rollback()
            raise
        await opened.commit()
        return [taken[1], taken[2]]


async def one_of_both_is_ended(onward: Onward, url: str, take: Take, kind: str = "psycopg") -> None:
    ended, done = sorted(await both(onward, url, take, kind), key=lambda one: isinstance(one[1], list))
    assert isinstance(ended[1], Deadlock)
    assert ended[1].__cause__ is not None
    assert isinstance(done[1], list)
    assert await transaction(onward, calling(kind, url), take, ended[0], ALONE) == done[1]


@pytest.mark.parametrize("kind", KINDS["postgresql"])
async def test_a_deadlock_is_a_typed_error_and_the_transaction_may_run_again(
    kind: str, onward: Onward, postgres_ledger: str
) -> None:
    """With each kind of session. The other transaction commits, and the second run gets its jobs."""
    await one_of_both_is_ended(onward, postgres_ledger, keyed, kind)


@pytest.mark.parametrize("take", [unique, debounced, until_it_begins, keyed_batch])
@pytest.mark.parametrize("are_there", [False, True])
async def test_whatever_both_wait_for_it_is_the_same_error(
    take: Take,
    are_there: bool,  # noqa: FBT001 - a parameter
    onward: Onward,
    postgres_ledger: str,
) -> None:
    """A batch whose key was used before is found without a wait."""
    if are_there:
        await transaction(onward, calling("psycopg", postgres_ledger), take, [1, 2], ALONE)
    if are_there and take is keyed_batch:
        assert all(isinstance(found, list) for _, found in await both(onward, postgres_ledger, take))
    else:
        await one_of_both_is_ended(onward, postgres_ledger, take)


async def test_jobs_with_limits_and_owners_wait_for_no_other_transaction(onward: Onward, postgres_ledger: str) -> None:
    """Neither the keys of limits nor the counters are locked until the commit."""
    found = await both(onward, postgres_ledger, limited)
    ids = {job_id for _, taken in found if isinstance(taken, list) for job_id in taken}
    assert len(ids) == 4
