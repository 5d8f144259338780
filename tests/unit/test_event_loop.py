"""The event loop of a process, which no handler stops."""

from __future__ import annotations

import asyncio
import threading

import pytest

from onward.runtime.event_loop import Loop


async def stop() -> None:
    asyncio.get_running_loop().stop()


async def stop_later() -> str:
    loop = asyncio.get_running_loop()
    loop.call_soon(loop.stop)
    await asyncio.sleep(0.01)
    return "went on"


def test_a_loop_stops_when_what_it_runs_is_done_and_not_before() -> None:
    with asyncio.Runner(loop_factory=Loop) as runner:
        with pytest.raises(RuntimeError, match="no handler may stop it"):
            runner.run(stop())
        assert runner.run(stop_later()) == "went on"


def test_a_loop_with_a_thread_of_its_own_goes_on() -> None:
    loop = Loop()
    threading.Thread(target=loop.run_forever, daemon=True).start()
    with pytest.raises(RuntimeError, match="no handler may stop it"):
        asyncio.run_coroutine_threadsafe(stop(), loop).result(30)
    assert asyncio.run_coroutine_threadsafe(stop_later(), loop).result(30) == "went on"
