"""A Dramatiq worker that drains loses no message."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Collection

import pytest

from backends import dramatiq
from backends.dramatiq import Dramatiq
from storage.base import Unavailable

pytestmark = pytest.mark.anyio


class Run:
    """The way in to a job, over a ledger that may be away."""

    here = "runner_1"

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.away = False

    async def __call__(self, job_id: str, *, recorded: bool = True) -> bool:  # noqa: ARG002
        self.asked.append(job_id)
        if self.away:
            raise Unavailable("away")
        return False

    async def take(self, limit: int, *, besides: Collection[str] = ()) -> list[object]:
        raise NotImplementedError


def taken(backend: Dramatiq) -> threading.Thread:
    """A thread of Dramatiq's, which acknowledges the message when this ends."""
    thread = threading.Thread(target=backend._insist, args=("job_1", asyncio.get_running_loop()), daemon=True)
    thread.start()
    return thread


async def test_a_message_that_comes_while_draining_is_given_back_to_the_ledger(monkeypatch: pytest.MonkeyPatch) -> None:
    """Acknowledged without a word, it would count as delivered for ever."""
    monkeypatch.setattr(dramatiq, "ASK_AGAIN_S", 0.01)
    run = Run()
    backend = Dramatiq(run, url="redis://127.0.0.1:1/0")  # type: ignore[arg-type]
    await backend.drain(1.0)
    await asyncio.to_thread(taken(backend).join, 5)
    assert run.asked == ["job_1"]


async def test_a_message_that_could_not_be_given_back_is_not_acknowledged(monkeypatch: pytest.MonkeyPatch) -> None:
    """The ledger is away, and the process about to end: Redis gives the message to another then."""
    monkeypatch.setattr(dramatiq, "ASK_AGAIN_S", 0.01)
    run = Run()
    run.away = True
    backend = Dramatiq(run, url="redis://127.0.0.1:1/0")  # type: ignore[arg-type]
    await backend.drain(1.0)
    thread = taken(backend)
    await asyncio.to_thread(thread.join, 0.5)
    assert thread.is_alive()
    assert run.asked == ["job_1"]
